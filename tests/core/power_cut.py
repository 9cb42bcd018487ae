"""A disk that loses power: stops a piece of work at any of its system calls, and then leaves what a
disk may leave.

Input: a folder and work that writes below it, in this process. Output: the folder as it may look
after the cut. Every call that changes names or syncs is a place to stop, before it and after it.

What a disk may leave (as SQLite's authors assume it):
    a file that was written anew and not synced is empty, one that grew has what it had at its sync;
    of a folder, the changes of names since its last sync have happened up to any of them.

Not here: what the work is (test_power_cut.py).
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

Node = tuple[int, int]
"""A file or folder: its inode, and how often this inode was given out before."""
KINDS = ("killed", "emptied", "lost", "mixed")
CALLS = ("replace", "rename", "unlink", "rmdir", "mkdir", "link", "fsync", "truncate")


class PowerCutError(BaseException):
    """The machine is off: nothing after this happens."""


@dataclass
class Disk:
    """What is known of everything below a folder."""

    root: Path
    stop_at: int
    """The number of the call before or after which the power goes."""
    n_calls: int = 0
    is_off: bool = False
    names: dict[Node, list[dict[str, Node]]] = field(default_factory=dict)
    """Of a folder: its entries at its last sync, and after every change since."""
    synced: dict[Node, bytes] = field(default_factory=dict)
    """Of a file: its content at its last sync."""
    found: dict[Node, bytes] = field(default_factory=dict)
    """Of a file: its content when the power went."""
    _ages: dict[int, int] = field(default_factory=dict)
    _alive: set[int] = field(default_factory=set)

    @property
    def top(self) -> Node:
        """The folder itself."""
        return self._node(self.root.stat().st_ino)

    def look(self) -> None:
        """Note every folder's entries as they are now."""
        alive: set[int] = set()
        folders: list[tuple[Node, dict[str, Node]]] = []
        for place, _, _ in os.walk(self.root):
            entries = {e.name: e.inode() for e in os.scandir(place)}
            alive |= {Path(place).stat().st_ino, *entries.values()}
            nodes = {name: self._node(inode) for name, inode in entries.items()}
            folders.append((self._node(Path(place).stat().st_ino), nodes))
        # An inode that is gone may come again as another file.
        for gone in self._alive - alive:
            self._ages[gone] = self._ages.get(gone, 0) + 1
        self._alive = alive
        for node, nodes in folders:
            versions = self.names.setdefault(node, [{}])
            if versions[-1] != nodes:
                versions.append(nodes)

    def sync(self, descriptor: int) -> None:
        """What is behind a descriptor is on the disk now."""
        inode = os.fstat(descriptor).st_ino
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.look()
            self.names[self._node(inode)] = self.names.get(self._node(inode), [{}])[-1:]
        else:
            self.synced[self._node(inode)] = path.read_bytes()

    def call(self, what: Callable[[], object], descriptor: int | None) -> object:
        """Do one call, unless the power goes before it or after it."""
        if self.is_off:
            raise PowerCutError
        self.look()
        self._maybe_cut()
        result = what()
        self.look()
        if descriptor is not None:
            self.sync(descriptor)
        self._maybe_cut()
        return result

    def _maybe_cut(self) -> None:
        self.n_calls += 1
        if self.n_calls == self.stop_at:
            self.is_off = True
            for place, _, files in os.walk(self.root):
                for path in (Path(place) / name for name in files):
                    self.found[self._node(path.stat().st_ino)] = path.read_bytes()
            raise PowerCutError

    def _node(self, inode: int) -> Node:
        return inode, self._ages.get(inode, 0)

    def leave(self, kind: str, rng: random.Random) -> None:
        """Make the folder what the disk may hold: "killed" keeps all, "lost" only what is synced,
        "emptied" all names but only synced contents, "mixed" draws for every folder and file."""
        top = self.top
        shutil.rmtree(self.root)
        self._restore(top, self.root, kind, rng)

    def _restore(self, node: Node, path: Path, kind: str, rng: random.Random) -> None:
        path.mkdir()
        versions = self.names.get(node, [{}])
        for name, entry in self._chosen(versions, kind, rng).items():
            if entry in self.names:
                self._restore(entry, path / name, kind, rng)
            else:
                (path / name).write_bytes(self._content(entry, kind, rng))

    def _chosen(
        self, versions: list[dict[str, Node]], kind: str, rng: random.Random
    ) -> dict[str, Node]:
        if kind == "mixed":
            return rng.choice(versions)
        return versions[0] if kind == "lost" else versions[-1]

    def _content(self, entry: Node, kind: str, rng: random.Random) -> bytes:
        found = self.found.get(entry)
        if found is not None and (kind == "killed" or (kind == "mixed" and rng.random() < 0.5)):
            return found
        synced = self.synced.get(entry, b"")
        return synced if found is None or found.startswith(synced) else b""


@contextmanager
def watched(disk: Disk) -> Iterator[None]:
    """Within the block the calls of this process go through the disk."""
    calls: dict[str, Any] = {name: _through(disk, name) for name in CALLS}
    with mock.patch.multiple(os, **calls):
        disk.look()
        # What was there before is on the disk.
        for node, versions in disk.names.items():
            disk.names[node] = versions[-1:]
        for place, _, files in os.walk(disk.root):
            for path in (Path(place) / name for name in files):
                disk.synced[disk._node(path.stat().st_ino)] = path.read_bytes()
        yield


def _through(disk: Disk, name: str) -> Callable[..., object]:
    # The disk is only ours: a real sync would take its time and change nothing.
    real = os.fstat if name == "fsync" else getattr(os, name)

    def call(*args: object, **options: Any) -> object:
        descriptor = args[0] if name == "fsync" else None
        return disk.call(lambda: real(*args, **options), descriptor)  # type: ignore[arg-type]

    return call


def cut_everywhere(
    root: Path, work: Callable[[], object], check: Callable[[], object], *, every_kind: bool
) -> int:
    """Cut the power at the calls of `work`, leave a disk, and `check`; returns how many cuts that
    were. `root` begins as it is now each time. At every call each kind of disk, or at every third
    one of them in turn."""
    before = root.with_name(root.name + "-before")
    shutil.copytree(root, before)
    rng = random.Random(0)
    stop_at = n_cuts = 0
    while True:
        stop_at += 1 if every_kind else 3
        for kind in KINDS if every_kind else (KINDS[stop_at % 4],):
            shutil.rmtree(root)
            shutil.copytree(before, root)
            disk = Disk(root, stop_at)
            try:
                with watched(disk):
                    work()
                return n_cuts
            except PowerCutError:
                n_cuts += 1
            disk.leave(kind, rng)
            with mock.patch.object(os, "fsync"):
                check()
