"""Stage collect: sources -> raw documents, with languages, licences and the held-out split.

Input: repositories, folders and archives. Output: artefact "raw" with the tables documents (one row
per source file) and dropped (every other file, with the rule that dropped it and the value).

    link, not-a-file, passed-over, repeated-member     not a file of the source's own
    no-content                                         a row of a corpus without text
    unreadable, too-large, no-language, empty, binary, not-utf8
    refused-archive                                    an archive of which nothing more was read

The work is cut into shards by bytes, so the result is the same for any number of workers.

Not here: the judgement of licences and quality (clean.py); reading (sources/open.py).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import Any

from codling.core.artifact import Input
from codling.core.errors import SourceError
from codling.core.inputs import source_input
from codling.core.languages.table import detect, header_language, may_be_code, may_be_known
from codling.core.log import say
from codling.core.shards import Counts, Shard, cut, map_shards, prepare_workers
from codling.core.stage import Work, stage
from codling.corpus import paths
from codling.corpus.config import CollectConfig
from codling.corpus.heldout import CodeFile, Heldout, choose_heldout, newest_since, row_heldout
from codling.corpus.licenses.notices import Licenses, read_notices
from codling.corpus.sources.archives import open_archive
from codling.corpus.sources.commits import open_commits
from codling.corpus.sources.dumps import read_dump
from codling.corpus.sources.git import open_commit
from codling.corpus.sources.history import read_history
from codling.corpus.sources.open import open_sources
from codling.corpus.sources.repository import Archive, Entry, Reader, Repository, apply_bounds
from codling.corpus.tables.counts import document_counts, largest_rule, nest_counts
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, DROPPED_SCHEMA
from codling.corpus.tables.writer import new_table

_REFUSED = "refused-archive"
ARCHIVE_GROWTH = 4
"""How many times larger than packed an archive is taken to be, when shards are cut."""
PREPARED = ("codling.corpus.collect", "codling.corpus.clean", "codling.corpus.warm_kernels")
"""What worker processes begin with: also for the stage that comes next in the same process."""


@stage("raw", version=7)
def collect(config: CollectConfig) -> Work:
    """Read repositories, folders and archives into documents with languages and licences.

    Without sources it takes the standard library of the running interpreter. Raises SourceError for
    a source that is missing, empty, damaged or unsafe; with `skip_refused` only for one that is no
    archive.

    Example:
        codling data collect ~/src/app ~/src/lib.tar.gz --out-dir runs/app/raw
    """
    sources, cuts = _before_cuts(list(_open_sources(config)), config)
    draft = yield _inputs(sources, config.sources)
    dated, settled = _add_times(sources, config)
    tasks = (CollectTask(tuple(parts), settled) for parts in _shards(dated, settled))
    counts = map_shards(draft, tasks, collect_shard, config, label="collect")
    if counts["documents"] == 0:
        where = ", ".join(str(s) for s in config.sources)
        raise SourceError(f"{where} holds no file in a known language; {_largest_rule(counts)}")
    if n_refused := counts[f"dropped_by_rule/{_REFUSED}"]:
        say(f"{n_refused:,} archives were refused; the table dropped says why (rule {_REFUSED})")
    if settled.heldout_since:
        draft.counts["heldout_since"] = settled.heldout_since
    if cuts:
        draft.counts["learned_at"] = cuts
    draft.counts |= {"repositories": len(sources)} | nest_counts(counts)


@dataclass(frozen=True)
class FileOrigin:
    """Where files come from: a repository, its licences and what of it is held out."""

    source: str
    repo: str
    licenses: Licenses
    heldout: Heldout
    header: str = "c"
    """The language of headers there that could be C as well as C++."""


@dataclass(frozen=True)
class Piece:
    """Some files of one repository."""

    place: FileOrigin
    reader: Reader
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class CollectTask:
    """The work of one shard."""

    parts: tuple[Piece | Archive, ...]
    config: CollectConfig


def collect_shard(task: CollectTask, shard: Shard) -> Counts:
    """Read the files of one shard and write its rows; returns what was counted."""
    counts: Counter[str] = Counter()
    with (
        new_table(shard.path("documents"), DOCUMENT_SCHEMA) as documents,
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
    ):
        for place, entry, data in _files(task, shard):
            reason, row = _row(place, entry, data, task.config)
            if reason:
                dropped.add(row | {"rule": reason[0], "value": reason[1]})
                counts.update({"dropped": 1, f"dropped_by_rule/{reason[0]}": 1})
            else:
                documents.add(row, len(row["content"]))
                counts.update(document_counts(row))
    return dict(counts)


def _open_sources(config: CollectConfig) -> Iterator[Repository | Archive]:
    """The sources; worker processes get ready as soon as there is work for some."""
    n_bytes, is_ready = 0, config.workers == 1 or config.ray is not None
    for source in open_sources(config.sources):
        yield source
        n_bytes += _n_bytes(source, config)
        if not is_ready and n_bytes > config.shard_bytes:
            prepare_workers(PREPARED)
            is_ready = True


def _before_cuts(
    sources: Sequence[Repository | Archive], config: CollectConfig
) -> tuple[list[Repository | Archive], dict[str, str]]:
    """With a split by commits the repositories as they stood at their cuts, and those by name.

    What cannot be cut is learned from whole; SourceError where nothing can be.
    """
    if config.heldout_by != "commits":
        return list(sources), {}
    found: list[Repository | Archive] = []
    cuts: dict[str, str] = {}
    refused: list[SourceError] = []
    for source in sources:
        if isinstance(source, Archive) or not source.history:
            say(f"{source.name} has no commits: all of it is learned from, nothing asked about it")
            found.append(source)
            continue
        try:
            found.append(_before_cut(source, config, cuts))
        except SourceError as error:
            refused.append(error)
            found.append(source)
    if refused and not cuts:
        raise refused[0]
    for each in refused:
        say(f"{each}; all of it is learned from, nothing asked about it")
    return found, cuts


def _before_cut(source: Repository, config: CollectConfig, cuts: dict[str, str]) -> Repository:
    """A repository as it stood at its cut, which goes into `cuts`."""
    root = Path(source.history)
    with open_commits(root) as commits:
        cut = commits.cut(config.at)
    day = datetime.fromtimestamp(cut.second, UTC).date()
    say(
        f"{source.name}: learned from as it stood at {cut.commit[:12]} of {day}; "
        f"{cut.n_later:,} later commits are for questions"
    )
    cuts[source.name] = cut.commit
    return open_commit(root, source.source, source.name, cut.commit)


def _n_bytes(source: Repository | Archive, config: CollectConfig) -> int:
    """About how many bytes there are to read."""
    if isinstance(source, Archive):
        return source.n_bytes * ARCHIVE_GROWTH
    return sum(e.n_bytes for e in source.entries if e.n_bytes <= config.max_file_bytes)


def _inputs(sources: Sequence[Repository | Archive], paths: Sequence[Path]) -> list[Input]:
    """One input per repository: its names and state, not its place, make the identity."""
    found = []
    for each in sources:
        names = f"{each.name}" if isinstance(each, Archive) else f"{each.source}\0{each.name}"
        identity = hashlib.sha256(f"{names}\0{each.fingerprint}".encode())
        where = paths[0] if len(paths) == 1 else each.name
        found.append(source_input(where, identity.hexdigest()[:16]))
    return found


def _add_times(
    sources: Sequence[Repository | Archive], config: CollectConfig
) -> tuple[list[Repository | Archive], CollectConfig]:
    """The sources with their files' commit times, and the config with the moment of the split."""
    found = list(sources)
    if config.commit_times:
        with ThreadPoolExecutor(config.workers) as pool:
            found = list(pool.map(_with_times, sources))
    if config.heldout_by in ("package", "commits") or config.heldout_since is not None:
        return found, config
    code = (_split_files(each, config) for each in found if isinstance(each, Repository))
    since = datetime.fromtimestamp(newest_since(code, config), UTC)
    return found, replace(config, heldout_since=since.isoformat())


