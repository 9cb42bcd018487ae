"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "codling"
MAX_LINES = 500
PARSES_JSON = {
    "core/foreign_json.py": "the one place",
    "core/files.py": "lines that this program wrote itself",
    "core/shards.py": "records of the stage that is running",
    "corpus/prose/stackexchange.py": "buckets of the stage that is running",
    "sandbox/box.py": "the wire to the sandbox, bounded by the length before each message",
    "sandbox/inside/server.py": "the other end of that wire",
    "sandbox/interpreter.py": "what our own question printed",
    "train/state.py": "the training state that this program wrote",
}
"""Modules that call json's parser themselves, and why."""


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


def parses_json(source: str) -> bool:
    """Whether a module calls json.load, json.loads, a JSONDecoder, or a response's .json()."""
    calls = [n.func for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    names = [f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in calls]
    owners = [getattr(getattr(f, "value", None), "id", "") for f in calls]
    return any(
        (name in ("load", "loads") and owner.strip("_") in ("json", "orjson", ""))
        or name == "JSONDecoder"
        or (name == "json" and owner)
        for name, owner in zip(names, owners, strict=True)
        if (name, owner) != ("load", "")
    )


@pytest.mark.long
def test_only_one_module_parses_foreign_json() -> None:
    modules = {p.relative_to(SOURCE).as_posix(): p.read_text() for p in SOURCE.rglob("*.py")}
    assert {name for name, text in modules.items() if parses_json(text)} == set(PARSES_JSON)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import json\nx = json.loads(y)", True),
        ("from json import loads\nx = loads(y)", True),
        ("x = json.load(file)", True),
        ("x = reply.json()", True),
        ("x = json.dumps(y)", False),
        ("x = tomllib.loads(y)", False),
        ("x = parse_row(y, 'there')", False),
    ],
)
def test_the_search_for_parsers_of_json_finds_all_spellings(source: str, found: bool) -> None:
    assert parses_json(source) == found


def test_no_address_of_a_package_registry_stands_in_the_repository() -> None:
    hosts = ["pypi.org", "files.pythonhosted", "registry.npmjs", "deb.debian", "proxy.golang"]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    texts = {name: (ROOT / name).read_bytes() for name in listed.stdout.splitlines()}
    found = [name for name, data in texts.items() for host in hosts if f"//{host}".encode() in data]
    assert found == []
