"""Git as a source: which files are tracked, the state of a tree, and bare repositories.

Input: a folder. Output: tracked paths with modes, a state (HEAD and what differs from it), and for
bare repositories, and for a commit of any, a Repository that is read through `git cat-file`.

Git is called through core/git.py alone, which lets nothing of a repository's own settings take
effect. Not here: reading files of a working tree (folders.py), commit times (history.py).
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.files import escape_bytes
from codling.core.git import Git, GitProcess, open_git
from codling.core.git_place import GitPlace, find_place, is_git_dir
from codling.core.log import say
from codling.corpus.sources.repository import Entry, Repository, apply_bounds, read_notice_files

LINK, SUBMODULE = "120000", "160000"
_NO_OBJECT = "its object is missing"


@dataclass(frozen=True, slots=True)
class Tracked:
    """A path that git knows of."""

    path: str
    """Relative to the folder asked about; bytes that are not UTF-8 are surrogates."""
    mode: str

    @property
    def is_submodule(self) -> bool:
        """Whether it is another repository, not a file."""
        return self.mode == SUBMODULE


def is_bare(path: Path) -> bool:
    """Whether `path` is a bare repository, or the .git folder of one that is not."""
    return is_git_dir(path)


def tracked_files(root: Path) -> list[Tracked] | None:
    """The files that git tracks at and below `root`; None where it tracks none."""
    place = find_place(root)
    if place is None:
        if (root / ".git").exists():
            say(f"{root}/.git is not a repository that knows this folder: read as a plain folder")
        return None
    with open_git(place) as git:
        found = git.list_tracked()
    return [Tracked(path, found[path]) for path in sorted(found, key=os.fsencode)] or None


def state(root: Path, tracked: Sequence[Tracked]) -> str | None:
    """HEAD and, where the tree differs from it, a hash of the difference; None without a commit."""
    place = find_place(root)
    commit = place.head() if place else None
    if place is None or commit is None:
        return None
    with open_git(place) as git:
        changes = git.changes(commit, (t.path for t in tracked if not t.is_submodule))
    found = commit + _prefix_mark(place) + shallow_mark(place)
    return found + ("-" + hashlib.sha256(changes).hexdigest()[:16] if changes else "")


@dataclass(frozen=True)
class BlobReader:
    """Reads blobs of a repository, with or without a work tree; a locator is an object id."""

    root: str

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The blobs, in order, through one `git cat-file --batch`."""
        place = _place(Path(self.root))
        with open_git(place) as git, git.stream("cat-file", "--batch") as stream:
            for entry in entries:
                stream.ask(entry.locator)
                data = _blob(stream, self.root)
                yield (entry, data) if data is not None else (_without_object(entry), b"")


def open_bare(root: Path, name: str) -> Repository:
    """The files of the commit that HEAD of a bare repository names."""
    place = _place(root)
    commit = place.head()
    if commit is None:
        raise SourceError(f"the repository {root} has no commit at HEAD{_cure(place, root)}")
    return open_commit(root, name, name, commit)


def _cure(place: GitPlace, root: Path) -> str:
    """What to do where HEAD names a branch that is not there, as in clones of a bundle."""
    branches = place.branches()
    if not branches:
        return " and no branch"
    more = f" ({', '.join(branches[:3])}{', ...' if branches[3:] else ''})" if branches[1:] else ""
    return (
        ", which names a branch that does not exist: "
        f"`git -C {root} symbolic-ref HEAD refs/heads/{branches[0]}`{more}"
    )


def open_commit(root: Path, source: str, name: str, commit: str) -> Repository:
    """The files of a commit, whatever the work tree holds; of a folder in one, those below it."""
    place = _place(root)
    with open_git(place) as git:
        entries = tuple(_list(git, commit))
        _say_missing(root, entries, git.cure)
    reader = BlobReader(os.fspath(root.absolute()))
    return Repository(
        source,
        name,
        reader,
        entries,
        commit + _prefix_mark(place) + shallow_mark(place),
        read_notice_files(reader, entries),
        history=os.fspath(root.absolute()),
        commit=commit,
    )


def shallow_mark(place: GitPlace) -> str:
    """What tells a shallow clone from a whole one of the same commit: "" for a whole one."""
    cuts = place.shallow_cuts()
    return "-shallow" + hashlib.sha256(b"\n".join(sorted(cuts))).hexdigest()[:8] if cuts else ""


def _place(root: Path) -> GitPlace:
    place = find_place(root)
    if place is None:
        raise SourceError(f"{root} is not a git repository")
    return place


def _prefix_mark(place: GitPlace) -> str:
    """What tells a folder of a repository from the whole of it."""
    prefix = os.fsencode(place.prefix)
    return "-" + hashlib.sha256(prefix).hexdigest()[:8] if prefix else ""


def _list(git: Git, commit: str) -> Iterator[Entry]:
    for raw, (mode, object_id, n_bytes) in git.list_commit(commit).items():
        entry = apply_bounds(Entry(escape_bytes(raw), n_bytes or 0, object_id))
        if mode == LINK:
            yield replace(entry, n_bytes=0, rule="link", value="not followed")
        elif mode != SUBMODULE:
            yield _without_object(entry) if n_bytes is None and not entry.rule else entry


def _without_object(entry: Entry) -> Entry:
    return replace(entry, n_bytes=0, rule="unreadable", value=_NO_OBJECT)


def _say_missing(root: Path, entries: Sequence[Entry], cure: str) -> None:
    n_missing = sum(e.value == _NO_OBJECT for e in entries)
    if n_missing:
        say(f"{root} lacks the contents of {n_missing:,} of {len(entries):,} files; {cure}")


def _blob(stream: GitProcess, root: str) -> bytes | None:
    """The next blob; None where the repository does not have it."""
    header = stream.line().split()
    if header[1:] == [b"missing"]:
        return None
    if len(header) == 3:
        return stream.content(int(header[2]))
    raise SourceError(f"the repository {root} is damaged; check it with git fsck")
