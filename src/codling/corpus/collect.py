"""Stage collect: sources -> raw documents, with languages, licences and the held-out split.

Input: repositories, folders and archives. Output: artefact "raw" with the tables documents (one row
per source file) and dropped (every other file, with the rule that dropped it and the value).

    link, not-a-file, passed-over, repeated-member     not a file of the source's own
    unreadable, too-large, no-language, empty, binary, not-utf8

The work is cut into shards by bytes, so the result is the same for any number of workers.

Not here: the judgement of licences and quality (clean.py); reading (sources.py).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.artifact import Artifact, Draft, Input, produce
from codling.core.errors import SourceError
from codling.core.languages import LANGUAGES, detect, may_be_known
from codling.core.shards import Counts, Shard, map_shards
from codling.corpus.config import CollectConfig
from codling.corpus.counts import nested
from codling.corpus.document import DOCUMENT_SCHEMA, DROPPED_SCHEMA
from codling.corpus.heldout import heldout_units, unit_of
from codling.corpus.licenses import Licenses, read_notices
from codling.corpus.repository import Entry, Reader, Repository
from codling.corpus.sources import open_sources
from codling.corpus.tables import TableWriter, new_table

STAGE_VERSION = 1


def collect(config: CollectConfig) -> Artifact:
    """Read repositories, folders and archives into documents with languages and licences.

    Without sources it takes the standard library of the running interpreter. Raises SourceError for
    a source that is missing, empty, damaged or unsafe.

    Example:
        codling data collect ~/src/app ~/src/lib.tar.gz --out-dir runs/app/raw
    """
    repositories = list(open_sources(config.sources))
    inputs = _inputs(repositories, config.sources)

    def work(draft: Draft) -> None:
        tasks = list(_tasks(repositories, config))
        counts = map_shards(draft, tasks, collect_shard, workers=config.workers, label="collect")
        if counts["documents"] == 0:
            where = ", ".join(str(s) for s in config.sources)
            raise SourceError(f"{where} holds no file in a known language; {_largest_rule(counts)}")
        draft.counts |= {"repositories": len(repositories)} | nested(counts)

    return produce(
        config.out_dir, kind="raw", version=STAGE_VERSION, config=config, inputs=inputs, work=work
    )


@dataclass(frozen=True)
class Piece:
    """Some files of one repository, with what is known of the whole."""

    source: str
    repo: str
    reader: Reader
    entries: tuple[Entry, ...]
    licenses: Licenses
    heldout: frozenset[str]
    max_file_bytes: int


def collect_shard(pieces: Sequence[Piece], shard: Shard) -> Counts:
    """Read the files of one shard and write its rows; returns what was counted."""
    counts: Counter[str] = Counter()
    with (
        new_table(shard.path("documents"), DOCUMENT_SCHEMA) as documents,
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
    ):
        for piece in pieces:
            for entry, data in _read(piece):
                rule, value, row = _row(piece, entry, data)
                if rule:
                    _drop(dropped, piece, entry, (rule, value), row.get("language", ""))
                    counts.update({"dropped": 1, f"dropped_by_rule/{rule}": 1})
                else:
                    documents.add(row, len(row["content"]))
                    counts.update(_tally(row))
    return dict(counts)


def _inputs(repositories: Sequence[Repository], paths: Sequence[Path]) -> list[Input]:
    """One input per repository: its names and state, not its place, make the identity."""
    found = []
    for each in repositories:
        identity = hashlib.sha256(f"{each.source}\0{each.name}\0{each.fingerprint}".encode())
        where = str(paths[0].absolute()) if len(paths) == 1 else each.source
        found.append(Input(kind="source", id=identity.hexdigest()[:16], path=where))
    return found


def _tasks(repositories: Sequence[Repository], config: CollectConfig) -> Iterator[list[Piece]]:
    """The repositories' files in order, cut whenever a shard's bytes have come together."""
    pieces: list[Piece] = []
    n_bytes = 0
    for repository in repositories:
        licenses = read_notices(repository.notices, repository.declared, own=config.own)
        heldout = _heldout(repository, config)
        for entries in _portions(repository, config.shard_bytes):
            pieces.append(
                Piece(
                    repository.source,
                    repository.name,
                    repository.reader,
                    entries,
                    licenses,
                    heldout,
                    config.max_file_bytes,
                )
            )
            n_bytes += sum(e.n_bytes for e in entries if _is_wanted(e, config.max_file_bytes))
            if n_bytes >= config.shard_bytes:
                yield pieces
                pieces, n_bytes = [], 0
    if pieces:
        yield pieces


def _portions(repository: Repository, shard_bytes: int) -> Iterator[tuple[Entry, ...]]:
    """A repository's files in portions of about a shard; all at once where it is read in one go."""
    if repository.reader.sequential:
        yield repository.entries
        return
    portion: list[Entry] = []
    n_bytes = 0
    for entry in repository.entries:
        portion.append(entry)
        n_bytes += entry.n_bytes
        if n_bytes >= shard_bytes:
            yield tuple(portion)
            portion, n_bytes = [], 0
    if portion:
        yield tuple(portion)


