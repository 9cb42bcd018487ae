"""Repairing the cache that torch.compile shares between runs.

Input: torch's cache folder. Output: the same without compiled libraries that were cut short.

The compiler writes a library in place, so that a run that is killed meanwhile leaves a cut one, and
every later run takes it for whole: it fails to load, or is taken as a sign that the processor lacks
vector instructions. While any process is compiling, nothing is removed.

Not here: what is compiled (step.py).
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

from codling.core.folder_walk import files_below
from codling.core.log import say

_ELF = b"\x7fELF"
_HEADER_BYTES = 64
_TABLE_AT, _TABLE_ENTRIES_AT = 40, 58
"""Where the header of a 64-bit ELF file says where its section table is, and how large."""


def repair_compiler_cache() -> None:
    """Remove cut libraries of torch's cache, and say so."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    removed = remove_cut_libraries(Path(cache_dir()))
    if removed:
        say(
            f"removed {len(removed)} compiled libraries that a killed run left half written "
            f"({removed[0].parent.parent})"
        )


def remove_cut_libraries(folder: Path) -> list[Path]:
    """The libraries below `folder` that were cut short, removed; none while something compiles."""
    cut = [p for p in files_below(folder) if p.suffix == ".so" and not is_whole_library(p)]
    if not cut or _is_locked(folder / "locks"):
        return []
    for path in cut:
        path.unlink(missing_ok=True)
    return cut


def is_whole_library(path: Path) -> bool:
    """Whether a file ends where its ELF header says; True for what is not an ELF file of 64 bits,
    except for an empty one or one that begins with zeros, as a linker that is killed leaves it."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return True
    if not head.strip(b"\0"):
        return False
    if not head.startswith(_ELF) or head[4:5] != b"\2":
        return True
    if len(head) < _HEADER_BYTES:
        return False
    order = "<" if head[5:6] == b"\1" else ">"
    (start,) = struct.unpack_from(f"{order}Q", head, _TABLE_AT)
    entry_bytes, n_entries = struct.unpack_from(f"{order}HH", head, _TABLE_ENTRIES_AT)
    return bool(start > 0 and start + entry_bytes * n_entries <= size)


def _is_locked(folder: Path) -> bool:
    """Whether some process holds one of torch's locks, under which it compiles."""
    for path in files_below(folder):
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False
