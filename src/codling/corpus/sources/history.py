"""History: when each file of a git repository was last changed, from its commits.

Input: a git repository, also a bare one or a folder inside a working tree. Output: path -> commit
time, in Unix seconds. One `git log --raw` is read as a stream, newest commit first, until every
file of HEAD is dated: a file's time is that of the newest commit that gave it the contents it has
at HEAD. Merges count where they changed a file from all their parents.

Where a shallow clone ends, git shows all files as new; what was not changed since has no time.

Not here: files of other sources (an archive's times say when it was packed, a folder's when it was
copied), and changes that are not committed: such a file has the time of its last commit.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.files import escape_bytes
from codling.core.git import Git, open_git
from codling.core.git_place import find_place
from codling.corpus.sources.repository import parse_second, read_second

_LOG = ("log", "-z", "-c", "--root", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff")
_FORMAT = "--format=%x01%H %ct"


@dataclass(frozen=True)
class History:
    """Commit times of the files at HEAD."""

    times: dict[str, int]
    """Path as tables show it -> Unix seconds of the commit that changed it last."""
    n_files: int
    """Files at HEAD, dated or not."""
    is_shallow: bool
    """Whether the clone holds only the newest commits."""
    is_broken: bool = False
    """Whether it lacks objects of commits that it should hold."""


def read_history(root: Path, commit: str = "") -> History:
    """The commit times of the files at and below `root`, none where there is no commit.

    `commit` is the one whose files they are, HEAD if none is named.
    """
    place = find_place(root)
    commit = commit or (place.head() if place else None) or ""
    if place is None or not commit:
        return History({}, 0, False)
    with open_git(place) as git:
        try:
            files = git.list_commit(commit, sizes=False)
        except SourceError:
            return History({}, 0, False, is_broken=True)
        blobs = {os.fsencode(path): each.object_id.encode() for path, each in files.items()}
        changes = _Changes(git, commit)
        times = _date_files(blobs, changes, place.shallow_cuts())
    return History(times, len(files), bool(place.shallow_cuts()), changes.is_cut)


def _date_files(
    undated: dict[bytes, bytes], changes: "_Changes", cuts: set[bytes]
) -> dict[str, int]:
    """Path -> second of the newest commit that gave it the blob that `undated` says."""
    times: dict[str, int] = {}
    for commit, second, path, blob in changes:
        if undated.get(path) == blob and commit not in cuts:
            del undated[path]
            if (known := parse_second(second)) is not None:
                times[escape_bytes(os.fsdecode(path))] = known
            if not undated:
                break
    return times


class _Changes:
    """(commit, its time, path, blob after it) of every change, newest commits first."""

    def __init__(self, git: Git, commit: str) -> None:
        self._git, self._commit = git, commit
        self.is_cut = False
        """Whether the log ended because an object is missing."""

    def __iter__(self) -> Iterator[tuple[bytes, int, bytes, bytes]]:
        prefix = self._git.place.prefix
        place = (f"--relative={prefix}", self._commit, "--", prefix.rstrip("/"))
        arguments = place if prefix else (self._commit, "--")
        with self._git.stream(*_LOG, _FORMAT, *arguments) as stream:
            yield from _parse(stream.parts())
            self.is_cut = not stream.has_succeeded()


def _parse(tokens: Iterator[bytes]) -> Iterator[tuple[bytes, int, bytes, bytes]]:
    """Changes from a log of which each token is a commit, a change, or a change's path."""
    commit, second = b"", 0
    for token in tokens:
        about = token.lstrip(b"\n")
        if about.startswith(b"\x01"):
            commit, _, stated = about[1:].partition(b" ")
            second = read_second(stated.decode("ascii", "replace"))
        elif about.startswith(b":"):
            # ":MODE MODE BLOB BLOB M", and for a merge one more of each parent and "::" in front:
            # the blob after the commit is the last before the letters.
            yield commit, second, next(tokens, b""), about.split(b" ")[-2]