def _heldout(repository: Repository, config: CollectConfig) -> frozenset[str]:
    code = (
        (e.path, e.n_bytes)
        for e in repository.entries
        if _is_wanted(e, config.max_file_bytes) and _is_code(e.path)
    )
    return heldout_units(repository.name, code, fraction=config.heldout_fraction, seed=config.seed)


def _is_code(path: str) -> bool:
    language = detect(path, b"")
    return language is not None and LANGUAGES[language].family == "code"


def _is_wanted(entry: Entry, max_file_bytes: int) -> bool:
    """Whether a file is to be read at all."""
    return not entry.rule and entry.n_bytes <= max_file_bytes and may_be_known(entry.path)


def _read(piece: Piece) -> Iterator[tuple[Entry, bytes]]:
    """All entries in order, with the contents of those that are worth reading."""
    wanted = [e for e in piece.entries if _is_wanted(e, piece.max_file_bytes)]
    contents = piece.reader.read(wanted)
    for entry in piece.entries:
        if _is_wanted(entry, piece.max_file_bytes):
            yield next(contents)
        else:
            yield entry, b""


def _row(piece: Piece, entry: Entry, data: bytes) -> tuple[str, str, dict[str, Any]]:
    """(rule, value, row): the rule that drops a file, or "" and its row of the table."""
    if entry.rule:
        return entry.rule, entry.value, {}
    if entry.n_bytes > piece.max_file_bytes:
        return "too-large", f"{entry.n_bytes} bytes", {}
    language = detect(entry.path, data) if may_be_known(entry.path) else None
    if language is None:
        return "no-language", entry.path.rpartition("/")[2].rpartition(".")[2][:20], {}
    named = {"language": language}
    if not data.strip():
        return "empty", f"{len(data)} bytes", named
    if (nul := data.find(b"\0")) >= 0:
        return "binary", f"NUL at byte {nul}", named
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "not-utf8", f"0x{data[error.start]:02x} at byte {error.start}", named
    license_name, license_from = piece.licenses.of(entry.path, content)
    return (
        "",
        "",
        {
            "source": piece.source,
            "repo": piece.repo,
            "path": entry.path,
            "language": language,
            "license": license_name,
            "license_from": license_from,
            "split": "heldout" if unit_of(entry.path) in piece.heldout else "train",
            "n_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "content": content,
            "n_redactions": 0,
        },
    )


def _drop(
    table: TableWriter, piece: Piece, entry: Entry, reason: tuple[str, str], language: str
) -> None:
    table.add(
        {
            "source": piece.source,
            "repo": piece.repo,
            "path": entry.path,
            "language": language,
            "license": "",
            "n_bytes": entry.n_bytes,
            "rule": reason[0],
            "value": reason[1],
        }
    )


def _tally(row: dict[str, Any]) -> dict[str, int]:
    return {
        "documents": 1,
        "bytes": row["n_bytes"],
        f"{row['split']}_documents": 1,
        f"{row['split']}_bytes": row["n_bytes"],
        f"by_language/{row['language']}": 1,
        f"by_license/{row['license']}": 1,
    }


def _largest_rule(counts: Counter[str]) -> str:
    rules = {k.partition("/")[2]: n for k, n in counts.items() if k.startswith("dropped_by_rule/")}
    rule = max(rules, key=rules.__getitem__, default="")
    return f"{rules[rule]:,} files were dropped by the rule {rule}" if rule else "it has no files"