def _with_times(source: Repository | Archive) -> Repository | Archive:
    """A repository with the commit times of its files, where it has a history."""
    if isinstance(source, Archive) or not source.history:
        return source
    history = read_history(Path(source.history), source.commit)
    if history.is_broken:
        say(
            f"{source.name} lacks objects of its history: {len(history.times):,} of "
            f"{len(source.entries):,} files have a commit time; clone it again, whole"
        )
    elif history.is_shallow:
        say(
            f"{source.name} is a shallow clone: {history.n_files - len(history.times):,} of "
            f"{history.n_files:,} files have no commit time; git fetch --unshallow gives them"
        )
    times = history.times
    entries = (replace(e, changed_at=times.get(e.path)) for e in source.entries)
    return replace(source, entries=tuple(entries))


def _shards(
    sources: Sequence[Repository | Archive], config: CollectConfig
) -> Iterator[list[Piece | Archive]]:
    """The sources' files in order, cut whenever a shard has its number of bytes."""
    portions = (each for source in sources for each in _portions(source, config))
    for run in cut(portions, itemgetter(1), config.shard_bytes):
        yield [part for part, _ in run]


def _portions(
    source: Repository | Archive, config: CollectConfig
) -> Iterator[tuple[Piece | Archive, int]]:
    """A repository's files in portions of about a shard, an archive as a whole."""
    if isinstance(source, Archive):
        yield source, _n_bytes(source, config)
        return
    whole = _piece(source, config)
    for entries in cut(whole.entries, _read_bytes, config.shard_bytes):
        yield replace(whole, entries=tuple(entries)), sum(map(_read_bytes, entries))


