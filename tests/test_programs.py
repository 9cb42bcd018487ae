"""Programs beside the package find what they take from it: each name is where they look for it.

They import late, and most of them run for minutes, so that no other test would notice.
"""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(
    path.relative_to(ROOT)
    for folder in ("benchmarks", "tools", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def missing_names(source: str) -> list[str]:
    """What a program takes from codling and does not find there."""
    return [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("codling")
        for alias in node.names
        if not is_there(str(node.module), alias.name)
    ]


def is_there(module: str, name: str) -> bool:
    """Whether a module has something of this name, or is a folder with such a module."""
    if hasattr(importlib.import_module(module), name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("path", PROGRAMS, ids=str)
def test_a_program_finds_what_it_imports(path: Path) -> None:
    assert missing_names((ROOT / path).read_text()) == []


def test_the_search_finds_a_name_that_has_moved() -> None:
    source = "def main():\n    from codling.model.config import ModelConfig, Moved\n"
    assert missing_names(source) == ["codling.model.config.Moved"]
