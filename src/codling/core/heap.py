"""The many small objects that loading makes: not searched for garbage, and given back when freed.

glibc keeps what is freed in small pieces for the next allocation; after loading, which makes and
drops millions of them, that is tens of megabytes for the rest of a server's life. Elsewhere nothing
happens. While modules and vocabularies are made, which nearly all stay, Python searches them for
unused cycles again and again: a seventh of the time that it takes to import torch and numba.

Not here: the memory of models and caches, which lies in maps of its own.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keep_loaded() -> Iterator[None]:
    """What is made in this block stays: it is not searched for unused cycles, now or later (a few
    megabytes are kept by that), and what it freed goes back at the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
    trim_heap()


def trim_heap() -> None:
    """Give freed memory back, where the C library can."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
