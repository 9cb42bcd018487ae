"""Later commits: where a repository's history is cut in two, and what was changed after the cut.

Input: a git repository. Output: a `Cut` (the commit whose tree is learned from), and the commits
that came after it with the files that each changed. "After" is git's own word for it: a commit is
later where the cut does not know of it, whatever dates say. Merges are counted, not read.

Everything goes through core/git.py. Not here: which changed lines make a fair question
(evaluate), and reading the tree at the cut as a source (git.py).
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.files import escape_bytes
from codling.core.git import Git, GitProcess, open_git
from codling.core.git_place import find_place
from codling.corpus.sources.repository import read_second

MIN_COMMITS = 50
"""A repository of fewer commits (without merges) is not cut; where there are enough commits, at
least this many come after the cut."""
LATER_SHARE = 0.1
"""Share of the commits that come after the cut."""
MAX_SHARE = 0.5
_ID = re.compile(r"[0-9a-f]{4,64}")
_LOG = ("log", "-z", "--no-merges", "--raw", "--no-abbrev", "-M", "--no-ext-diff", "--root")
_FORMAT = "--format=%x01%H%x02%ct%x02%ae%x02%an%x02%B"


@dataclass(frozen=True)
class Cut:
    """A history in two parts."""

    commit: str
    """The last commit that is learned from, with its whole tree."""
    head: str
    second: int
    """Commit time of the cut, in Unix seconds."""
    n_before: int
    """Commits up to the cut, merges left out."""
    n_later: int
    n_merges: int
    """Merges after the cut."""


@dataclass(frozen=True)
class Change:
    """A file that a commit changed."""

    status: str
    """Git's letter: A added, M modified, R renamed, C copied, T another type, D deleted."""
    path: str
    old_id: str
    new_id: str


@dataclass(frozen=True)
class Commit:
    """A later commit."""

    id: str
    second: int
    email: str
    author: str
    message: str
    changes: tuple[Change, ...]

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


class Commits:
    """A history that is open for reading; SourceError for what cannot be cut."""

    def __init__(self, git: Git, head: str) -> None:
        self.git, self.head = git, head
        lines = git.run("rev-list", "--parents", "--timestamp", head, "--").decode().split("\n")
        rows = [line.split(" ") for line in lines if line]
        self._seconds = {row[1]: int(row[0]) for row in rows}
        self._parents = {row[1]: row[2:] for row in rows}

    @property
    def n_commits(self) -> int:
        """Commits, merges left out."""
        return sum(len(parents) < 2 for parents in self._parents.values())

    def cut(self, at: str | None = None, share: float = LATER_SHARE) -> Cut:
        """The cut at a commit, or the one that leaves `share` of the commits for later.

        Without `at` it lies on the main line (first parents), at least MIN_COMMITS come after it,
        or half of all where there are not twice as many.
        """
        if at is not None:
            return self._cut_at(self._read_name(at))
        total = self.n_commits
        if total < MIN_COMMITS:
            raise SourceError(
                f"{self.git.where} has {total} commits, too few to keep later ones for questions "
                f"(at least {MIN_COMMITS} are needed); use --heldout-by package"
            )
        wanted = min(max(math.ceil(share * total), MIN_COMMITS), int(total * MAX_SHARE))
        return self._cut_at(self._main_line_commit(total, wanted))

    def has(self, commit: str) -> bool:
        """Whether a commit belongs to this history."""
        return commit in self._parents

    def is_before(self, commit: str, cut: Cut) -> bool:
        """Whether a commit is the cut or comes before it."""
        return commit in self._reach(cut.commit, set())

    def later(self, cut: Cut) -> Iterator[Commit]:
        """The commits after a cut, newest first, merges left out."""
        prefix = self.git.place.prefix
        where = [f"--relative={prefix}"] if prefix else []
        below = ["--", prefix.rstrip("/")] if prefix else ["--"]
        arguments = (*_LOG, _FORMAT, *where, f"{cut.commit}..{cut.head}", *below)
        with self.git.stream(*arguments) as stream:
            yield from _parse(stream.parts())
            if not stream.has_succeeded():
                raise SourceError(
                    f"the repository {self.git.where} lacks objects of its later commits; "
                    f"{self.git.cure}"
                )

    def _read_name(self, at: str) -> str:
        """The one commit of the history whose id begins so."""
        found = [c for c in self._parents if c.startswith(at)] if _ID.fullmatch(at) else []
        if len(found) != 1:
            what = "several commits" if found else "no commit of its history"
            raise SourceError(f"{at} names {what} in {self.git.where}; give the id in full")
        if found[0] == self.head:
            raise SourceError(f"{at} is the newest commit of {self.git.where}: none comes later")
        return found[0]

    def _main_line_commit(self, total: int, wanted: int) -> str:
        """The newest commit of the main line after which at least `wanted` come."""
        line = [self.head]
        while parents := self._parents[line[-1]]:
            line.append(parents[0])
        known: set[str] = set()
        n_known, best = 0, line[-1]
        for commit in reversed(line):
            n_known += self._count(self._reach(commit, known))
            if total - n_known < wanted:
                break
            best = commit
        return best

    def _cut_at(self, commit: str) -> Cut:
        before = self._reach(commit, set())
        n_before = self._count(before)
        later = self._parents.keys() - before
        n_later = self._count(later)
        merges = len(later) - n_later
        return Cut(commit, self.head, self._seconds[commit], n_before, n_later, merges)

    def _count(self, commits: set[str]) -> int:
        return sum(len(self._parents[c]) < 2 for c in commits)

    def _reach(self, commit: str, known: set[str]) -> set[str]:
        """The commit and its ancestors that are not in `known`, to which they are added."""
        found, waiting = set(), [commit]
        while waiting:
            each = waiting.pop()
            if each not in known and each in self._parents:
                known.add(each)
                found.add(each)
                waiting += self._parents[each]
        return found


