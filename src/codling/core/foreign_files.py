"""Opening files whose paths come from outside: from the user, a repository or a checkpoint.

Input: a path. Output: the file open for reading, or its text. What is no regular file (a pipe, a
device, a folder) is refused in one line and never waited for; a link counts as what it leads to.

    open_regular(path)   the file, in bytes
    read_text(path)      its text, with a bound

Not here: JSON (foreign_json.py), and files of a repository, where links are not followed
(corpus/sources/folders.py).
"""

import errno
import os
import stat
from pathlib import Path
from typing import IO

from codling.core.errors import CodlingError, SourceError

MAX_TEXT_BYTES = 256_000_000
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(
    path: Path, error: type[CodlingError] = SourceError, *, what: str = ""
) -> IO[bytes]:
    """The file open for reading; `error` if it is absent, not readable, or no regular file.

    `what` says before the path which file of the user's it is: `the key file`.
    """
    named = f"{what} {path}" if what else f"{path}"
    try:
        # Without O_NONBLOCK the call would wait until somebody writes to the pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as wrong:
        reason = getattr(wrong, "strerror", None) or " ".join(str(wrong).split())
        if getattr(wrong, "errno", None) == errno.ENXIO:  # what opening a socket gives
            reason = "it is a socket, not a regular file"
        raise error(f"cannot read {named}: {reason}") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = next((name for test, name in _KINDS if test(mode)), "special")
        raise error(f"cannot read {named}: it is {kind}, not a regular file")
    return os.fdopen(handle, "rb")


def read_text(  # noqa: PLR0913 -- where it is from, its bounds and its form
    path: Path,
    error: type[CodlingError] = SourceError,
    *,
    max_bytes: int = MAX_TEXT_BYTES,
    encoding: str = "utf-8",
    what: str = "",
    own_line_ends: bool = False,
) -> str:
    """The text of a regular file, with line ends of one kind, as Python reads texts, or with
    `own_line_ends` as they are: inside of a table's cell they are its text.

    Raises `error` also where it is not in that encoding or has more than `max_bytes`.
    """
    with open_regular(path, error, what=what) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise error(f"{path} has more than {max_bytes:,} bytes")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise error(f"{path} is not UTF-8 text; convert it first") from None
    return text if own_line_ends else text.replace("\r\n", "\n").replace("\r", "\n")
