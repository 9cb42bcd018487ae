"""How much memory this process may still take.

Input: the kernel's counts. Output: bytes, or None where they are not available.

Not here: what a job needs (each stage says), and memory of a GPU.
"""

import os
from pathlib import Path

_PROC, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def available_bytes(meminfo: Path = _PROC, cgroup: Path = _CGROUP) -> int | None:
    """What the machine has left, or the container if that is less (cgroup version 2)."""
    try:
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        left = int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    limit, used = (_number(cgroup / name) for name in ("memory.max", "memory.current"))
    if limit is None or used is None:
        return left
    # File pages count as used but can be given back.
    return min(left, limit - used + _file_pages(cgroup / "memory.stat"))


def total_bytes(meminfo: Path = _PROC, cgroup: Path = _CGROUP) -> int | None:
    """What the machine has in all, with its swap, or the container's limit if that is less."""
    try:
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        total = sum(int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))
    except (OSError, KeyError, ValueError):
        return None
    limit = _number(cgroup / "memory.max")
    return total if limit is None else min(total, limit)


def available_share() -> int | None:
    """`available_bytes`, shared evenly by the processes that torchrun started on this machine."""
    left = available_bytes()
    return None if left is None else left // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None


def _file_pages(path: Path) -> int:
    try:
        rows = dict(line.split() for line in path.read_text().splitlines())
        return int(rows["inactive_file"])
    except (OSError, KeyError, ValueError):
        return 0
