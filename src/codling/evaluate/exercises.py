"""Exercism's exercises, as Aider's benchmarks take them: instructions, stubs, hidden tests.

Input: a folder with `exercises/practice` in it (below a language's name or not), or a .tar.gz of
one. Output: an EditExercise for each: what the model sees, and what it does not. Archives are read
in memory: nothing is unpacked.

Not here: prompts and edits (tasks/aider.py), and running (evaluate/exercise_tests.py).
"""

import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.core.foreign_json import parse

_MOST_BYTES = 2_000_000
"""Of one file that is read."""
_DOCS = ("introduction.md", "instructions.md", "instructions.append.md")


@dataclass(frozen=True, kw_only=True)
class EditExercise:
    """One exercise; names of files are relative to its folder."""

    name: str
    language: str
    instructions: str
    stubs: Mapping[str, str]
    """What the model edits."""
    tests: Mapping[str, str]
    example: Mapping[str, str]
    """The reference solution, by the names of the stubs."""
    others: Mapping[str, str]


def read_exercises(place: Path) -> list[EditExercise]:
    """All exercises at a place, by language and name; SourceError if there are none."""
    if place.is_dir() and not list(place.rglob("practice")):
        archives = sorted(place.glob("*.tar.gz"))
        place = archives[0] if archives else place
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for path, text in _archive(place) if place.is_file() else _folder(place):
        head, found, rest = path.partition("exercises/practice/")
        name, _, file = rest.partition("/")
        if found and file:
            texts[f"{head.strip('/').rpartition('/')[2]}/{name}"][file] = text
    found_ones = [_exercise(key, files) for key, files in sorted(texts.items())]
    if not found_ones:
        raise SourceError(f"no exercises (exercises/practice/...) in {place}")
    return found_ones


def _exercise(key: str, files: Mapping[str, str]) -> EditExercise:
    language, _, name = key.partition("/")
    if ".meta/config.json" not in files:
        raise SourceError(f"exercise {key} has no .meta/config.json")
    listed: dict[str, Any] = parse(files[".meta/config.json"], f"config of {key}")["files"]
    names = {kind: [n for n in listed.get(kind, []) if n in files] for kind in listed}
    stubs = {n: files[n] for n in names.get("solution", [])}
    tests = {n: files[n] for n in names.get("test", [])}
    examples = names.get("example", []) or names.get("exemplar", [])
    used = {*stubs, *tests, *examples}
    shown = [(n, files[n]) for n in examples]
    if manifest := files.get(".meta/Cargo-example.toml"):
        shown.append(("Cargo.toml", manifest))
    return EditExercise(
        name=name,
        language=language or "python",
        instructions="\n".join(files[f".docs/{d}"] for d in _DOCS if f".docs/{d}" in files),
        stubs=stubs,
        tests=tests,
        example=_by_stub(shown, list(stubs)),
        others={n: t for n, t in files.items() if n not in used and not n.startswith(".")},
    )


def _by_stub(examples: list[tuple[str, str]], stubs: list[str]) -> dict[str, str]:
    """Example files under the names of the stubs: by name, else by ending, else in order; those
    that are more than the stubs stand beside the first."""
    found: dict[str, str] = {}
    named = {Path(stub).name: stub for stub in stubs}
    for name, text in sorted(examples, key=lambda each: Path(each[0]).name not in named):
        left = [stub for stub in stubs if stub not in found]
        alike = [stub for stub in left if Path(stub).suffix == Path(name).suffix]
        beside = (Path(stubs[0]).parent / Path(name).name).as_posix()
        found[named.get(Path(name).name) or next(iter([*alike, *left]), beside)] = text
    return found


def _folder(place: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            try:
                yield path.relative_to(place).as_posix(), read_text(path)
            except SourceError:
                continue  # a picture or an archive: no part of an exercise


def _archive(place: Path) -> Iterator[tuple[str, str]]:
    try:
        with tarfile.open(place, "r:gz") as archive:
            for member in archive:
                if not member.isfile() or member.size > _MOST_BYTES:
                    continue
                opened = archive.extractfile(member)
                data = opened.read() if opened else b""
                if b"\0" not in data:
                    yield member.name.removeprefix("./"), data.decode("utf-8", "replace")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{place} cannot be read ({error}); fetch it again") from None
