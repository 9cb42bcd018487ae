"""Where a git repository lies, and what its files say: found and read without git.

Input: a folder. Output: a `GitPlace`: the folder with HEAD and index, the one with objects and
refs, and the work tree. Everything here is treated as hostile: only ordinary files of a bounded
size are read, links are not followed, and nothing of the repository's configuration is obeyed (of
it only the formats of objects and refs are looked up).

A `.git` that is a file points elsewhere. It is trusted only if the target confirms it: a linked
work tree (`git worktree add`) names this file in return, and a submodule lies in the `modules`
folder of the repository around it.

Not here: starting git (git.py).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from codling.core.folder_walk import files_below

MAX_POINTER_BYTES = 1 << 16
MAX_LIST_BYTES = 1 << 28
"""For packed-refs, shallow and config."""
_OBJECT_ID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(rb"\bobjectformat\s*=\s*\"?sha256", re.IGNORECASE)
_REFTABLE = re.compile(rb"\brefstorage\s*=\s*\"?reftable", re.IGNORECASE)
_PLAIN_NAME = re.compile(rb"\w[\w./+-]{0,100}")
_MAX_JUMPS = 5
"""How many refs may name another ref, as in git."""
_OF_WORK_TREE = ("refs/worktree/", "refs/bisect/", "refs/rewritten/")


@dataclass(frozen=True)
class GitPlace:
    """A repository, as seen from one folder."""

    git_dir: Path
    """The folder with HEAD and index: of a linked work tree its own."""
    common_dir: Path
    """The folder with objects, refs and shallow."""
    top: Path | None = None
    """The work tree; None for a bare repository."""
    prefix: str = ""
    """Where the folder lies in the work tree, with "/" at its end."""

    def head(self) -> str | None:
        """The id of the commit that HEAD names; None where there is none yet."""
        name = "HEAD"
        for _ in range(_MAX_JUMPS):
            line = (self._ref(name) or b"").strip()
            if not line.startswith(b"ref:"):
                return line.decode() if _OBJECT_ID.fullmatch(line) else None
            name = os.fsdecode(line[4:].strip())
            if not name.startswith("refs/") or not {"", ".", ".."}.isdisjoint(name.split("/")):
                return None
        return None

    def branches(self) -> list[str]:
        """The names of its branches, in order, as far as they can stand in a message."""
        packed = read_ordinary(self.common_dir / "packed-refs", MAX_LIST_BYTES) or b""
        found = re.findall(rb"^[0-9a-f]+ refs/heads/(.+)$", packed, re.MULTILINE)
        loose = self.common_dir / "refs" / "heads"
        if is_folder(loose):
            found += [os.fsencode(path.relative_to(loose)) for path in files_below(loose)]
        return sorted({name.decode() for name in found if _PLAIN_NAME.fullmatch(name)})

    def shallow_cuts(self) -> set[bytes]:
        """The commits at which a shallow clone ends; none for a whole one."""
        stated = read_ordinary(self.common_dir / "shallow", MAX_LIST_BYTES) or b""
        return {each for each in stated.split() if _OBJECT_ID.fullmatch(each)}

    def hash_name(self) -> str:
        """The algorithm of object ids: "sha1" or "sha256"."""
        if head := self.head():
            return "sha1" if len(head) == 40 else "sha256"
        return "sha256" if _SHA256.search(self._config()) else "sha1"

    def has_reftable(self) -> bool:
        """Whether refs are kept in a form that is not read here."""
        return _REFTABLE.search(self._config()) is not None

    def _config(self) -> bytes:
        return read_ordinary(self.common_dir / "config", MAX_LIST_BYTES) or b""

    def _ref(self, name: str) -> bytes | None:
        is_own = name == "HEAD" or name.startswith(_OF_WORK_TREE)
        folder = self.git_dir if is_own else self.common_dir
        path = folder / name
        real = _resolve(path)
        if real is not None and real.is_relative_to(folder):
            found = read_ordinary(path, MAX_POINTER_BYTES)
            if found is not None:
                return found
        packed = read_ordinary(self.common_dir / "packed-refs", MAX_LIST_BYTES) or b""
        line = rb"^([0-9a-f]+) " + re.escape(os.fsencode(name)) + rb"$"
        entry = re.search(line, packed, re.MULTILINE)
        return entry[1] if entry else None


def find_place(root: Path) -> GitPlace | None:
    """The repository that `root` is (bare), or that it belongs to; None where there is none."""
    root = root.resolve()
    if is_git_dir(root):
        return GitPlace(root, root)
    for top in (root, *root.parents):
        found = _find_at(top)
        if found is not None:
            inside = root.relative_to(top).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            return GitPlace(found.git_dir, found.common_dir, top, prefix)
        if is_ordinary(top / ".git"):
            return None  # a pointer that its target does not confirm
    return None


def is_git_dir(path: Path) -> bool:
    """Whether `path` is a bare repository, or the .git folder of one that is not."""
    return is_ordinary(path / "HEAD") and is_folder(path / "objects") and is_folder(path / "refs")


def is_ordinary(path: Path) -> bool:
    """Whether there is a file at `path` that is not a link, pipe or device."""
    return S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path` that is not a link."""
    return S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):
        return 0


def read_ordinary(path: Path, limit: int) -> bytes | None:
    """The bytes of an ordinary file; None where there is none, or where it is larger."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(limit + 1)
    except (OSError, ValueError):  # ValueError: a NUL in a name that the repository states
        return None
    return data if len(data) <= limit else None


def _find_at(top: Path) -> GitPlace | None:
    """The repository whose work tree's top is `top`."""
    found = _find_own(top)
    if found is None and (git_dir := _read_target(top / ".git", b"gitdir: ")):
        return _find_submodule(top, git_dir)
    return found


def _find_own(top: Path) -> GitPlace | None:
    """The repository of a work tree that is not a submodule."""
    dot_git = top / ".git"
    if is_folder(dot_git):
        return GitPlace(dot_git, dot_git) if is_git_dir(dot_git) else None
    git_dir = _read_target(dot_git, b"gitdir: ")
    return _find_linked(dot_git, git_dir) if git_dir else None


def _find_linked(dot_git: Path, git_dir: Path) -> GitPlace | None:
    """The repository of a linked work tree, if it names this work tree."""
    common = git_dir.parent.parent
    if git_dir.parent.name != "worktrees" or not is_git_dir(common):
        return None
    knows = (
        _read_target(git_dir / "gitdir") == dot_git
        and _read_target(git_dir / "commondir") == common
    )
    return GitPlace(git_dir, common) if knows else None


def _find_submodule(top: Path, git_dir: Path) -> GitPlace | None:
    """The repository of a submodule, if it lies in one around it."""
    if not is_git_dir(git_dir):
        return None
    for around in filter(None, map(_find_own, top.parents)):
        homes = (around.git_dir / "modules", around.common_dir / "modules")
        if any(map(git_dir.is_relative_to, homes)):
            return GitPlace(git_dir, git_dir)
    return None


def _read_target(path: Path, before: bytes = b"") -> Path | None:
    """The path that a file names after `before`, relative to the file's folder."""
    line = read_ordinary(path, MAX_POINTER_BYTES)
    if line is None or not line.startswith(before):
        return None
    return _resolve(path.parent / os.fsdecode(line[len(before) :].rstrip(b"\r\n")))


def _resolve(path: Path) -> Path | None:
    """The path without links; None where it is none: a NUL, too long, a loop of links."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return None
