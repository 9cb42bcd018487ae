"""Defects4J's bugs: out of checkouts for the official harness, or put back into released sources
that can be tested here.

Input: the published metadata (framework/projects, or a .tar.gz of it), beside it checkouts/Lang-1b
(what `defects4j checkout -p Lang -v 1b -w checkouts/Lang-1b` makes) or trees/ with the source
archives of Debian's packages (java_bugs.toml). Output: rows of {project, bug, path, source,
trigger}, and a Program that runs the tests on a repair. A patch of the metadata turns fixed sources
into faulty ones; where it fits a later release, the bug is put back there. The tests are then all
of the classes to which the failing tests belong, as the release has them.

Not here: prompts and predictions (tasks/swe_bench.py), running tests (compiled_tests.py).
"""

import difflib
import re
import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.core.packaged import packaged_table
from codling.evaluate.compiled_tests import java_tests
from codling.evaluate.repair_trees import apply_patches, read_tree
from codling.evaluate.task import Verdict
from codling.sandbox.executor import Program
from codling.sandbox.toolchains import toolchains, version

_METADATA = re.compile(r"framework/projects/(\w+)/(patches|trigger_tests)/(\d+)(?:\.src\.patch)?$")
_PATH = re.compile(r"^(?:---|\+\+\+) [ab]/(\S+)", re.M)
_TRIGGER = re.compile(r"^--- ([\w.$]+)(?:::(\w+))?", re.M)
_N_LINES = 20
"""Of the report of a failing test that a prompt shows."""


def released_bugs(folder: Path) -> list[dict[str, Any]]:
    """The bugs of java_bugs.toml whose release lies in `folder`/trees."""
    table = read_table()
    places = {project: _release(folder, row["archive"]) for project, row in table.items()}
    if not any(places.values()):
        wanted = " ".join(sorted(row["archive"].partition("_")[0] for row in table.values()))
        raise SourceError(
            f"no sources in {folder / 'trees'}; fetch them there: "
            f"apt-get source --download-only {wanted}"
        )
    known = read_metadata(folder)
    return [
        put_back(project, str(bug), known[project, str(bug)], place)
        for project, place in sorted(places.items())
        if place is not None
        for bug in table[project]["bugs"]
    ]


def read_table() -> dict[str, Any]:
    """java_bugs.toml: by project, what is needed and which bugs run."""
    return dict(packaged_table("codling.evaluate", "java_bugs.toml"))


def put_back(project: str, bug: str, known: Mapping[str, str], place: Path) -> dict[str, Any]:
    """A released file with the bug in it; SourceError where the patch does not fit."""
    packages = read_packages(place)
    patch = _PATH.sub(
        lambda found: found[0].replace(found[1], _in_package(found[1])), known["patch"]
    )
    patch = re.sub(r"^diff --git .*\n(?:index .*\n)?", "", patch, flags=re.M)
    faulty = apply_patches(packages, [patch])
    if faulty is None or len(faulty) != 1:
        raise SourceError(f"{project}-{bug} does not fit {place.name}")
    ((path, source),) = faulty.items()
    classes = dict.fromkeys(
        name.partition("$")[0] for name, _ in _TRIGGER.findall(known["trigger"])
    )
    return {
        "project": project, "bug": bug, "path": path, "source": source, "place": str(place),
        "trigger": _shorten(known["trigger"]), "tests": list(classes), "fixed": packages[path],
    }  # fmt: skip


def repair_program(
    row: Mapping[str, Any], patch: str, seconds: float, strict: bool
) -> Program | Verdict:
    """The row's tests on its release after a diff of the faulty file."""
    if missing := _name_missing(row["project"]):
        return Verdict(skipped=True, detail=f"needs: apt-get install {missing}")
    path = row["path"]
    repaired = apply_patches({path: row["source"]}, [patch]) if patch.strip() else None
    if repaired is None or path not in repaired:
        return Verdict(detail="no repair that fits")
    sources = {**read_packages(Path(row["place"])), path: repaired[path]}
    made = java_tests(sources, row["tests"])
    return Program(answer=patch, seconds=seconds, strict=strict, **made)


