"""A control group for one box: bounds the processes and the memory of all that runs in it.

Input: limits. Output: a group that processes can be put into, or a reason why there is none. Both
layouts: v1 (a folder per controller) and v2 (one tree, where the controllers must be delegated to
us).

Not here: limits of single processes (inside/cell.py).
"""

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from codling.sandbox.limits import MIB, Limits

ROOT = Path("/sys/fs/cgroup")
_STALE_SECONDS = 60.0
_WAITS = [0.0005] * 20 + [0.01] * 50
"""Seconds between the attempts to delete a group."""
_OWN_MEMORY = 256 * MIB
"""What the fork server itself, with its preloaded modules, may take on top of a job's memory."""


@dataclass(frozen=True)
class ControlGroup:
    """Folders of a control group that was made for one box."""

    folders: tuple[Path, ...]

    def put(self, pids: Iterable[int]) -> None:
        """Move processes into the group, with all that they will start."""
        for pid in pids:
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(str(pid))

    def bound_memory(self, n_bytes: int) -> None:
        """Let its processes take so much together, beside what the fork server needs."""
        for name in ("memory.limit_in_bytes", "memory.max"):
            path = self.folders[-1] / name
            if path.exists():
                path.write_text(str(n_bytes + _OWN_MEMORY))

    def remove(self) -> None:
        """Delete the group, once the kernel has collected its last process."""
        for folder in self.folders:
            for wait in _WAITS:
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(wait)

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for lack of memory."""
        for name in ("memory.oom_control", "memory.events"):
            path = f"{self.folders[-1]}/{name}"
            try:
                with open(path, "rb") as file:  # noqa: PTH123 - read after every job: no detours
                    _, _, count = file.read().partition(b"oom_kill ")
            except OSError:
                continue
            return int(count.split()[0]) if count else 0
        return 0


def create(limits: Limits, root: Path = ROOT) -> ControlGroup | str:
    """A new group with these limits, or the reason why none can be made here."""
    name = f"codling-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    _sweep(root)
    try:
        if (root / "cgroup.controllers").exists():
            return _create_v2(root, name, limits)
        return _create_v1(root, name, limits)
    except OSError as error:
        # Without the group's own name: reports quote this, and equal runs give equal reports.
        where = str(error.filename).partition(f"/{name}")[0]
        return f"control groups cannot be written ({error.strerror}: {where})"


@cache
def _sweep(root: Path) -> None:
    """Delete the empty groups of processes that were killed before they could."""
    for parent in (root, root / "pids", root / "memory"):
        for folder in parent.glob("codling-*-*"):
            pid = folder.name.split("-")[1]
            with suppress(OSError):
                old = time.time() - folder.stat().st_mtime > _STALE_SECONDS
                if old and not Path("/proc", pid).exists():
                    folder.rmdir()


def _create_v1(root: Path, name: str, limits: Limits) -> ControlGroup | str:
    if not (root / "pids").is_dir() or not (root / "memory").is_dir():
        return "no pids and memory controllers under " + str(root)
    pids, memory = root / "pids" / name, root / "memory" / name
    pids.mkdir()
    (pids / "pids.max").write_text(str(limits.processes + 8))
    memory.mkdir()
    group = ControlGroup((pids, memory))
    group.bound_memory(limits.memory_bytes)
    return group


def _create_v2(root: Path, name: str, limits: Limits) -> ControlGroup | str:
    own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2].lstrip("/")
    for parent in (root / own, root):
        enabled = parent / "cgroup.subtree_control"
        if {"pids", "memory"} <= set(enabled.read_text().split()):
            folder = parent / name
            folder.mkdir()
            (folder / "pids.max").write_text(str(limits.processes + 8))
            (folder / "memory.oom.group").write_text("0")
            group = ControlGroup((folder,))
            group.bound_memory(limits.memory_bytes)
            return group
    return f"the pids and memory controllers are not delegated to {root / own}"
