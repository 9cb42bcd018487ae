"""Preparing a process for training: threads, memory allocator, compiler.

Input: settings. Output: effects on this process only, when the training stage asks for them.

Not here: the device (model/device.py), and more than one process (parallel/ranks.py).
"""

import ctypes
import os
import shutil
import sys

import torch

from codling.core.threads import available_cores

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 << 20


def set_threads(n_threads: int) -> int:
    """Let torch use `n_threads` CPU threads (0: one per core that we may use)."""
    n_threads = n_threads or available_cores()
    torch.set_num_threads(n_threads)
    return n_threads


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of giving it back to the system.

    Every training step frees and takes the same large blocks; by default each one is a fresh mmap
    whose pages the kernel zeroes again. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work: on CPU it needs a C++ compiler."""
    if device.type != "cpu":
        return True
    named = os.environ.get("CXX")
    return any(shutil.which(c) for c in ([named] if named else ["g++", "clang++", "c++"]))
