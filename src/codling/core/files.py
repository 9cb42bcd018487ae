"""Writing files so that they are whole or absent, after `kill -9`, a full disk or a power cut.

Input: a path and what belongs there. Output: the file, on disk when the call returns.

    replace_file(path)      write beside `path`; synced and renamed there at the end of the block
    write_text, write_json  the same for a text, for a JSON value
    write_json_lines        the same for the rows of a .jsonl
    append_json(path, row)  append a line to a .jsonl; read_json_lines leaves out a half last line
    sync_tree(folder)       sync every file and folder below, whoever wrote it

A power cut may empty a file that was not synced, and may undo a rename whose folder was not synced.
So a file is synced before it is renamed and its folder after it, and what marks finished work
(a record, a manifest) is written last (https://www.sqlite.org/atomiccommit.html, sections 2 and 3).

Not here: which files belong together (artifact.py, shards.py).
"""

import errno
import fcntl
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXT = re.compile(
    r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written"
)
"""The messages of libraries that drop the error number: safetensors, tokenizers; numpy's short
write."""
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""Some network file systems cannot sync a folder; their renames are durable by themselves."""


def cache_dir() -> Path:
    """Where codling keeps what can be made again: $CODLING_CACHE, or ~/.cache/codling."""
    return Path(os.environ.get("CODLING_CACHE", "~/.cache/codling")).expanduser()


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; `path` is replaced when the block ends.

    After an error `path` is what it was. A full disk is an OSError with its number, whatever the
    library that wrote the file makes of it. The mode is that of any new file of the user's.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(b"")
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes files that only their owner can read
        sync_file(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if is_disk_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    sync_folder(path.parent)


def name_folder(path: Path, target: Path) -> None:
    """Give a folder that is whole its name beside the old one; its files are on disk."""
    sync_folder(path)
    path.rename(target)
    sync_folder(target.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, complete or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def append_json(path: Path, row: object) -> None:
    """Append one line of JSON, by one write; not synced."""
    line = json.dumps(row, ensure_ascii=False) + "\n"
    with path.open("ab") as file:
        file.write(line.encode())


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl; a last line cut by a crash is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def write_json_lines(path: Path, rows: Iterable[object]) -> None:
    """Write a .jsonl, complete or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def drop_half_line(path: Path) -> None:
    """Cut off a last line without its end, so that the next one can be appended."""
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # On macOS fsync stops at the drive's cache; this goes through it.
        through_cache = getattr(fcntl, "F_FULLFSYNC", None)
        if through_cache is not None:
            fcntl.fcntl(descriptor, through_cache)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk: what was made, renamed or deleted in it."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def make_folder(path: Path) -> None:
    """Make a folder and its parents, so that their names stay after a power cut."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_tree(folder: Path, skip: Collection[str] = ()) -> None:
    """Bring every file below `folder`, and every folder with its names, to the disk.

    Not what lies in entries of `folder` that `skip` names.
    """
    found = (p for p in folder.rglob("*") if p.relative_to(folder).parts[0] not in skip)
    below = sorted(p for p in found if not p.is_symlink())
    for path in below:
        if path.is_file():
            sync_file(path)
    for path in reversed([folder, *(p for p in below if p.is_dir())]):
        sync_folder(path)


def stays_below(name: str) -> bool:
    """Whether a name that somebody gave leads to nothing outside of the folder that it is for.

    >>> stays_below("a/b.py"), stays_below("../b.py"), stays_below("/b.py")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def escape_bytes(path: str) -> str:
    """A path that can be written down: bytes of a name that are not UTF-8 become escapes."""
    if path.isascii():
        return path
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, of whichever library, says that the disk or the user's share is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return isinstance(error, Exception) and _FULL_TEXT.search(str(error)) is not None


def is_file_too_large(error: BaseException) -> bool:
    """Whether an error, of whichever library, says that a file may not grow so large."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.EFBIG
    return isinstance(error, Exception) and "File too large" in str(error)
