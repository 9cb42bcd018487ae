"""Edges of corpus/dependencies against grimp (Python) and `gcc -MM` (C), and files per second.

Input: six packages and two C projects from PyPI, downloaded with pip into `--work` once. Output:
one JSON line per package: recall, precision, numbers of edges, seconds of both sides.

For C, `gcc -MM` prints what a source file includes directly or indirectly, so pairs (source file,
header of the project) are compared with what can be reached in our graph. gcc sees one platform:
the macros are those of the project's own build on Linux; sources of other platforms and those that
gcc cannot preprocess are left out. For Python, stubs (.pyi) are left out: grimp reads none.

    python benchmarks/imports.py --work /tmp/imports
"""

import argparse
import json
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import grimp

from codling.core.languages.table import detect
from codling.corpus.dependencies.graph import LANGUAGES, SourceFile, dependency_graph

PYTHON = ("django", "sqlalchemy", "pandas", "twisted", "sympy", "aiohttp")
C = {
    "brotli": ("c", ["-Ic/include"], ()),
    "yara-python": (
        "yara/libyara",
        ["-Iyara/libyara", "-Iyara/libyara/include", "-D_GNU_SOURCE", "-DUSE_LINUX_PROC"]
        + [f"-D{name}_MODULE" for name in ("DOTNET", "MACHO", "DEX", "CUCKOO")]
        + ["-DHAVE_STDBOOL_H", "-DHAVE_MEMMEM", "-DBUCKETS_128", "-DCHECKSUM_1B"],
        ("proc/freebsd.c", "proc/mach.c", "proc/openbsd.c", "proc/windows.c", "proc/none.c"),
    ),
}
"""Per sdist: the folder that is compared, the compiler's flags, sources of other platforms."""


def main() -> None:
    """Compare every package and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where downloads are kept")
    work: Path = parser.parse_args().work
    for name in PYTHON:
        print(json.dumps(compare_python(fetch(work, name, sdist=False), name)), flush=True)
    for name, (folder, flags, left_out) in C.items():
        root = next(fetch(work, name, sdist=True).iterdir()).resolve()
        files = [f for f in read(root, {"c", "cpp"}) if not f.path.endswith((*left_out, "//"))]
        result = compare_c(root, files, folder, flags)
        print(json.dumps({"package": name, **result}), flush=True)


def fetch(work: Path, name: str, *, sdist: bool) -> Path:
    """The unpacked wheel or sdist of a package."""
    place = work / name
    if not place.exists():
        kind = (
            ["--no-binary", ":all:", "--no-build-isolation"]
            if sdist
            else ["--only-binary", ":all:"]
        )
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *kind, name]
        downloads = work / f"{name}.download"
        subprocess.run([*command, "-d", str(downloads)], check=True, stderr=subprocess.DEVNULL)
        (archive,) = downloads.iterdir()
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(place)
        else:
            with tarfile.open(archive) as source:
                source.extractall(place, filter="data")
    return place


def compare_python(root: Path, name: str) -> dict[str, object]:
    """Direct imports between modules, against grimp's."""
    sys.path.insert(0, str(root))
    started = time.perf_counter()
    peer = grimp.build_graph(name, cache_dir=None)
    theirs_s = time.perf_counter() - started
    files = [f for f in read(root, {"python"}) if f.path.endswith(".py")]
    started = time.perf_counter()
    graph = dependency_graph(files)
    ours_s = time.perf_counter() - started
    modules = [module(f.path) for f in files]
    known = set(peer.modules)
    ours = {
        (modules[i], modules[t])
        for i, targets in enumerate(graph)
        for t in targets
        if modules[i] in known and modules[t] in known and modules[i] != modules[t]
    }
    theirs = {(m, t) for m in known for t in peer.find_modules_directly_imported_by(m) if m != t}
    seconds = {"seconds": round(ours_s, 3), "grimp_seconds": round(theirs_s, 3)}
    return {"package": name, **scores(ours, theirs), **seconds}


def compare_c(
    root: Path, files: Sequence[SourceFile], folder: str, flags: Sequence[str]
) -> dict[str, object]:
    """Headers that each source file below `folder` reaches, against `gcc -MM`."""
    started = time.perf_counter()
    graph = dependency_graph(files)
    seconds = time.perf_counter() - started
    index = {f.path: i for i, f in enumerate(files)}
    ours: set[tuple[str, str]] = set()
    theirs: set[tuple[str, str]] = set()
    n_sources = 0
    for file in files:
        if not (file.path.startswith(folder + "/") and file.path.endswith(".c")):
            continue
        expected = gcc_headers(root, file.path, flags)
        if expected is None:
            continue
        n_sources += 1
        theirs.update((file.path, h) for h in expected if h in index)
        ours.update((file.path, files[t].path) for t in reachable(graph, index[file.path]))
    return {**scores(ours, theirs), "sources": n_sources, "seconds": round(seconds, 3)}


def gcc_headers(root: Path, path: str, flags: Sequence[str]) -> set[str] | None:
    """What `gcc -MM` prints for a source file, relative to `root`; None if it fails."""
    command = ["gcc", "-MM", *flags, path]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        return None
    words = done.stdout.replace("\\\n", " ").split()[1:]
    places = {(root / w).resolve() for w in words}
    return {p.relative_to(root).as_posix() for p in places if p.is_relative_to(root)} - {path}


def reachable(graph: Sequence[Sequence[int]], start: int) -> Iterator[int]:
    """Everything that a file depends on, directly or not."""
    seen, waiting = {start}, [start]
    while waiting:
        for target in graph[waiting.pop()]:
            if target not in seen:
                seen.add(target)
                waiting.append(target)
                yield target


def read(root: Path, languages: set[str]) -> list[SourceFile]:
    """The files of a folder in some languages."""
    assert languages <= LANGUAGES
    found = []
    for place in sorted(root.rglob("*")):
        language = detect(place.name, b"") if place.is_file() else None
        if language in languages:
            text = place.read_text(encoding="utf-8", errors="replace")
            found.append(SourceFile(place.relative_to(root).as_posix(), language, text))
    return found


def module(path: str) -> str:
    """The dotted name of a Python file."""
    return path.rpartition(".")[0].replace("/", ".").removesuffix(".__init__")


def scores(ours: set[tuple[str, str]], theirs: set[tuple[str, str]]) -> dict[str, object]:
    """Recall and precision, and a few of the pairs on which the two differ."""
    both = len(ours & theirs)
    return {
        "recall": round(both / len(theirs), 4),
        "precision": round(both / len(ours), 4),
        "edges": len(ours),
        "peer_edges": len(theirs),
        "missed": sorted(theirs - ours)[:3],
        "extra": sorted(ours - theirs)[:3],
    }


if __name__ == "__main__":
    main()
