"""Git as a source: which files are tracked, the state of a tree, and bare repositories.

Input: a folder. Output: tracked paths with modes, a state (HEAD and what differs from it), and for
bare repositories a Repository that is read through `git cat-file`.

Only commands that read are run, with hooks and outside programs of the repository's configuration
switched off. Not here: reading files of a working tree (folders.py), commit times (history.py).
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codling.core.errors import SourceError, ToolMissingError
from codling.corpus.licenses import NOTICE_BYTES, is_notice
from codling.corpus.repository import Entry, Repository, shown

LINK, SUBMODULE = "120000", "160000"
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")


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
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def tracked_files(root: Path) -> list[Tracked] | None:
    """The files that git tracks at and below `root`; None where it tracks none."""
    if not any(
        (folder / ".git").exists() for folder in (root.absolute(), *root.absolute().parents)
    ):
        return None
    done = run_git(root, "ls-files", "-z", "--stage")
    if done.returncode != 0:
        _refuse(root, done.stderr)
        return None
    found = {}
    for record in done.stdout.split(b"\0")[:-1]:
        about, _, path = record.partition(b"\t")
        found[os.fsdecode(path)] = about.split()[0].decode()
    return [Tracked(path, found[path]) for path in sorted(found, key=os.fsencode)] or None


def state(root: Path) -> str | None:
    """HEAD and, where the tree differs from it, a hash of the difference; None without a commit."""
    head = run_git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if head.returncode != 0:
        return None
    prefix = run_git(root, "rev-parse", "--show-prefix").stdout.strip()
    changes = run_git(
        root, "diff", "--no-ext-diff", "--no-textconv", "--binary", "--relative", "HEAD", "--", "."
    )
    found = head.stdout.decode().strip()
    if prefix:
        found += "-" + hashlib.sha256(prefix).hexdigest()[:8]
    found += shallow_mark(root)
    return found + ("-" + hashlib.sha256(changes.stdout).hexdigest()[:16] if changes.stdout else "")


@dataclass(frozen=True)
class BareReader:
    """Reads blobs of a bare repository; a locator is an object id."""

    root: str

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The blobs, in order, through one `git cat-file --batch`."""
        command = git_command(Path(self.root), "cat-file", "--batch")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for entry in entries:
                process.stdin.write(f"{entry.locator}\n".encode())
                process.stdin.flush()
                yield entry, _blob(process.stdout, self.root)
            process.stdin.close()


def open_bare(root: Path, name: str) -> Repository:
    """The files of the commit that HEAD of a bare repository names."""
    head = run_git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if head.returncode != 0:
        _refuse(root, head.stderr)
        raise SourceError(f"the repository {root} has no commit at HEAD")
    commit = head.stdout.decode().strip()
    listed = run_git(root, "ls-tree", "-r", "-z", "-l", commit).stdout
    entries = tuple(_listed(listed))
    reader = BareReader(os.fspath(root.absolute()))
    wanted = [e for e in entries if not e.rule and e.n_bytes <= NOTICE_BYTES and is_notice(e.path)]
    notices = {entry.path: data for entry, data in reader.read(wanted)}
    state = commit + shallow_mark(root)
    return Repository(
        name, name, reader, entries, state, notices, history=os.fspath(root.absolute())
    )


def shallow_mark(root: Path) -> str:
    """What tells a shallow clone from a whole one of the same commit: "" for a whole one."""
    cuts = shallow_cuts(root)
    return "-shallow" + hashlib.sha256(b"\n".join(sorted(cuts))).hexdigest()[:8] if cuts else ""


def shallow_cuts(root: Path) -> set[bytes]:
    """The commits at which a shallow clone ends; none for a whole one."""
    where = run_git(root, "rev-parse", "--git-path", "shallow").stdout.rstrip(b"\n")
    path = root / os.fsdecode(where)
    return set(path.read_bytes().split()) if path.is_file() else set()


def _listed(output: bytes) -> Iterator[Entry]:
    for record in output.split(b"\0")[:-1]:
        about, _, raw = record.partition(b"\t")
        mode, _, oid, size = about.decode().split()
        path = shown(os.fsdecode(raw))
        if mode == SUBMODULE:
            continue
        if mode == LINK:
            yield Entry(path, 0, oid, "link", "not followed")
        else:
            yield Entry(path, int(size), oid)


def _blob(stream: IO[bytes], root: str) -> bytes:
    header = stream.readline().split()
    if len(header) != 3:
        raise SourceError(f"the repository {root} is damaged; check it with git fsck")
    size = int(header[2])
    data = stream.read(size + 1)
    if len(data) != size + 1:
        raise SourceError(f"the repository {root} is damaged; check it with git fsck")
    return data[:size]


def run_git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command of git that reads, in `root`."""
    try:
        return subprocess.run(
            git_command(root, *arguments), capture_output=True, check=False, env=environment()
        )
    except FileNotFoundError:
        raise ToolMissingError("git is not installed, but a source is a git repository") from None


def git_command(root: Path, *arguments: str) -> list[str]:
    """A command of git in `root`, with nothing of its configuration that runs programs."""
    return ["git", *_SAFE, "-C", os.fspath(root), *arguments]


def environment() -> dict[str, str]:
    """The environment without settings that point git elsewhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return kept | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_EXTERNAL_DIFF": ""}


def _refuse(root: Path, message: bytes) -> None:
    """Raise git's refusal of a folder that somebody else owns, with the cure."""
    if b"dubious ownership" in message:
        raise SourceError(
            f"git refuses {root}: somebody else owns it; "
            f"allow it with: git config --global --add safe.directory {root.absolute()}"
        )
