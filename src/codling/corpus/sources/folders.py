"""Folders as sources: plain ones, and the working trees of git repositories inside them.

Input: a folder. Output: one Repository for it, and one for every git repository below it. Links
are never followed, so a loop of links is harmless; what is passed over keeps a row with its rule.

Not here: bare repositories and git's own commands (git.py).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from codling.core.errors import SourceError
from codling.core.files import escape_bytes
from codling.corpus.sources import git
from codling.corpus.sources.repository import (
    Entry,
    Repository,
    apply_bounds,
    fingerprint,
    read_notice_files,
)

PASSED_OVER = frozenset(
    {".git", ".hg", ".svn", ".bzr", "__pycache__", "site-packages", "dist-packages"}
    | {"node_modules", ".venv", "venv", ".tox", ".nox", ".eggs", ".mypy_cache", ".pytest_cache"}
    | {".ruff_cache", ".ipynb_checkpoints", ".idea", ".vscode"}
)
"""Folders of a plain folder that hold somebody else's installed code, or no code at all."""


_NAME = attrgetter("name")

Found = tuple[str, os.stat_result | None, str]
"""Relative path, status (None where the system gives none) and rule of a file."""


@dataclass(frozen=True)
class FolderReader:
    """Reads files below `root`; a locator is a path relative to it."""

    root: str

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The contents, in order; a file that cannot be read has the rule "unreadable"."""
        for entry in entries:
            try:
                yield entry, _read_file(f"{self.root}/{entry.locator}", entry.n_bytes)
            except OSError as error:
                yield replace(entry, rule="unreadable", value=error.strerror or "error"), b""


def open_folder(root: Path, name: str) -> Iterator[Repository]:
    """The repositories in a folder: its own files, then git repositories below it, by path."""
    tracked = git.tracked_files(root)
    if tracked is not None:
        yield from _open_tree(root, name, name, tracked)
        return
    yield from _open_untracked(root, name, name)


def _open_untracked(root: Path, source: str, name: str) -> Iterator[Repository]:
    """A plain folder, and what lies below it in folders with a .git, in the order of paths."""
    waiting = [(root, name)]
    while waiting:
        folder, name = waiting.pop()
        tracked = None if folder == root else git.tracked_files(folder)
        if tracked is not None:
            yield from _open_tree(folder, source, name, tracked)
            continue
        nested: list[str] = []
        plain = open_plain(folder, source, name, nested=nested)
        if plain.entries:
            yield plain
        waiting += [(folder / path, f"{name}/{escape_bytes(path)}") for path in reversed(nested)]


def open_plain(
    root: Path, source: str, name: str, *, declared: str = "", nested: list[str] | None = None
) -> Repository:
    """A folder's own files; paths of git repositories below it are appended to `nested`."""
    entries: list[Entry] = []
    times: list[str] = []
    for relative, status, rule in _walk(os.fspath(root), nested):
        size = 0 if rule or status is None else status.st_size
        entries.append(_entry(relative, size, rule))
        times.append(str(status.st_mtime_ns) if status else "")
    found = tuple(entries)
    return _repository(root, source, name, found, fingerprint(found, *times), declared)


def _open_tree(
    root: Path, source: str, name: str, tracked: Sequence[git.Tracked]
) -> Iterator[Repository]:
    """A git working tree, and the submodules that are checked out in it."""
    entries = tuple(_tracked_entry(root, t) for t in tracked if not t.is_submodule)
    state = git.state(root, tracked) or fingerprint(entries, *(_mtime(root, e) for e in entries))
    repository = _repository(root, source, name, entries, state, "")
    yield replace(repository, history=os.fspath(root.absolute()))
    for each in tracked:
        if each.is_submodule and (root / each.path / ".git").exists():
            inner = git.tracked_files(root / each.path)
            if inner is not None:
                yield from _open_tree(
                    root / each.path, source, f"{name}/{escape_bytes(each.path)}", inner
                )


def _repository(  # noqa: PLR0913  the parts of a repository
    root: Path, source: str, name: str, entries: tuple[Entry, ...], state: str, declared: str
) -> Repository:
    reader = FolderReader(os.fspath(root.absolute()))
    notices = read_notice_files(reader, entries)
    return Repository(source, name, reader, entries, state, notices, declared)


def _walk(root: str, nested: list[str] | None) -> list[Found]:
    """All files below `root`, depth first, in byte order of their names."""
    found: list[Found] = []
    top = root.rstrip("/")
    waiting = [iter(_inside(root, "", found))]
    while waiting:
        each = next(waiting[-1], None)
        if each is None:
            waiting.pop()
            continue
        relative = each.path[len(top) + 1 :]
        try:
            status = each.stat(follow_symlinks=False)
        except OSError:
            found.append((relative, None, "unreadable"))
            continue
        if not S_ISDIR(status.st_mode):
            found.append((relative, status, _file_rule(status)))
        elif each.name in PASSED_OVER:
            found.append((relative, status, "passed-over"))
        elif nested is not None and os.path.exists(f"{each.path}/.git"):  # noqa: PTH110
            nested.append(relative)
        else:
            waiting.append(iter(_inside(root, relative, found)))
    return found


def _inside(root: str, folder: str, found: list[Found]) -> list[os.DirEntry[str]]:
    """What a folder holds, by name; one that cannot be read is found as such."""
    try:
        with os.scandir(f"{root}/{folder}" if folder else root) as scan:
            inside = list(scan)
    except OSError as error:
        if not folder:
            reason = error.strerror or "error"
            raise SourceError(f"cannot read {root}: {reason}; change its rights") from None
        found.append((folder, None, "unreadable"))
        return []
    is_ascii = all(each.name.isascii() for each in inside)
    inside.sort(key=_NAME if is_ascii else _byte_name)
    return inside


def _byte_name(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _file_rule(status: os.stat_result) -> str:
    if S_ISLNK(status.st_mode):
        return "link"
    return "" if S_ISREG(status.st_mode) else "not-a-file"


def _entry(relative: str, n_bytes: int, rule: str) -> Entry:
    value = "not followed" if rule == "link" else ""
    return apply_bounds(Entry(escape_bytes(relative), n_bytes, relative, rule, value))


def _tracked_entry(root: Path, tracked: git.Tracked) -> Entry:
    try:
        status = (root / tracked.path).lstat()
    except OSError as error:
        value = error.strerror or "not there"
        return apply_bounds(Entry(escape_bytes(tracked.path), 0, tracked.path, "unreadable", value))
    rule = _file_rule(status) if not S_ISDIR(status.st_mode) else "not-a-file"
    return _entry(tracked.path, 0 if rule else status.st_size, rule)


def _mtime(root: Path, entry: Entry) -> str:
    try:
        return str((root / entry.locator).lstat().st_mtime_ns)
    except OSError:
        return ""


def _read_file(path: str, expected: int) -> bytes:
    """The bytes of a regular file; a link that took its place since is refused by the system."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, expected + 1)
        if len(data) == expected:
            return data
        parts = [data]  # it has changed since it was listed
        while data := os.read(descriptor, 1 << 20):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(descriptor)
