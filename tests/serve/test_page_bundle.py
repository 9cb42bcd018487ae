"""CodeMirror in one committed file: made from what is committed, licences beside it, small."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools/web"
WEB = ROOT / "src/codling/serve/web"
NAMES = ("codemirror.js", "codemirror.LICENSES.txt")
MAX_BYTES = 700_000


def locked_packages() -> dict[str, dict[str, Any]]:
    return dict(json.loads((TOOLS / "package-lock.json").read_text())["packages"])


def test_the_committed_file_was_made_from_the_committed_sources() -> None:
    hashed = hashlib.sha256()
    for name in ("build.mjs", "editor.js", "package.json", "package-lock.json"):
        hashed.update((TOOLS / name).read_bytes())
    first = (WEB / "codemirror.js").read_text().split("\n", 1)[0]
    assert hashed.hexdigest() in first, "run make web"


def test_it_is_small_and_asks_no_other_server() -> None:
    text = (WEB / "codemirror.js").read_text()
    assert len(text) < MAX_BYTES
    assert not re.search(r"\bfetch\(|XMLHttpRequest|importScripts|\bimport\(|\beval\(", text)


def test_every_package_is_pinned_without_an_address() -> None:
    asked = json.loads((TOOLS / "package.json").read_text())["devDependencies"]
    assert [name for name, version in asked.items() if not re.fullmatch(r"[\d.]+", version)] == []
    packages = {name: entry for name, entry in locked_packages().items() if name}
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []
    assert "://" not in (TOOLS / "package-lock.json").read_text()
    assert "://" not in (TOOLS / ".npmrc").read_text()


def test_the_licences_name_the_locked_versions() -> None:
    said = (WEB / "codemirror.LICENSES.txt").read_text()
    named = re.findall(r"^(@?[\w./-]+) ([\d.]+) \(([\w.-]+)\)$", said, re.MULTILINE)
    locked = {name.removeprefix("node_modules/"): e for name, e in locked_packages().items()}
    assert {name for name, _, _ in named} >= {"@codemirror/view", "@lezer/common", "style-mod"}
    assert [n for n, version, _ in named if locked[n]["version"] != version] == []
    assert {license for _, _, license in named} == {"MIT"}
    assert said.count("Permission is hereby granted") == len(named)


@pytest.mark.slow
def test_make_web_makes_the_same_bytes(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    work = tmp_path / "web"
    shutil.copytree(TOOLS, work, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        ["npm", "ci", "--no-progress"], cwd=work, capture_output=True, check=False, timeout=600
    )
    if installed.returncode:
        pytest.skip("npm could not fetch the packages here")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["node", "build.mjs", str(out)], cwd=work, check=True, timeout=600)
    for name in NAMES:
        assert (out / name).read_bytes() == (WEB / name).read_bytes()
