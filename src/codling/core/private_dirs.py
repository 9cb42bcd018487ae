"""Temporary folders that go whatever ends the process: also `kill`, `kill -9` and a power cut.

Input: the beginning of a name. Output: an empty folder for this process, gone when the block ends
or SIGTERM ends the process. After `kill -9` the next process tidies up: a folder is locked as long
as its process lives, and one of ours that nobody holds is removed when another is made.

Not here: what lies in them (git.py), and folders of unfinished work, which is kept (artifact.py).
"""

import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NEW_SECONDS = 60
"""A younger folder may not be locked yet."""
_held: dict[str, int] = {}
"""The folders that are open, and the processes that hold them."""


@contextmanager
def private_dir(prefix: str) -> Iterator[Path]:
    """A folder of its own in the system's place for temporary files, for this user alone."""
    _remove_abandoned(Path(tempfile.gettempdir()), prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as made:
        lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _held[made] = os.getpid()
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            with _removed_at_sigterm():
                yield Path(made)
        finally:
            del _held[made]
            os.close(lock)


def remove_private_dirs() -> None:
    """Remove what this process holds, before an end without the ends of its blocks."""
    for path, process in list(_held.items()):
        if process == os.getpid():  # a forked process knows the folders of its parent
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _removed_at_sigterm() -> Iterator[None]:
    """SIGTERM, where nobody else handles it, ends the process as ever, but without its folders."""
    is_ours = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    )
    if is_ours:
        signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    remove_private_dirs()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the folders of killed processes: ours by name and owner, and not locked."""
    with suppress(OSError), os.scandir(parent) as scan:
        found = [each.path for each in scan if each.name.startswith(prefix)]
        for path in found:
            with suppress(OSError):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        state = os.fstat(folder)
        if state.st_uid == os.geteuid() and state.st_mtime < time.time() - _NEW_SECONDS:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)  # links inside are removed, not followed
    finally:
        os.close(folder)
