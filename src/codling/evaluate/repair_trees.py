"""Bugs of SWE-bench whose projects' sources lie beside the data: the repair's tests run here.

Input: a row, and trees/INSTANCE_ID.tar.gz (a source distribution or a checkout at the state of the
bug; a folder of that name will do) below the benchmark's folder. Output: a Program that runs the
row's tests on the repaired sources, or a Verdict. Patches are applied by git, to copies of the
files that they name.

Only tests that are functions of modules (names without "::": sympy's) run; fixtures and pytest's
ids do not. Not here: prompts and the official harness's files (tasks/swe_bench.py).
"""

import re
import tarfile
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.core.foreign_json import parse
from codling.core.git import apply_patch
from codling.evaluate.task import Verdict
from codling.sandbox.executor import Program

_MOST_BYTES = 2_000_000
"""Of one file that is read."""
_LEFT_OUT = re.compile(r"(?:^|/)(?:tests?|docs?|examples|benchmarks|\.[^/]*)/")
"""What a project runs without; the tests that a patch names are read all the same."""
_TOUCHED = re.compile(r"^(?:---|\+\+\+) [ab]/([^\t\n]+)", re.M)
_RUN = """
import importlib, sys
sys.path.insert(0, ".")
for _name in [n for n in sys.modules if n.partition(".")[0] in {packages!r}]:
    del sys.modules[_name]
_modules = [importlib.import_module(name) for name in {modules!r}]
for _name in {names!r}:
    _found = [getattr(module, _name) for module in _modules if hasattr(module, _name)]
    assert _found, "no test " + _name
    for _test in _found:
        _test()
"""


def has_tree(folder: Path, row: Mapping[str, Any]) -> bool:
    """Whether a row's sources lie in `folder`/trees and its tests are functions."""
    return _place(folder, row) is not None and not any("::" in name for name in test_names(row))


def repair_program(
    folder: Path, row: Mapping[str, Any], patch: str, seconds: float, strict: bool
) -> Program | Verdict:
    """The row's tests on its sources after `patch` and the tests' own patch."""
    place = _place(folder, row)
    if place is None:
        raise SourceError(f"no sources of {row['instance_id']} in {folder / 'trees'}")
    tree = read_tree(place)
    changed = apply_patches(tree, [row["test_patch"]])
    if changed is None:
        raise SourceError(f"{place}: the tests of {row['instance_id']} do not fit these sources")
    repaired = apply_patches({**tree, **changed}, [patch]) if patch.strip() else {}
    if repaired is None:
        return Verdict(detail="the patch does not fit")
    tests = [name for name in changed if name.endswith(".py")]
    own = {name: text for name, text in repaired.items() if name not in tests}
    files = {n: t for n, t in tree.items() if not _LEFT_OUT.search(n)} | own
    modules = [name.removesuffix(".py").replace("/", ".") for name in tests]
    files |= {name: changed[name] for name in tests}
    for name in tests:
        marker = f"{name.rpartition('/')[0]}/__init__.py".lstrip("/")
        files.setdefault(marker, tree.get(marker, ""))
    packages = sorted({name.partition(".")[0] for name in modules})
    source = _RUN.format(packages=packages, modules=modules, names=test_names(row))
    return Program(
        language="python", source=source, answer=_lines_added(patch), seconds=seconds,
        strict=strict, files=files,
    )  # fmt: skip


def _lines_added(patch: str) -> str:
    """The lines that a patch adds: the part of the program that the model wrote."""
    added = (line[1:] for line in patch.splitlines() if re.match(r"\+(?!\+\+ )", line))
    return "\n".join(added) or "# no repair"


def test_names(row: Mapping[str, Any]) -> list[str]:
    """Those that the bug fails, then those that must go on passing."""
    names: list[str] = []
    for kind in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        listed = row[kind]
        names += parse(listed, kind) if isinstance(listed, str) else listed
    return list(dict.fromkeys(names))


@lru_cache(maxsize=2)
def read_tree(place: Path) -> dict[str, str]:
    """The texts of a folder or .tar.gz by their paths; one folder around all is left out."""
    texts = dict(_read_archive(place) if place.is_file() else _read_folder(place))
    tops = {name.partition("/")[0] for name in texts}
    if len(tops) == 1 and all("/" in name for name in texts):
        texts = {name.partition("/")[2]: text for name, text in texts.items()}
    if not texts:
        raise SourceError(f"{place} holds no texts")
    return texts


def apply_patches(tree: Mapping[str, str], patches: list[str]) -> dict[str, str] | None:
    """The files that unified diffs change, after them; None if one does not fit."""
    names = {name for patch in patches for name in _TOUCHED.findall(patch)}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in names & set(tree):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(tree[name], newline="")
        # Files of predictions often lack the last end of line, without which git refuses a patch.
        ended = [patch if patch.endswith("\n") else f"{patch}\n" for patch in patches]
        if not all(apply_patch(root, patch.encode()) for patch in ended):
            return None
        paths = {name: root / name for name in names if ".." not in Path(name).parts}
        # A link that a patch has made leads out of the folder: it is no text of the project.
        return {
            name: path.read_bytes().decode("utf-8", "replace")
            for name, path in paths.items()
            if path.is_file() and not path.is_symlink() and path.resolve() == root.resolve() / name
        }


def _place(folder: Path, row: Mapping[str, Any]) -> Path | None:
    places = (folder / "trees" / f"{row['instance_id']}{end}" for end in (".tar.gz", ""))
    return next((place for place in places if place.exists()), None)


def _read_archive(place: Path) -> list[tuple[str, str]]:
    found = []
    try:
        with tarfile.open(place) as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.isfile() else None
                data = opened.read() if opened and member.size <= _MOST_BYTES else b"\0"
                if b"\0" not in data:
                    found.append((member.name.removeprefix("./"), data.decode("utf-8", "replace")))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{place} cannot be read ({error}); fetch it again") from None
    return found


def _read_folder(place: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted(place.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MOST_BYTES:
            try:
                found.append((path.relative_to(place).as_posix(), read_text(path)))
            except SourceError:
                continue  # a picture or an archive: nothing that a patch changes
    return found
