"""The wheel holds what the program reads, and the recipes that it names."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.core.packaged import packaged_dir
from codling.core.recipe import read_recipe

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout, without the network."""
    pytest.importorskip("setuptools", reason="needs setuptools (extra dev)")
    top = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, top / name)
    for name in ("src", "recipes", "editors"):
        shutil.copytree(ROOT / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    script = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    env = os.environ | {"CODLING_README_URL": "https://code.example/codling/"}
    subprocess.run(
        [sys.executable, "-c", script], cwd=top, env=env, check=True, capture_output=True
    )
    return next((top / "dist").glob("*.whl"))


@pytest.mark.long
def test_the_wheel_holds_recipes_editors_and_every_file_of_the_source(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    source = {
        f"codling/{p.relative_to(ROOT / 'src/codling').as_posix()}"
        for p in (ROOT / "src/codling").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert source - inside == set()
    assert {"codling/recipes/tiny.toml", "codling/editors/vscode/settings.json"} <= inside
    page = "codling/serve/web"
    assert {f"{page}/codemirror.js", f"{page}/codemirror.LICENSES.txt"} <= inside


def test_the_readme_in_the_wheel_shows_pictures_from_the_address_that_was_given(
    wheel: Path,
) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    assert "](https://code.example/codling/docs/pictures/editor.png)" in metadata
    assert not re.search(r"\]\(docs/", metadata)
    assert "Requires-Dist: torch~=2.13.0" in metadata


def test_the_metadata_name_no_address_that_cannot_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reserved = re.compile(r"\.(?:example|invalid|test|localhost)\b|\bexample\.(?:com|net|org)\b")
    assert [url for url in project.get("urls", {}).values() if reserved.search(url)] == []


def test_a_recipe_is_found_by_its_name_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("tiny")) == read_recipe(packaged_dir("recipes") / "tiny.toml")
    assert read_recipe(Path("tiny.toml")) == read_recipe(Path("tiny"))
    (tmp_path / "tiny.toml").write_text("[grow]\nminutes = 1.0\n")
    assert read_recipe(Path("tiny.toml")) == {"grow": {"minutes": 1.0}}
    with pytest.raises(ConfigError, match=r"no recipe at tony; codling comes with 1b, .*tiny"):
        read_recipe(Path("tony"))
