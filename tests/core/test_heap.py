"""Freed memory."""

import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest

from codling.core.heap import keep_loaded, trim_heap


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what is freed")
def test_what_was_freed_in_small_pieces_goes_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("another C library")
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pieces = [library.malloc(60_000) for _ in range(1_000)]
    for piece in pieces:
        ctypes.memset(piece, 1, 60_000)
    keep = library.malloc(60_000)  # the last piece holds the heap's end where it is
    for piece in pieces:
        library.free(piece)
    before = resident_bytes()
    trim_heap()
    library.free(keep)
    assert before - resident_bytes() > 30_000_000  # of 60 MB


def test_what_is_loaded_to_stay_is_not_searched_for_garbage() -> None:
    before = gc.get_freeze_count()
    with keep_loaded():
        assert not gc.isenabled()
        loaded = [[n] for n in range(1_000)]
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() - before >= len(loaded)
    finally:
        gc.unfreeze()


def test_a_fault_while_loading_leaves_the_search_on() -> None:
    with pytest.raises(OSError, match="no such file"), keep_loaded():
        raise OSError("no such file")
    assert gc.isenabled()
