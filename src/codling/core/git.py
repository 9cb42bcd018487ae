"""The one way in which codling starts git: every repository is treated as hostile.

Input: a `GitPlace`. Output: what git's reading commands print.

A repository can name programs to run (filters, fsmonitor, ssh commands, hooks, pagers, ...) in its
configuration and attributes, and git obeys. So git never sees them: it works in a private folder
that is made here for every use and holds our own configuration, the index, and links to the
packs and loose objects that are ordinary files. What is not linked cannot take effect: config,
info/attributes, hooks, alternates, grafts, replaced objects, remotes. Refs are read by
git_place.py. Git gets an environment of its own, never prompts, and has limits of time and memory.

Only `list_untracked` lets git look at the work tree (for .gitignore), and `apply_patch` writes,
where no repository is. Files are hashed here.
Not here: what is made of it (corpus/sources/git.py, corpus/sources/history.py, artifact.py).
"""

import hashlib
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import IO, NamedTuple

from codling.core.errors import SourceError, ToolMissingError
from codling.core.git_place import (
    MAX_POINTER_BYTES,
    GitPlace,
    is_folder,
    is_ordinary,
    read_ordinary,
)
from codling.core.private_dirs import private_dir

LIMIT_SECONDS = 300
"""How long a command may take; for a streamed output, how long it may be silent."""
WALK_SECONDS = 20
"""The same for a look at the work tree: somebody waits for a completion."""
MEMORY_BYTES = 4 << 30
"""What git may allocate (packs are mapped and do not count): an object can be packed a
thousandfold."""
OUTPUT_BYTES = 128_000_000
"""The longest list of files: about a million of them. A few small objects can name a
billion."""
LISTING_SECONDS = 30
"""CPU time of listing a commit, which takes five for half a million files. Ten trees can name a
billion, and name no file at all."""
PROCESSOR_SECONDS = 3600
"""CPU time of a single command: the history of the largest repositories takes minutes."""
HASHED_BYTES = 32_000_000
"""Larger files are never learned from (MAX_DOCUMENT_BYTES), so they are compared by size."""

_CONFIG = """[core]
	repositoryformatversion = {version}
	bare = true
	attributesFile = /dev/null
	excludesFile = /dev/null
	hooksPath = /dev/null
	fsmonitor = false
	untrackedCache = false
	commitGraph = false
	multiPackIndex = false
[log]
	showSignature = false
	mailmap = false
[protocol]
	allow = never
"""
_SHA256 = "[extensions]\n\tobjectFormat = sha256\n"
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DEVELOPER_DIR", "TMPDIR")
_LOOSE = re.compile(r"[0-9a-f]{2}")
_PACK = re.compile(r"pack-[0-9a-f]+\.(?:pack|idx)")
_SHARED_INDEX = re.compile(r"sharedindex\.[0-9a-f]+")
_BLOCK = 1 << 16
_SAID = "said"
"""The file of the private folder that holds the stderr of the last command."""


class CommandFailedError(SourceError):
    """Git ended with an error: an object is missing or damaged."""


class InTree(NamedTuple):
    """A file of a commit."""

    mode: str
    object_id: str
    n_bytes: int | None
    """None where the clone lacks the object."""


