"""The errors a user can cause, and how they are shown.

    CodlingError                 a user's mistake: one line, exit code 2
    ├── ConfigError              a setting is unknown, has the wrong type, or contradicts another
    ├── SourceError              an input path, repository or archive is missing, empty or unsafe
    ├── ArtifactError            a folder is not the artefact it should be, or is damaged
    ├── StorageError             the disk is full, read-only, or not ours to write; no memory left
    ├── CheckpointError          weights are absent, do not fit, or come in a refused format
    ├── TokenizerError           a tokenizer lacks tokens of the task; a prompt holds a look-alike
    ├── RequestError             a completion request cannot be served (the server answers 400)
    └── ToolMissingError         a program or optional package of the task is not installed

A message says what is wrong, where, and the cure. `assert` is for our own mistakes, never for a
user's.
Not here: the printing (cli.py) and the HTTP shapes (serve/).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_SHOWN = 200
"""Characters of a path in a message."""


class CodlingError(Exception):
    """Base of all errors that a user can cause and cure."""


class ConfigError(CodlingError):
    """A setting is unknown, has the wrong type, or contradicts another."""


class SourceError(CodlingError):
    """An input path, repository or archive is missing, empty or unsafe."""


class ArtifactError(CodlingError):
    """A folder is not the artefact that it should be, or is damaged."""


class StorageError(CodlingError):
    """The disk is full, read-only, or not ours to write, or the memory does not suffice."""


class CheckpointError(CodlingError):
    """Weights are absent, do not fit, or come in a refused format."""


class TokenizerError(CodlingError):
    """A tokenizer lacks tokens that the task needs, or a prompt holds a look-alike of one."""


class RequestError(CodlingError):
    """A completion request cannot be served as it is."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """`param` names the offending field of the request, as OpenAI's error shape wants it."""
        super().__init__(message)
        self.param = param


class ToolMissingError(CodlingError):
    """A program or optional package that the task needs is not installed."""


@contextmanager
def name_faults(path: Path, kind: type[CodlingError]) -> Iterator[None]:
    """The last catch around the reading of a foreign file: no damage ends in a traceback.

    What the readers refuse passes through, behind `path` if they did not name it. Whatever else
    fails inside (a library's own error, memory that cannot be allocated) becomes a `kind` that
    names `path`; `--debug` shows its cause.
    """
    try:
        yield
    except CodlingError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # BaseException: a panic of a library in Rust is not an Exception.
        reason = " ".join(str(error).split())[:160]
        raise kind(
            f"cannot read {path}: {type(error).__name__}{': ' if reason else ''}{reason}; it is "
            "damaged or of an unknown kind; fetch it again"
        ) from error


def from_memory_error(error: BaseException) -> CodlingError | None:
    """The one-line form of memory that could not be had, from Python, numpy or torch, or None.

    >>> str(from_memory_error(RuntimeError("can't allocate memory: you tried to allocate 9 bytes")))
    'the memory does not suffice; a smaller batch, a shorter context or a smaller model takes less'
    """
    texts = ("can't allocate memory", "not enough memory", "out of memory")
    is_one = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error).lower() for text in texts)
    )
    if not is_one:
        return None
    return StorageError(
        "the memory does not suffice; a smaller batch, a shorter context or a smaller model takes "
        "less"
    )


ROOM_FOR_LARGE = (
    "raise the limit (ulimit -f), or choose a disk that takes larger files, and run the command "
    "again: it resumes"
)
"""The cure where a system's or a disk's limit on one file was met."""


def from_os_error(error: OSError) -> CodlingError | None:
    """The one-line form of an operating-system error that a user can cure, or None.

    >>> str(from_os_error(OSError(errno.ENOSPC, "No space left on device", "/x/y")))
    'the disk is full: /x/y; free some space and run the command again: it resumes'
    """
    name = str(error.filename or "")
    name = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}..."
    where = f": {name}" if name else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError(
                f"the disk is full{where}; free some space and run the command again: it resumes"
            )
        case errno.EFBIG:
            return StorageError(f"a file may not grow so large{where}; {ROOM_FOR_LARGE}")
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return StorageError(f"no permission{where}; choose another folder or change its rights")
        case errno.ENOENT:
            return SourceError(f"no such file or folder{where}")
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST | errno.ENAMETOOLONG | errno.ELOOP:
            return SourceError(f"{error.strerror or 'not usable'}{where}")
        case errno.EADDRINUSE:
            return StorageError("that address is in use; choose another --port")
        case _:
            return None
