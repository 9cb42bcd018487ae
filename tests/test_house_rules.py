"""Rules of the house that no linter knows."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "codling"
MAX_LINES = 500


def own_python_files() -> list[Path]:
    return [
        p for top in ("src", "tests", "benchmarks", "examples") for p in (ROOT / top).rglob("*.py")
    ]


def test_no_file_is_longer_than_500_lines() -> None:
    counts = {p: p.read_text().count("\n") for p in own_python_files()}
    assert {str(p): n for p, n in counts.items() if n > MAX_LINES} == {}


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "base"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert not [p for p in SOURCE.rglob("*.py") if p.stem == word]
    assert not [p for p in SOURCE.rglob("*") if p.is_dir() and p.name == word]


def test_every_package_folder_stands_in_the_readme_tree() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = {p.parent.name for p in SOURCE.rglob("__init__.py")} - {"codling"}
    assert {f for f in folders if f"{f}/" not in readme} == set()


def test_every_module_says_what_it_does_not_do() -> None:
    # A benchmark's file is one entry of a table: the folder's docstring speaks for it.
    modules = [p for p in SOURCE.rglob("*.py") if p.parent.name != "tasks"]
    silent = [
        str(p.relative_to(SOURCE))
        for p in modules
        if p.name != "__init__.py"
        and not re.search(r"\b(not|no)\b", p.read_text().split('"""')[1], re.IGNORECASE)
    ]
    assert silent == []


def test_nothing_from_the_shared_folder_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not [f for f in listed.stdout.split() if f.startswith("shared/")]


def test_torch_is_pinned_so_that_a_fresh_machine_takes_the_cpu_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "torch~=2.13.0" in project["dependencies"]
