"""Archives as sources: .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz, .crate, .zip, .whl, .egg, .nupkg.

Input: an archive. Output: a Repository whose members are read one by one; nothing is unpacked under
the name that it gives itself. A compressed tar file is first unpacked as a whole into one unnamed
temporary file, because it cannot be read anywhere but from its beginning. An archive with a
member whose path or link target leads out of it is refused: it was made to do harm.

Not here: archives inside archives.
"""

import bz2
import errno
import gzip
import lzma
import posixpath
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISLNK
from typing import IO, Literal, cast

from codling.core.artifact import sha256_of
from codling.core.errors import SourceError
from codling.core.foreign_files import open_regular
from codling.corpus.config import MAX_DOCUMENT_BYTES
from codling.corpus.sources.repository import (
    Archive,
    Entry,
    Repository,
    apply_bounds,
    read_notice_files,
)

TAR: dict[str, Literal["", "gzip", "bz2", "lzma"]] = {
    ".tar": "",
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".crate": "gzip",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "lzma",
    ".txz": "lzma",
}
"""Endings of tar archives and the module that undoes their compression."""
ZIP = (".zip", ".whl", ".egg", ".nupkg")
ENDINGS = (*TAR, *ZIP)
MAX_GROWTH = 250
"""An archive that unpacks to more than this many times its size was made to fill the disk ..."""
SMALL_BYTES = 100_000_000
"""... unless it is still this small."""
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,  # invalid numbers or names in a header
    OverflowError,  # a size of 2^90
    struct.error,
    NotImplementedError,  # zipfile's word for a compression method that it does not know
    RecursionError,  # tarfile's, at some hundred headers in a row that only describe the next one
    OSError,  # bz2's and gzip's word for damage, without an errno
)
MAX_HEADER_BYTES = 1_000_000
"""Most bytes of the header of a tar file's member: it is read into memory."""
MAX_STATED_BYTES = 1 << 60
"""A zip file may state a larger size, which no table could hold."""
_DRIVE = re.compile(r"[A-Za-z]:")


def stem(name: str) -> str:
    """A file name without the ending of an archive.

    >>> stem("attrs-25.1.0.tar.gz"), stem("src.d")
    ('attrs-25.1.0', 'src.d')
    """
    return name[: len(name) - len(_ending(name))]


def find_archive(path: Path, name: str, dump_endings: tuple[str, ...] = ()) -> Archive:
    """An archive, or a dump, that is there and has a known ending, not opened yet."""
    is_dump = path.name.endswith(dump_endings) if dump_endings else False
    if not is_dump and not _ending(path.name):
        known = ", ".join((*ENDINGS, *dump_endings))
        raise SourceError(f"{path} is not a known kind of archive; give a folder or one of {known}")
    return Archive(name, str(path.absolute()), path.stat().st_size, sha256_of(path), is_dump)


@contextmanager
def open_archive(archive: Archive, scratch: Path) -> Iterator[Repository]:
    """The members of an archive as one repository, its only top folder taken off.

    `scratch` is a folder for the temporary file. Raises SourceError for an archive that is damaged,
    empty or unsafe.
    """
    path = Path(archive.path)
    with _name_damage(path), _open_archive(path, scratch) as reader:
        entries = list(_check_members(path, reader))
        if isinstance(reader, ZipMembers):
            # Never read in one go, so counted before: no member gives more than it states.
            _check_growth(path, sum(e.n_bytes for e in entries if e.n_bytes <= MAX_DOCUMENT_BYTES))
        if not entries:
            raise SourceError(f"{path} holds no files; give a folder, repository or archive")
        top = _top_folder(entries)
        found = tuple(
            _mark_repeated(_pass_over_git(replace(e, path=e.path[len(top) :])) for e in entries)
        )
        notices = read_notice_files(reader, found)
        yield Repository(archive.name, archive.name, reader, found, archive.fingerprint, notices)