@dataclass(frozen=True)
class Git:
    """A repository that is open for reading."""

    place: GitPlace
    private_dir: Path

    def run(
        self,
        *arguments: str,
        seconds: float | None = None,
        processor_seconds: int = PROCESSOR_SECONDS,
        in_tree: bool = False,
    ) -> bytes:
        """What a command prints. Raises SourceError where it fails, takes too long or prints too
        much."""
        parts: list[bytes] = []
        n_bytes, end = 0, time.monotonic() + (seconds or LIMIT_SECONDS)
        with self._start(arguments, processor_seconds, in_tree=in_tree) as stream:
            for block in stream.blocks(end):
                parts.append(block)
                n_bytes += len(block)
                if n_bytes > OUTPUT_BYTES:
                    raise SourceError(f"the repository {self.where} names too many files to read")
            if stream.ran_out_of_time():
                raise SourceError(f"the repository {self.where} names too many folders to read")
            if not stream.has_succeeded():
                message = _reason((self.private_dir / _SAID).read_bytes())
                raise CommandFailedError(f"the repository {self.where} cannot be read: {message}")
        return b"".join(parts)

    @contextmanager
    def stream(self, *arguments: str) -> Iterator["GitProcess"]:
        """A command that is fed and read while it runs; it ends with the block."""
        with self._start(arguments) as stream:
            yield stream

    @property
    def where(self) -> Path:
        """The folder that messages name."""
        return self.place.top or self.place.git_dir

    @property
    def cure(self) -> str:
        """What the user can do to get the missing objects."""
        if is_ordinary(self.place.common_dir / "objects" / "info" / "alternates"):
            return (
                "it borrows objects of another repository, which is not followed; "
                "git repack -a -d in it copies them"
            )
        return "clone it again, whole (without --filter)"

    def list_tracked(self) -> dict[str, str]:
        """Mode of every file in the index below the place, by its path relative to it."""
        prefix, found = os.fsencode(self.place.prefix), {}
        for record in self.run("ls-files", "-z", "--stage").split(b"\0")[:-1]:
            about, _, path = record.partition(b"\t")
            if path.startswith(prefix):
                found[os.fsdecode(path[len(prefix) :])] = about.split()[0].decode()
        return found

    def list_untracked(self) -> list[str]:
        """The files below the place that the index does not have and no .gitignore names."""
        listed = self.run(
            "ls-files", "-z", "-o", "--exclude-standard", seconds=WALK_SECONDS, in_tree=True
        )
        return [os.fsdecode(each) for each in listed.split(b"\0")[:-1]]

    def list_commit(self, commit: str, *, sizes: bool = True) -> dict[str, InTree]:
        """The files of a commit below the place; none where it has no such folder.

        Raises SourceError where the clone lacks one of its folders.
        """
        listed = self._tree(commit, ("-l",) if sizes else ())
        found = {}
        for record in listed.split(b"\0")[:-1]:
            about, _, path = record.partition(b"\t")
            mode, _, object_id, *size = about.decode().split()
            n_bytes = int(size[0]) if size and size[0].isdigit() else None
            found[os.fsdecode(path)] = InTree(mode, object_id, n_bytes)
        return found

    def _tree(self, commit: str, options: Sequence[str]) -> bytes:
        place = os.fspath(self.place.prefix).rstrip("/")
        if place and not self.run("ls-tree", "-z", commit, "--", place):
            return b""
        try:
            return self.run(
                *("ls-tree", "-r", "-z", *options, f"{commit}:{place}"),
                processor_seconds=LISTING_SECONDS,
            )
        except CommandFailedError:
            raise SourceError(
                f"the repository {self.where} lacks folders of its commit; {self.cure}"
            ) from None

    def changes(self, commit: str, tracked: Iterable[str]) -> bytes:
        """How the work tree differs from a commit, b"" where it does not.

        Contents alone count. A clone that lacks folders of the commit differs in every file.
        """
        try:
            old = {path: _identity(each) for path, each in self.list_commit(commit).items()}
        except SourceError:
            old = {}
        root = os.fspath(self.where / self.place.prefix)
        hash_name = self.place.hash_name()
        new = {
            p: _hash_file(f"{root}/{p}", hash_name) for p in tracked if old.get(p) != "submodule"
        }
        paths = sorted(old.keys() | new.keys(), key=os.fsencode)
        return b"".join(
            os.fsencode(f"{path}\0{new.get(path, '')}\0")
            for path in paths
            if new.get(path, "") != old.get(path, "") and old.get(path) != "submodule"
        )

    @contextmanager
    def _start(
        self,
        arguments: Sequence[str],
        processor_seconds: int = PROCESSOR_SECONDS,
        *,
        in_tree: bool = False,
    ) -> Iterator["GitProcess"]:
        """A running git, killed at the end of the block if it is still running."""
        with (
            (self.private_dir / _SAID).open("wb") as said,
            subprocess.Popen(
                [_program(), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=self.where / self.place.prefix if in_tree else self.private_dir,
                env=_environment(self.private_dir, self.where if in_tree else None),
                bufsize=0,
            ) as process,
        ):
            _limit(process.pid, processor_seconds)
            try:
                yield GitProcess(process, self.where)
            finally:
                process.kill()


class GitProcess:
    """The input and output of a running command.

    Raises SourceError when it stops responding.
    """

    def __init__(self, process: subprocess.Popen[bytes], where: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._where, self._rest = process, where, b""
        self._in: IO[bytes] = process.stdin
        self._out = process.stdout.fileno()
        self._ready = select.poll()
        self._ready.register(self._out, select.POLLIN)

    def ask(self, line: str) -> None:
        """Write a line to the command."""
        with suppress(BrokenPipeError):  # its answer is missing, which is seen there
            self._in.write(f"{line}\n".encode())

    def blocks(self, end: float | None = None) -> Iterator[bytes]:
        """Everything to the end of the output, which must come before `end` (monotonic)."""
        self._in.close()
        while block := self._block(end):
            yield block

    def parts(self) -> Iterator[bytes]:
        """All of the output between NUL bytes, a last part without one too."""
        held: list[bytes] = []
        n_held = 0
        for block in self.blocks():
            first, *more = block.split(b"\0")
            held.append(first)
            n_held += len(first)
            if n_held > OUTPUT_BYTES:
                raise self._damage()
            for part in more:
                yield b"".join(held)
                held, n_held = [part], len(part)
        if n_held:
            yield b"".join(held)

    def line(self) -> bytes:
        """The next line without its end; b"" at the end of the output. SourceError where it is too
        long to be git's own output, as when an object holds more than its header says."""
        while b"\n" not in self._rest and len(self._rest) < _BLOCK and (block := self._block()):
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        if len(line) >= _BLOCK:
            raise self._damage()
        return line

    def content(self, n_bytes: int) -> bytes:
        """The next object, which has `n_bytes` by its header (the line before); SourceError if it
        has more or fewer."""
        data = self.exactly(n_bytes + 1)
        if len(data) != n_bytes + 1 or not data.endswith(b"\n"):
            raise self._damage()
        return data[:-1]

    def exactly(self, n_bytes: int) -> bytes:
        """The next bytes, fewer at the end of the output."""
        parts, n_missing = [self._rest], n_bytes - len(self._rest)
        while n_missing > 0 and (block := self._block()):
            parts.append(block)
            n_missing -= len(block)
        whole = b"".join(parts)
        self._rest = whole[n_bytes:]
        return whole[:n_bytes]

    def has_succeeded(self) -> bool:
        """Whether the command succeeded; call it at the end of its output."""
        return self._process.wait() == 0

    def ran_out_of_time(self) -> bool:
        """Whether the limit of CPU time ended the command; call it at the end of its output."""
        return self._process.wait() in (-signal.SIGXCPU, -signal.SIGKILL)

    def _damage(self) -> SourceError:
        return SourceError(f"the repository {self._where} is damaged; check it with git fsck")

    def _block(self, end: float | None = None) -> bytes:
        seconds = LIMIT_SECONDS if end is None else max(0, end - time.monotonic())
        if not self._ready.poll(seconds * 1000):
            raise SourceError(f"git takes too long to read {self._where}; check it with git fsck")
        return os.read(self._out, _BLOCK)


@contextmanager
def open_git(place: GitPlace) -> Iterator[Git]:
    """The repository at a place, open for reading.

    Raises SourceError where it is kept in a form that is not read, ToolMissingError without git.
    """
    if place.has_reftable():
        raise SourceError(
            f"{place.git_dir} keeps its refs in a reftable, which is not read; "
            "git refs migrate --ref-format=files changes that"
        )
    with private_dir("codling-git-") as private:
        _fill(private, place)
        yield Git(place, private)


def apply_patch(folder: Path, patch: bytes) -> bool:
    """Change the files of a folder, which is no repository, by a unified diff; whether it fits."""
    with private_dir("codling-git-") as private:
        try:
            done = subprocess.run(
                [_program(), "apply", "--whitespace=nowarn", "-"],
                input=patch,
                cwd=folder,
                capture_output=True,
                check=False,
                timeout=WALK_SECONDS,
                env=_environment(private, None) | {"GIT_DIR": os.devnull},
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def _fill(private: Path, place: GitPlace) -> None:
    """The private folder: a configuration of our own, and links to what is read."""
    is_sha256 = place.hash_name() == "sha256"
    config = _CONFIG.format(version=int(is_sha256)) + _SHA256 * is_sha256
    (private / "config").write_text(config)
    (private / "HEAD").write_text("ref: refs/heads/none\n")
    for name in ("refs", "info", "objects/pack"):
        (private / name).mkdir(parents=True)
    if cuts := place.shallow_cuts():
        (private / "shallow").write_bytes(b"\n".join(sorted(cuts)) + b"\n")
    excluded = read_ordinary(place.common_dir / "info" / "exclude", MAX_POINTER_BYTES)
    (private / "info" / "exclude").write_bytes(excluded or b"")
    _link_files(place.git_dir, private, _SHARED_INDEX)
    if is_ordinary(place.git_dir / "index"):
        (private / "index").symlink_to(place.git_dir / "index")
    objects = place.common_dir / "objects"
    if is_folder(objects / "pack"):
        _link_files(objects / "pack", private / "objects" / "pack", _PACK)
    for each in objects.iterdir():
        if _LOOSE.fullmatch(each.name) and is_folder(each) and _holds_only_ordinary(each):
            (private / "objects" / each.name).symlink_to(each)


def _link_files(folder: Path, target: Path, names: re.Pattern[str]) -> None:
    with os.scandir(folder) as scan:
        for each in scan:
            if names.fullmatch(each.name) and each.is_file(follow_symlinks=False):
                (target / each.name).symlink_to(each.path)


def _holds_only_ordinary(folder: Path) -> bool:
    """Whether a folder holds ordinary files alone: no pipe that would be waited for."""
    with os.scandir(folder) as scan:
        return all(each.is_file(follow_symlinks=False) for each in scan)


def _program() -> str:
    found = shutil.which("git", path=_search_path())
    if found is None:
        raise ToolMissingError("git is not installed, but a source is a git repository")
    return found


def _search_path() -> str:
    """PATH without folders that depend on where codling was started."""
    stated = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(each for each in stated if Path(each).is_absolute())


def _environment(private: Path, work_tree: Path | None) -> dict[str, str]:
    """An environment without the user's or the system's git settings."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    tree = {"GIT_WORK_TREE": os.fspath(work_tree)} if work_tree else {}
    return (
        kept
        | tree
        | {"PATH": _search_path(), "HOME": os.fspath(private), "LC_ALL": "C"}
        | {"GIT_DIR": os.fspath(private), "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
        | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        | {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
        | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "GIT_PAGER": "cat"}
        | {"GIT_ALLOW_PROTOCOL": "", "GIT_LITERAL_PATHSPECS": "1"}
    )


def _limit(pid: int, seconds: int) -> None:
    if sys.platform == "linux":
        with suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
            resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds + 5))


def _reason(message: bytes) -> str:
    """Git's last error message, in one line."""
    lines = message.decode("utf-8", "replace").strip().splitlines()
    said = (lines or ["it is damaged"])[-1].removeprefix("fatal: ")
    return "".join(c if c.isprintable() else "?" for c in said)[:200]


def _identity(file: InTree) -> str:
    """What identifies the content of a file of a commit, as `_hash_file` does in the work tree."""
    match file.mode:
        case "160000":
            return "submodule"
        case "120000":
            return f"link {file.object_id}"
        case _ if file.n_bytes is not None and file.n_bytes > HASHED_BYTES:
            return f"{file.n_bytes} bytes"
        case _:
            return file.object_id


def _hash_file(path: str, hash_name: str) -> str:
    """The object id that a file would have, "" where there is none."""
    try:
        status = os.lstat(path)
        if S_ISLNK(status.st_mode):
            target = os.fsencode(os.readlink(path))  # noqa: PTH115  Path would tidy it up
            return f"link {_object_id(target, hash_name)}"
        if not S_ISREG(status.st_mode):
            return ""
    except OSError:
        return ""
    if status.st_size > HASHED_BYTES:
        return f"{status.st_size} bytes"
    data = read_ordinary(Path(path), HASHED_BYTES)
    return "unreadable" if data is None else _object_id(data, hash_name)


def _object_id(data: bytes, hash_name: str) -> str:
    digest = hashlib.new(hash_name, b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()
