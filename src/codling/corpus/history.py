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
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codling.corpus.git import environment, git_command, run_git, shallow_cuts
from codling.corpus.repository import shown

_LOG = ("log", "-z", "-c", "--root", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff")
_FORMAT = "--format=%x01%H %ct"
_BLOCK = 1 << 16


@dataclass(frozen=True)
class History:
    """Commit times of the files at HEAD."""

    times: dict[str, int]
    """Path as tables show it -> Unix seconds of the commit that changed it last."""
    n_files: int
    """Files at HEAD, dated or not."""
    is_shallow: bool
    """Whether the clone holds only the newest commits."""


def read_history(root: Path) -> History:
    """The commit times of the files at and below `root`, none where there is no commit."""
    undated = _files(root)
    n_files = len(undated)
    if not undated:
        return History({}, 0, False)
    cuts = shallow_cuts(root)
    times: dict[str, int] = {}
    for commit, second, path, blob in _changes(root):
        if undated.get(path) == blob and commit not in cuts:
            del undated[path]
            times[shown(os.fsdecode(path))] = second
            if not undated:
                break
    return History(times, n_files, bool(cuts))


def _files(root: Path) -> dict[bytes, bytes]:
    """Path -> blob of every file of HEAD at and below `root`."""
    listed = run_git(root, "ls-tree", "-r", "-z", "HEAD")
    found = {}
    for record in listed.stdout.split(b"\0")[:-1]:
        about, _, path = record.partition(b"\t")
        found[path] = about.split()[2]
    return found


def _changes(root: Path) -> Iterator[tuple[bytes, int, bytes, bytes]]:
    """(commit, its time, path, blob after it) of every change, newest commits first."""
    is_inner = run_git(root, "rev-parse", "--show-prefix").stdout.strip()
    place = ("--relative", "HEAD", "--", ".") if is_inner else ("HEAD", "--")
    command = git_command(root, "-c", "log.showSignature=false", *_LOG, _FORMAT, *place)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        assert process.stdout is not None
        try:
            yield from _parsed(_tokens(process.stdout))
        finally:
            process.kill()


def _parsed(tokens: Iterator[bytes]) -> Iterator[tuple[bytes, int, bytes, bytes]]:
    """Changes from a log of which each token is a commit, a change, or a change's path."""
    commit, second = b"", 0
    for token in tokens:
        about = token.lstrip(b"\n")
        if about.startswith(b"\x01"):
            commit, _, stated = about[1:].partition(b" ")
            second = int(stated)
        elif about.startswith(b":"):
            # ":MODE MODE BLOB BLOB M", and for a merge one more of each parent and "::" in front:
            # the blob after the commit is the last before the letters.
            yield commit, second, next(tokens, b""), about.split(b" ")[-2]


def _tokens(stream: IO[bytes]) -> Iterator[bytes]:
    """The parts of a stream between NUL bytes."""
    rest = b""
    while block := stream.read(_BLOCK):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
    if rest:
        yield rest