@dataclass(frozen=True)
class _BoundedReads:
    """A tar file for tarfile, which itself reads headers only: none that is far too long.

    What a header states reaches tarfile's own methods by names that differ from one security
    release of Python to the next; its reads of the file do not.
    """

    file: IO[bytes]

    def read(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {n_bytes:,} bytes")
        return self.file.read(n_bytes)

    def seek(self, place: int) -> int:
        return self.file.seek(place)

    def tell(self) -> int:
        return self.file.tell()


@dataclass(frozen=True)
class TarMembers:
    """Members of a tar file that is not compressed; a locator is where a member's bytes begin."""

    file: IO[bytes]

    def entries(self) -> Iterator[tuple[str, Entry, str]]:
        """(stated name, entry, stated link target) of every member that is not a folder."""
        with tarfile.open(fileobj=cast(IO[bytes], _BoundedReads(self.file)), mode="r:") as tar:
            for member in tar:
                if member.size < 0:
                    raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                name, locator = member.name, str(member.offset_data)
                if member.issym():
                    target = posixpath.join(posixpath.dirname(name), member.linkname)
                    yield name, Entry(name, 0, locator, "link", "not followed"), target
                elif member.islnk():
                    yield name, Entry(name, 0, locator, "link", "not followed"), member.linkname
                elif member.issparse():
                    yield name, Entry(name, 0, locator, "unreadable", "sparse"), ""
                elif member.isfile():
                    yield name, Entry(name, member.size, locator), ""
                elif not member.isdir():
                    yield name, Entry(name, 0, locator, "not-a-file"), ""
                tar.members = []  # type: ignore[attr-defined]  # else it keeps every header

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The contents, in order."""
        for entry in entries:
            self.file.seek(int(entry.locator))
            yield entry, self.file.read(entry.n_bytes)


@dataclass(frozen=True)
class ZipMembers:
    """Members of a zip file; a locator is the number of a member."""

    file: zipfile.ZipFile

    def entries(self) -> Iterator[tuple[str, Entry, str]]:
        """(stated name, entry, "") of every member that is not a folder."""
        for number, member in enumerate(self.file.infolist()):
            name = member.filename
            if S_ISLNK(member.external_attr >> 16):
                yield name, Entry(name, 0, str(number), "link", "not followed"), ""
            elif not member.is_dir():
                size = min(member.file_size, MAX_STATED_BYTES)
                yield name, Entry(name, size, str(number)), ""

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The contents, in order; an encrypted member has the rule "unreadable"."""
        members = self.file.infolist()
        for entry in entries:
            member = members[int(entry.locator)]
            if member.flag_bits & 1:
                yield replace(entry, rule="unreadable", value="encrypted"), b""
            else:
                with self.file.open(member) as file:
                    # No more than was promised: a member may unpack to far more than it says.
                    yield entry, file.read(entry.n_bytes + 1)[: entry.n_bytes]


@contextmanager
def _open_archive(path: Path, scratch: Path) -> Iterator[TarMembers | ZipMembers]:
    ending = _ending(path.name)
    if ending in ZIP:
        with open_regular(path) as plain, zipfile.ZipFile(plain) as zipped:
            yield ZipMembers(zipped)
        return
    if not TAR[ending]:
        with open_regular(path) as plain:
            yield TarMembers(plain)
        return
    with tempfile.TemporaryFile(dir=scratch) as whole:
        with open_regular(path) as plain, _unpack(plain, TAR[ending]) as packed:
            _copy(packed, whole, path)
        yield TarMembers(whole)


def _unpack(plain: IO[bytes], compression: str) -> IO[bytes]:
    match compression:
        case "gzip":
            return cast(IO[bytes], gzip.open(plain))
        case "bz2":
            return cast(IO[bytes], bz2.open(plain))
        case _:
            return cast(IO[bytes], lzma.open(plain))


def _copy(packed: IO[bytes], whole: IO[bytes], path: Path) -> None:
    """Unpack into a temporary file, but not endlessly."""
    n_bytes = 0
    while block := packed.read(1 << 20):
        n_bytes += len(block)
        _check_growth(path, n_bytes)
        whole.write(block)
    whole.seek(0)


def _check_growth(path: Path, n_bytes: int) -> None:
    """Refuse an archive whose contents are far more than its own size."""
    if n_bytes > max(SMALL_BYTES, MAX_GROWTH * path.stat().st_size):
        raise SourceError(f"{path} unpacks to more than {MAX_GROWTH} times its size; not read")


def _check_members(path: Path, members: TarMembers | ZipMembers) -> Iterator[Entry]:
    """The entries with normal paths; SourceError if one leads out of the archive."""
    is_zip = isinstance(members, ZipMembers)
    for stated, entry, target in members.entries():
        name = stated.replace("\\", "/") if is_zip else stated
        if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
            raise SourceError(f"{path} holds a member that leads out of it: {stated!r}; not read")
        landing = posixpath.normpath(target)
        if landing.startswith("/") or landing.split("/")[0] == "..":
            raise SourceError(f"{path} holds a link that leads out of it: {stated!r}; not read")
        normal = posixpath.normpath(name).encode("utf-8", "surrogateescape")
        yield apply_bounds(replace(entry, path=normal.decode("utf-8", "backslashreplace")))


def _ending(name: str) -> str:
    return next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.endswith(e)), "")


def _top_folder(entries: Sequence[Entry]) -> str:
    """`top/` if every member lies in one folder `top`, else nothing."""
    tops = {entry.path.partition("/")[0] if "/" in entry.path else "" for entry in entries}
    (top,) = tops if len(tops) == 1 else ("",)
    return f"{top}/" if top else ""


def _pass_over_git(entry: Entry) -> Entry:
    """The entry, passed over if it is part of git's own folder: hooks are not code of the
    source."""
    is_git = ".git" in entry.path.split("/")[:-1]
    return replace(entry, rule="passed-over") if is_git and not entry.rule else entry


def _mark_repeated(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Entries with a path that came before marked as such: archives may repeat a member."""
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            yield replace(entry, rule="repeated-member", path=f"{entry.path}#{entry.locator}")
        else:
            seen.add(entry.path)
            yield entry


@contextmanager
def _name_damage(path: Path) -> Iterator[None]:
    """Errors of the archive libraries as one line for the user."""
    try:
        yield
    except DAMAGE as error:
        # EINVAL: the archive sends its reader to a place before its beginning.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's fault, not the archive's
        reason = " ".join(str(error).split()) or "it ends too early"
        raise SourceError(f"{path} is damaged or no archive: {reason}") from None