def _read_bytes(entry: Entry) -> int:
    return 0 if entry.rule else entry.n_bytes


def _files(task: CollectTask, shard: Shard) -> Iterator[tuple[FileOrigin, Entry, bytes]]:
    """All files of a task in order, archives opened one after the other."""
    config = task.config
    for part in task.parts:
        if isinstance(part, Piece):
            yield from _read(part)
        elif part.is_dump:
            yield from _read_dump(part, config)
        else:
            yield from _read_archive(part, shard, config)


def _read_archive(
    archive: Archive, shard: Shard, config: CollectConfig
) -> Iterator[tuple[FileOrigin, Entry, bytes]]:
    """The members; with `skip_refused` an entry without a path that says why there are no more."""
    try:
        with open_archive(archive, shard.folder / ".shards") as repository:
            yield from _read(_piece(repository, config))
    except SourceError as error:
        if not config.skip_refused:
            raise
        place = FileOrigin(archive.name, archive.name, Licenses({}, "", config.own), Heldout())
        why = str(error).removeprefix(f"{archive.path} ")
        yield place, Entry("", archive.n_bytes, "", _REFUSED, why), b""


def _read_dump(dump: Archive, config: CollectConfig) -> Iterator[tuple[FileOrigin, Entry, bytes]]:
    """The rows of a dump, with the licences that they state; units are held out by hash alone."""
    for row in read_dump(Path(dump.path), dump.name, config.columns):
        licenses = Licenses({}, row.license, config.own)
        place = FileOrigin(dump.name, row.repo, licenses, row_heldout(row.repo, row.path, config))
        data = row.content.encode("utf-8", "surrogatepass")
        rule = "no-content" if row.lack else ""
        entry = Entry(row.path, len(data), "", rule, row.lack, row.changed_at)
        yield place, apply_bounds(entry), data