class Blobs:
    """Texts of a repository's objects, none of them larger than a limit."""

    def __init__(self, sizes: GitProcess, contents: GitProcess, max_bytes: int) -> None:
        """`sizes` and `contents`: running git cat-file, with --batch-check and with --batch."""
        self._sizes, self._contents, self._max_bytes = sizes, contents, max_bytes

    def read(self, object_id: str) -> bytes | None:
        """The blob's bytes; None where it is too large, missing or no blob."""
        self._sizes.ask(object_id)
        said = self._sizes.line().split()
        if len(said) != 3 or said[1] != b"blob" or int(said[2]) > self._max_bytes:
            return None
        self._contents.ask(object_id)
        header = self._contents.line().split()
        if len(header) != 3:
            return None
        return self._contents.content(int(header[2]))


@contextmanager
def open_blobs(git: Git, max_bytes: int) -> Iterator[Blobs]:
    """The objects of a repository, while the block lasts."""
    with (
        git.stream("cat-file", "--batch-check") as sizes,
        git.stream("cat-file", "--batch") as contents,
    ):
        yield Blobs(sizes, contents, max_bytes)


def reason_not_to_cut(root: Path, at: str | None = None) -> str:
    """Why a source has no later commits that could be kept for questions; "" where it has."""
    if not root.is_dir():
        return f"{root} is not a git repository"
    try:
        with open_commits(root) as commits:
            commits.cut(at)
    except SourceError as error:
        return str(error)
    return ""


@contextmanager
def open_commits(root: Path) -> Iterator[Commits]:
    """The history of the repository at or around `root`.

    Raises SourceError where there is none, or only the newest part of one (a shallow clone).
    """
    place = find_place(root)
    head = place.head() if place else None
    if place is None or head is None:
        raise SourceError(
            f"{root} is not a git repository with commits; there are no later commits"
        )
    if place.shallow_cuts():
        raise SourceError(
            f"{root} is a shallow clone, which lacks the history that is cut in two; "
            "git fetch --unshallow gives it"
        )
    with open_git(place) as git:
        yield Commits(git, head)


def _parse(tokens: Iterator[bytes]) -> Iterator[Commit]:
    """Commits from a log of which each token is a commit, a change, or a path of a change."""
    about: list[str] = []
    changes: list[Change] = []
    for token in tokens:
        token = token.lstrip(b"\n")
        if token.startswith(b"\x01"):
            if about:
                yield _commit(about, changes)
            about, changes = token[1:].decode("utf-8", "replace").split("\x02", 4), []
        elif token.startswith(b":"):
            _, _, old_id, new_id, status = token.decode("ascii").split(" ")
            path = next(tokens, b"")
            if status[0] in "RC":
                path = next(tokens, b"")
            changes.append(Change(status[0], escape_bytes(os.fsdecode(path)), old_id, new_id))
    if about:
        yield _commit(about, changes)


def _commit(about: Sequence[str], changes: Sequence[Change]) -> Commit:
    commit, second, email, author, message = about
    return Commit(commit, read_second(second), email, author, message, tuple(changes))