def _name_missing(project: str) -> str:
    """The packages of Debian without which a project's tests cannot run; "" if all are here."""
    chain, row = toolchains()["java-junit"], read_table()[project]
    jars = [Path(f"/usr/share/java/{name}.jar") for name in row["jars"]]
    own = row["packages"] if not all(jar.exists() for jar in jars) else ""
    return " ".join(filter(None, ("" if version(chain.language) else chain.packages, own)))


def own_repair(row: Mapping[str, Any]) -> str | None:
    """The diff from the faulty file to the released one; None where only a checkout is there."""
    if "fixed" not in row:
        return None
    old, new = (row[key].splitlines(keepends=True) for key in ("source", "fixed"))
    return "".join(difflib.unified_diff(old, new, f"a/{row['path']}", f"b/{row['path']}"))


def checked_out_bugs(folder: Path) -> list[dict[str, Any]]:
    """The bugs of checkouts/PROJECT-BUG that are faulty in one file."""
    places = sorted(path for path in (folder / "checkouts").glob("*-*") if path.is_dir())
    known = read_metadata(folder) if places else {}
    rows = []
    for place in places:
        project, _, bug = place.name.removesuffix("b").rpartition("-")
        if (project, bug) not in known:
            raise SourceError(f"{place} is named after no bug; name it like Lang-1b")
        paths = sorted(set(_PATH.findall(known[project, bug]["patch"])))
        if len(paths) == 1:
            rows.append({
                "project": project, "bug": bug, "path": paths[0],
                "source": read_text(place / paths[0]),
                "trigger": _shorten(known[project, bug]["trigger"]),
            })  # fmt: skip
    return rows


@lru_cache(maxsize=1)
def read_metadata(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Patch and failing tests by project and bug."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, text in _metadata_files(folder):
        if match := _METADATA.search(name):
            kind = "patch" if match[2] == "patches" else "trigger"
            found.setdefault((match[1], match[3]), {})[kind] = text
    found = {key: row for key, row in found.items() if len(row) == 2}
    if not found:
        raise SourceError(
            f"no metadata of Defects4J (framework/projects, or a .tar.gz) in {folder}"
        )
    return found


def _metadata_files(folder: Path) -> Iterator[tuple[str, str]]:
    projects = folder / "framework" / "projects"
    for path in sorted(projects.rglob("*")) if projects.is_dir() else []:
        if path.is_file() and _METADATA.search(path.as_posix()):
            yield path.as_posix(), path.read_bytes().decode("utf-8", "replace")
    for archive in [] if projects.is_dir() else sorted(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as opened:
            for member in opened:
                stream = opened.extractfile(member) if _METADATA.search(member.name) else None
                if stream is not None:
                    yield member.name, stream.read().decode("utf-8", "replace")


@lru_cache(maxsize=1)
def read_packages(place: Path) -> dict[str, str]:
    """A release's sources and the texts that they read, by their paths from the packages' root."""
    tree = read_tree(place)
    table = read_table().values()
    (row,) = [row for row in table if place.name.startswith(row["archive"])]
    found: dict[str, str] = {}
    for root in (*row["tests"], *row["sources"]):
        start = f"{root}/"
        found |= {
            path.removeprefix(start): text.replace("\r\n", "\n")
            for path, text in tree.items()
            if path.startswith(start)
        }
    return found


def _release(folder: Path, archive: str) -> Path | None:
    return next(iter(sorted((folder / "trees").glob(f"{archive}*"))), None)


def _in_package(path: str) -> str:
    """A path from the packages' root: `src/java/org/x/A.java` as `org/x/A.java`."""
    found = re.search(r"(?:^|/)((?:org|com)/.*)", path)
    return found[1] if found else path


def _shorten(trigger: str) -> str:
    return "\n".join(trigger.splitlines()[:_N_LINES])