def _piece(repository: Repository, config: CollectConfig) -> Piece:
    """A whole repository with its licences and what of it is held out.

    A file that is not to be read at all has the rule that says so.
    """
    entries = tuple(_apply_rules(entry, config) for entry in repository.entries)
    repository = replace(repository, entries=entries)
    place = FileOrigin(
        repository.source,
        repository.name,
        read_notices(repository.notices, repository.declared, own=config.own),
        choose_heldout(repository.name, _split_files(repository, config), config),
        header_language(entry.path for entry in repository.entries),
    )
    return Piece(place, repository.reader, repository.entries)


def _split_files(repository: Repository, config: CollectConfig) -> list[CodeFile]:
    """The files that are read, as the held-out split sees them."""
    return [
        CodeFile(e.path, e.n_bytes, e.changed_at, _is_code(paths.name(e.path), config.extended))
        for e in repository.entries
        if not _unread_reason(e, config)
    ]


@lru_cache(1 << 16)
def _is_code(name: str, extended: bool) -> bool:
    return may_be_code(name, extended=extended)


@lru_cache(1 << 16)
def _may_be_known(name: str, extended: bool) -> bool:
    return may_be_known(name, extended=extended)


def _apply_rules(entry: Entry, config: CollectConfig) -> Entry:
    """The entry, with a rule if it is not to be read."""
    reason = None if entry.rule else _unread_reason(entry, config)
    return replace(entry, rule=reason[0], value=reason[1]) if reason else entry


def _read(piece: Piece) -> Iterator[tuple[FileOrigin, Entry, bytes]]:
    """All entries in order, with the contents of those that are worth reading."""
    wanted = [not entry.rule for entry in piece.entries]
    contents = piece.reader.read(list(compress(piece.entries, wanted)))
    for entry, is_wanted in zip(piece.entries, wanted, strict=True):
        yield piece.place, *(next(contents) if is_wanted else (entry, b""))


def _row(
    place: FileOrigin, entry: Entry, data: bytes, config: CollectConfig
) -> tuple[tuple[str, str] | None, dict[str, Any]]:
    """(why the file is dropped or None, its row of the table of dropped files or of documents)."""
    row = {
        "source": place.source,
        "repo": place.repo,
        "path": entry.path,
        "language": "",
        "license": "",
        "n_bytes": entry.n_bytes,
    }
    if reason := _unread_reason(entry, config):
        return reason, row
    extended, header = config.extended, place.header
    row["language"] = detect(entry.path, data, extended=extended, header=header) or ""
    reason, content = _text(entry, data, str(row["language"]))
    if reason:
        return reason, row
    row["license"], row["license_from"] = place.licenses.of(entry.path, content)
    return None, row | {
        "split": place.heldout.split(entry.path, entry.changed_at),
        "n_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content": content,
        "n_redactions": 0,
        "changed_at": entry.changed_at,
    }


def _unread_reason(entry: Entry, config: CollectConfig) -> tuple[str, str] | None:
    if entry.rule:
        return entry.rule, entry.value
    if entry.n_bytes > config.max_file_bytes:
        return "too-large", f"{entry.n_bytes} bytes"
    return None if _may_be_known(paths.name(entry.path), config.extended) else _no_language(entry)


def _text(entry: Entry, data: bytes, language: str) -> tuple[tuple[str, str] | None, str]:
    """(why the file is not text in a known language, or None; its text)."""
    if not language:
        return _no_language(entry), ""
    if not data.strip():
        return ("empty", f"{len(data)} bytes"), ""
    if (nul := data.find(b"\0")) >= 0:
        return ("binary", f"NUL at byte {nul}"), ""
    try:
        return None, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return ("not-utf8", f"0x{data[error.start]:02x} at byte {error.start}"), ""


def _no_language(entry: Entry) -> tuple[str, str]:
    return "no-language", paths.name(entry.path).rpartition(".")[2][:20]


def _largest_rule(counts: Counter[str]) -> str:
    rule, n = largest_rule(counts)
    return f"{n:,} files were dropped by the rule {rule}" if rule else "it has no files"
