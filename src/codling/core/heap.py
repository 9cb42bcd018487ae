"""Memory that this process has freed, given back to the system.

glibc keeps what is freed in small pieces for the next allocation; after loading, which makes and
drops millions of them, that is tens of megabytes for the rest of a server's life. Elsewhere nothing
happens. Not here: the memory of models and caches, which lies in maps of its own.
"""

import ctypes
import sys


def trim_heap() -> None:
    """Give freed memory back, where the C library can."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
