"""What a source is opened as: repositories, their files unread, and a reader to read them.

Input and output: nothing; these are the values that open.py makes and collect.py takes.

Not here: how each kind of source is listed and read (folders.py, git.py, archives.py).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from codling.corpus.licenses.notices import NOTICE_BYTES, is_notice

MAX_PATH_BYTES = 4096
"""A longer path is not a path of a file system (PATH_MAX of Linux): it was made to cost time."""
MAX_SECOND = 253_402_300_799
"""The last second of the year 9999: a later time is invalid."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a repository, not read yet."""

    path: str
    """POSIX path relative to the repository's root."""
    n_bytes: int
    locator: str
    """Where the reader finds it: a path, an object id, the number of an archive's member."""
    rule: str = ""
    """Why it is not to be read at all: "link", "unreadable"."""
    value: str = ""
    changed_at: int | None = None
    """Unix seconds of the commit that changed it last, where history is known."""

    def __reduce__(self) -> tuple[type["Entry"], tuple[str | int | None, ...]]:
        """A third of the time that pickling takes by default: there are many, sent to workers."""
        fields = self.path, self.n_bytes, self.locator, self.rule, self.value, self.changed_at
        return Entry, fields


class Reader(Protocol):
    """Reads files of one repository."""

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The contents of `entries`, in their order.

        A file that cannot be read comes back with a rule, and with no bytes.
        """
        ...


@dataclass(frozen=True)
class Repository:
    """A repository, package or folder inside a source."""

    source: str
    name: str
    reader: Reader
    entries: tuple[Entry, ...]
    fingerprint: str
    """Changes when the contents do."""
    notices: Mapping[str, bytes] = field(default_factory=dict)
    """Licence and package metadata files by path."""
    declared: str = ""
    """SPDX identifier that holds for every file without a notice of its own."""
    history: str = ""
    """The git repository, or the folder in one, whose commits date the files; "" for none."""
    commit: str = ""
    """The commit whose files these are, where they are not those of the work tree."""


@dataclass(frozen=True)
class Archive:
    """An archive or a dump that is not opened yet: workers do that, each at once."""

    name: str
    path: str
    n_bytes: int
    fingerprint: str
    is_dump: bool = False
    """Whether it is a table of files, one per row, and no archive."""


def read_notice_files(reader: Reader, entries: Iterable[Entry]) -> dict[str, bytes]:
    """The licence and package metadata files among some entries, by path."""
    wanted = [e for e in entries if not e.rule and e.n_bytes <= NOTICE_BYTES and is_notice(e.path)]
    return {entry.path: data for entry, data in reader.read(wanted)}


def fingerprint(entries: Sequence[Entry], *parts: str) -> str:
    """A hash of paths, sizes, locators and whatever else tells two states apart."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape"))
    for entry in entries:
        digest.update(f"\0{entry.path}\0{entry.n_bytes}\0{entry.rule}".encode())
    return digest.hexdigest()[:32]


def apply_bounds(entry: Entry) -> Entry:
    """The entry, or one that is not read and has a short path if its own is far too long."""
    n_bytes = len(entry.path.encode())
    if n_bytes <= MAX_PATH_BYTES:
        return entry
    path = f"{entry.path[:100]}...{hashlib.sha256(entry.path.encode()).hexdigest()[:16]}"
    value = f"a path of {n_bytes:,} bytes"
    return replace(entry, path=path, n_bytes=0, rule="unreadable", value=value)


def read_second(stated: str) -> int:
    """The second that git prints for a commit; -1, which is no file's time, where it has none."""
    return int(stated) if re.fullmatch(r"\d{1,18}", stated, re.ASCII) else -1


def parse_second(stated: float) -> int | None:
    """Unix seconds that can be a time of a file (from 1970 to 9999); None for any other number."""
    return int(stated) if 0 <= stated <= MAX_SECOND else None
