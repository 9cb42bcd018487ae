"""Archives as sources: .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz, .crate, .zip, .whl, .egg, .nupkg.

Input: an archive. Output: a Repository whose members are streamed into memory one by one; nothing
is unpacked to disk. A member whose path or link target leads out of the archive makes the whole
archive refused, because it was made to do harm.

Not here: archives inside archives.
"""

import lzma
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISLNK

from codling.core.artifact import sha256_of
from codling.core.errors import SourceError
from codling.corpus.licenses import NOTICE_BYTES, is_notice
from codling.corpus.repository import Entry, Repository

TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".crate")
ZIP = (".zip", ".whl", ".egg", ".nupkg")
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # zipfile's word for a compression method that it does not know
    OSError,  # bz2's and gzip's word for damage, without an errno
)
_DRIVE = re.compile(r"[A-Za-z]:")


def stem(name: str) -> str:
    """A file name without the endings of an archive.

    >>> stem("attrs-25.1.0.tar.gz"), stem("src.d")
    ('attrs-25.1.0', 'src.d')
    """
    ending = next((e for e in sorted((*TAR, *ZIP), key=len, reverse=True) if name.endswith(e)), "")
    return name[: len(name) - len(ending)]


@dataclass(frozen=True)
class TarReader:
    """Reads members of a tar archive in one pass; a locator is the number of a member."""

    path: str
    sequential: bool = True

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The contents, in the order of the archive, which is that of `entries`."""
        wanted = {int(entry.locator): entry for entry in entries}
        with _damage(self.path), tarfile.open(self.path, "r|*", bufsize=1 << 20) as archive:
            for number, member in enumerate(archive):
                entry = wanted.pop(number, None)
                if entry is not None:
                    file = archive.extractfile(member)
                    assert file is not None
                    yield entry, file.read()
                if not wanted:
                    return
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every header


@dataclass(frozen=True)
class ZipReader:
    """Reads members of a zip archive; a locator is the number of a member."""

    path: str
    sequential: bool = False

    def read(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The contents, in order; an encrypted member has the rule "unreadable"."""
        with _damage(self.path), zipfile.ZipFile(self.path) as archive:
            members = archive.infolist()
            for entry in entries:
                member = members[int(entry.locator)]
                if member.flag_bits & 1:
                    yield replace(entry, rule="unreadable", value="encrypted"), b""
                else:
                    with archive.open(member) as file:
                        # No more than was promised: a member may unpack to far more than it says.
                        yield entry, file.read(entry.n_bytes + 1)[: entry.n_bytes]


def open_archive(path: Path, name: str) -> Repository:
    """The members of an archive as one repository, its only top folder taken off."""
    if path.name.endswith(ZIP):
        reader: TarReader | ZipReader = ZipReader(str(path.absolute()))
        entries, notices = _list_zip(path)
    elif path.name.endswith(TAR):
        reader = TarReader(str(path.absolute()))
        entries, notices = _list_tar(path)
    else:
        endings = ", ".join((*TAR, *ZIP))
        raise SourceError(f"{path} is no archive that is known; give a folder or one of {endings}")
    top = _top_folder(entries)
    found = tuple(_once(replace(e, path=e.path[len(top) :]) for e in entries))
    inner = {notice[len(top) :]: data for notice, data in notices.items()}
    return Repository(name, name, reader, found, sha256_of(path), inner)


def _list_tar(path: Path) -> tuple[list[Entry], dict[str, bytes]]:
    entries: list[Entry] = []
    notices: dict[str, bytes] = {}
    with _damage(str(path)), tarfile.open(path, "r|*", bufsize=1 << 20) as archive:
        for number, member in enumerate(archive):
            name = _safe(path, member.name)
            if member.issym() or member.islnk():
                _safe_link(path, member)
                entries.append(Entry(name, 0, str(number), "link", "not followed"))
            elif member.isfile():
                entries.append(Entry(name, member.size, str(number)))
                if member.size <= NOTICE_BYTES and is_notice(name):
                    file = archive.extractfile(member)
                    assert file is not None
                    notices[name] = file.read()
            elif not member.isdir():
                entries.append(Entry(name, 0, str(number), "not-a-file"))
            archive.members = []  # type: ignore[attr-defined]
    return entries, notices


def _list_zip(path: Path) -> tuple[list[Entry], dict[str, bytes]]:
    entries: list[Entry] = []
    notices: dict[str, bytes] = {}
    with _damage(str(path)), zipfile.ZipFile(path) as archive:
        for number, member in enumerate(archive.infolist()):
            name = _safe(path, member.filename)
            if S_ISLNK(member.external_attr >> 16):
                entries.append(Entry(name, 0, str(number), "link", "not followed"))
            elif not member.is_dir():
                entries.append(Entry(name, member.file_size, str(number)))
                if (
                    member.file_size <= NOTICE_BYTES
                    and is_notice(name)
                    and not member.flag_bits & 1
                ):
                    notices[name] = archive.read(member)[:NOTICE_BYTES]
    return entries, notices


def _safe(path: Path, member: str) -> str:
    """A member's normal path; SourceError if it leads out of the archive."""
    name = member.replace("\\", "/") if path.name.endswith(ZIP) else member
    normal = posixpath.normpath(name)
    if name.startswith("/") or _DRIVE.match(name) or normal == ".." or normal.startswith("../"):
        raise SourceError(
            f"{path} holds a member that leads out of it: {member!r}; it was not read"
        )
    if ".." in name.split("/"):
        raise SourceError(f"{path} holds a member with .. in its path: {member!r}; it was not read")
    return normal.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _safe_link(path: Path, member: tarfile.TarInfo) -> None:
    """SourceError if a link leads out of the archive; inner links are only passed over."""
    base = posixpath.dirname(member.name) if member.issym() else ""
    target = posixpath.normpath(posixpath.join(base, member.linkname))
    if target.startswith("/") or target == ".." or target.startswith("../"):
        raise SourceError(
            f"{path} holds a link that leads out of it: {member.name!r} -> {member.linkname!r}; "
            "it was not read"
        )


def _top_folder(entries: Sequence[Entry]) -> str:
    """`top/` if every member lies in one folder `top`, else nothing."""
    tops = {entry.path.partition("/")[0] if "/" in entry.path else "" for entry in entries}
    (top,) = tops if len(tops) == 1 else ("",)
    return f"{top}/" if top else ""


def _once(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Entries with a path that came before marked as such: archives may repeat a member."""
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            yield replace(entry, rule="repeated-member", path=f"{entry.path}#{entry.locator}")
        else:
            seen.add(entry.path)
            yield entry


@contextmanager
def _damage(path: str) -> Iterator[None]:
    """Errors of the archive libraries as one line for the user."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's
        reason = " ".join(str(error).split()) or "it ends too early"
        raise SourceError(f"{path} is damaged or no archive: {reason}") from None
