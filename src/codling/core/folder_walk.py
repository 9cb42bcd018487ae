"""The files below a folder that somebody else made, however deep it is.

The standard library's `rglob` and `os.walk` call themselves for every level (Python 3.11), so that
a folder a thousand levels deep exceeds the recursion limit. Links to folders are not followed: they
may form a loop.

Not here: what is read of the files, and repositories (core/git.py).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(folder: Path, enters: Callable[[str], bool] = lambda _name: True) -> list[Path]:
    """All regular files below `folder`, in order of their paths; links to files count.

    Folders whose name `enters` refuses, or that may not be read, are passed over.
    """
    return sorted(_files(folder, enters))


def _files(folder: Path, enters: Callable[[str], bool]) -> Iterator[Path]:
    waiting = [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue  # not ours to read, gone meanwhile, or its path longer than the system takes
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if enters(entry.name):
                    waiting.append(entry.path)
            elif _is_file(entry):
                yield Path(entry.path)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False  # a link to itself, or to what may not be read
