"""Sources: what a user points at, opened as repositories.

Input: paths of git repositories, folders or archives; none means the standard library. Output:
`Repository` values (and `Archive` values, to be opened by workers) in a fixed order, each with a
name that is unique in the run.

Not here: how each kind is listed and read (folders.py, git.py, archives.py), and what is kept of it
(collect.py).
"""

import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.files import escape_bytes
from codling.corpus.sources import archives, dumps, folders, git
from codling.corpus.sources.repository import Archive, Repository


def open_sources(paths: Sequence[Path]) -> Iterator[Repository | Archive]:
    """The repositories of all sources, in the order given; none: the standard library.

    Raises SourceError for a path that is missing, empty, damaged or unsafe.
    """
    if not paths:
        yield _standard_library()
        return
    taken: set[str] = set()
    for path in paths:
        name = _unique(_name(path), taken)
        if path.is_file():
            yield archives.find_archive(path, name, dumps.ENDINGS)
            continue
        n_files = 0
        for repository in _open(path, name):
            n_files += sum(entry.rule != "passed-over" for entry in repository.entries)
            yield repository
        if n_files == 0:
            raise SourceError(
                f"{path} holds no files; give a folder, repository or archive of code"
            )


def _open(path: Path, name: str) -> Iterator[Repository]:
    if path.is_dir():
        if git.is_bare(path):
            yield git.open_bare(path, name)
        else:
            yield from folders.open_folder(path, name)
    else:
        raise SourceError(f"no file or folder at {path}")


def _standard_library() -> Repository:
    root = Path(sysconfig.get_path("stdlib"))
    return folders.open_plain(root, root.name, root.name, declared="PSF-2.0")


def _name(path: Path) -> str:
    resolved = path.absolute() if path.name else path.resolve()
    ending = next((e for e in dumps.ENDINGS if resolved.name.endswith(e)), "")
    return escape_bytes(
        archives.stem(resolved.name.removesuffix(ending)).removesuffix(".git")
        or resolved.parent.name
        or "root"
    )


def _unique(name: str, taken: set[str]) -> str:
    """`name`, or `name-2` and so on where an earlier source has it."""
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}-{n}"
    taken.add(unique)
    return unique
