"""Stage clean: raw documents -> documents that may be learned from and are worth it.

Input: artefact "raw". Output: artefact "documents" with the tables documents, dropped (with rule
and value) and redactions (file, line, kind). Each file passes, in this order:

    license-unknown, license-not-permissive    the licence gate (licenses/notices.py)
    the quality filters                        (filters/rules.py)
    redaction of secrets and addresses         (redaction/redact.py)
    duplicate                                  the same text as a file that stays

Two passes over the raw shards. The first judges the files and leaves only what was decided: rows,
hashes of texts, edits. Then, of equal texts, one copy stays: a training copy before a held-out one,
so that nothing held out is learned, and of these the first. The second pass writes what stays.

Not here: near-duplicates, syntax screening and decontamination, which come after and take and give
the same kind.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codling.core.artifact import open_artifact
from codling.core.shards import Counts, Shard, map_shards, prepare_workers
from codling.core.stage import Work, stage
from codling.corpus.config import CleanConfig
from codling.corpus.filters.profiles import thresholds
from codling.corpus.filters.rules import Reason
from codling.corpus.judge import BatchVerdicts, Judge, dropped_rows
from codling.corpus.redaction.redact import Edit, apply_edits
from codling.corpus.tables.counts import nest_counts
from codling.corpus.tables.reader import batches
from codling.corpus.tables.schemas import DROPPED_SCHEMA, REDACTION_SCHEMA
from codling.corpus.tables.writer import new_table

T = TypeVar("T")

COMPILED_BYTES = 50_000_000
"""Bytes per worker from which on it pays to load the compiled loops."""

PREPARED = ("codling.corpus.clean", "codling.corpus.warm_kernels")
"""What worker processes begin with, where the compiled loops are used."""

KEYS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("text_hash", pa.string(), nullable=False),
        pa.field("is_heldout", pa.bool_(), nullable=False),
    ]
)
"""Of a judged shard: the rows that stay."""
EDITS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("placeholder", pa.string(), nullable=False),
        pa.field("line", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)
"""Of a judged shard: what is replaced in its texts."""


@stage("documents", version=5)
def clean(config: CleanConfig) -> Work:
    """Licence gate, quality filters, redaction of secrets, exact duplicates.

    Example:
        codling data clean --raw-dir runs/app/raw --out-dir runs/app/documents
    """
    raw = open_artifact(config.raw_dir, "raw")
    thresholds(config.filters)
    draft = yield [raw]
    shards = raw.files("documents-*.parquet")
    judged = draft.inner("judged")
    compiled = raw.counts.get("bytes", 0) > COMPILED_BYTES * config.workers
    if compiled and config.workers > 1 and config.ray is None:
        prepare_workers(PREPARED)
    tasks = [JudgeTask(path, config, compiled) for path in shards]
    counts = map_shards(judged, tasks, judge_shard, config, label="clean")
    repeats = _repeats(judged.path, shards)
    moves = [MoveTask(p, judged.path, repeats.get(i, {})) for i, p in enumerate(shards)]
    counts += map_shards(draft, moves, move_shard, config, label="write")
    draft.counts |= nest_counts(counts)


@dataclass(frozen=True)
class JudgeTask:
    """A shard of raw documents to judge."""

    documents: Path
    config: CleanConfig
    compiled: bool


@dataclass(frozen=True)
class MoveTask:
    """A judged shard to publish, without the rows that repeat another: row -> that one's key."""

    documents: Path
    judged: Path
    repeats: dict[int, str]


def judge_shard(task: JudgeTask, shard: Shard) -> Counts:
    """Gate, filter and search the documents of one shard; returns what was counted."""
    judge = Judge(task.config, compiled=task.compiled)
    counts: Counter[str] = Counter()
    first_row = 0
    with (
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
        new_table(shard.path("keys"), KEYS_SCHEMA) as keys,
        new_table(shard.path("edits"), EDITS_SCHEMA) as edits,
    ):
        for batch in batches(task.documents):
            judged = judge.judge(batch)
            keys.add_batch(_keys(batch, judged, first_row))
            dropped.add_batch(judged.dropped)
            edits.add_batch(_edit_rows(judged.edits, first_row))
            _count(counts, judged)
            first_row += len(batch)
    return dict(counts)


def move_shard(task: MoveTask, shard: Shard) -> Counts:
    """Write the documents of a judged shard that stay; returns what was counted."""
    judged = Shard(task.judged, shard.index)
    rows = pq.read_table(judged.path("keys"), columns=["row"])["row"].to_numpy()
    edits = _edits_by_row(judged.path("edits"))
    counts: Counter[str] = Counter()
    first_row = 0
    with (
        new_table(shard.path("documents"), pq.read_schema(task.documents)) as documents,
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
        new_table(shard.path("redactions"), REDACTION_SCHEMA) as redactions,
    ):
        dropped.add_batch(_read_whole(judged.path("dropped"), DROPPED_SCHEMA))
        for batch in batches(task.documents):
            first, end = np.searchsorted(rows, [first_row, first_row + len(batch)])
            stays = np.zeros(len(batch), np.bool_)
            stays[rows[first:end] - first_row] = True
            repeats = _inside(task.repeats, first_row, len(batch))
            stays[list(repeats)] = False
            dropped.add_batch(
                dropped_rows(batch, {i: Reason("duplicate", key) for i, key in repeats.items()})
            )
            made = {i: e for i, e in _inside(edits, first_row, len(batch)).items() if stays[i]}
            kept = _apply_edits(batch, made).filter(pa.array(stays))
            documents.add_batch(kept)
            redactions.add_batch(_redactions(batch, made))
            _count_kept(counts, kept)
            first_row += len(batch)
    n = len(task.repeats)
    return dict(counts + Counter({"dropped": n, "dropped_by_rule/duplicate": n}))


def _repeats(judged: Path, shards: list[Path]) -> dict[int, dict[int, str]]:
    """Shard -> row -> key of the document that it repeats."""
    if not shards:
        return {}
    keys = pl.concat(
        pl.read_parquet(judged / f"keys-{i:05d}.parquet").with_columns(shard=pl.lit(i, pl.Int32))
        for i in range(len(shards))
    ).sort("is_heldout", "shard", "row")
    first = pl.struct("shard", "row").first().over("text_hash")
    repeated = keys.select(pl.struct("shard", "row").alias("own"), first.alias("first")).filter(
        pl.col("own") != pl.col("first")
    )
    survivors = _names(shards, repeated["first"].unique())
    found: dict[int, dict[int, str]] = {}
    for own, survivor in repeated.iter_rows():
        key = survivors[survivor["shard"], survivor["row"]]
        found.setdefault(own["shard"], {})[own["row"]] = key
    return found


def _names(shards: list[Path], places: pl.Series) -> dict[tuple[int, int], str]:
    """`source:repo/path` of the rows at some places (shard and row)."""
    wanted = places.struct.unnest()
    found: dict[tuple[int, int], str] = {}
    for (shard,), group in wanted.group_by("shard"):
        table = pq.read_table(shards[shard], columns=["source", "repo", "path"])
        rows = group["row"].to_list()
        for row, names in zip(rows, table.take(rows).to_pylist(), strict=True):
            found[shard, row] = f"{names['source']}:{names['repo']}/{names['path']}"
    return found


def _keys(batch: pa.RecordBatch, judged: BatchVerdicts, first_row: int) -> pa.RecordBatch:
    """Hashes of the texts that stay: those of the files unless something is replaced."""
    hashes = pc.utf8_slice_codeunits(batch["sha256"], 0, 32)
    if judged.edits:
        texts = (apply_edits(batch["content"][i].as_py(), e) for i, e in judged.edits.items())
        edited = pa.array([hashlib.sha256(t.encode()).hexdigest()[:32] for t in texts])
        hashes = pc.replace_with_mask(hashes, _mask(judged.edits, len(batch)), edited)
    stays = pa.array(judged.stays)
    rows = pa.array(first_row + np.flatnonzero(judged.stays), pa.int32())
    is_heldout = pc.equal(batch["split"].filter(stays), "heldout")
    return pa.RecordBatch.from_arrays([rows, hashes.filter(stays), is_heldout], schema=KEYS_SCHEMA)


def _edit_rows(edits: dict[int, list[Edit]], first_row: int) -> pa.RecordBatch:
    rows = [{"row": first_row + i} | e._asdict() for i, made in edits.items() for e in made]
    return pa.RecordBatch.from_pylist(rows, schema=EDITS_SCHEMA)


def _edits_by_row(path: Path) -> dict[int, list[Edit]]:
    found: dict[int, list[Edit]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault(row.pop("row"), []).append(Edit(**row))
    return found


def _apply_edits(batch: pa.RecordBatch, edits: dict[int, list[Edit]]) -> pa.RecordBatch:
    """The batch with the new texts and their numbers of redactions."""
    if not edits:
        return batch
    mask = _mask(edits, len(batch))
    texts = pa.array([apply_edits(batch["content"][i].as_py(), e) for i, e in edits.items()])
    numbers = pa.array([len(made) for made in edits.values()], pa.int32())
    columns = {name: batch[name] for name in batch.schema.names}
    columns["content"] = pc.replace_with_mask(batch["content"], mask, texts)
    columns["n_redactions"] = pc.replace_with_mask(batch["n_redactions"], mask, numbers)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def _redactions(batch: pa.RecordBatch, edits: dict[int, list[Edit]]) -> pa.RecordBatch:
    """The rows of the table of redactions."""
    rows = [i for i, made in edits.items() for _ in made]
    places = batch.select(["source", "repo", "path"]).take(pa.array(rows, pa.int64()))
    lines = pa.array([e.line for made in edits.values() for e in made], pa.int32())
    kinds = pa.array([e.kind for made in edits.values() for e in made], pa.string())
    return pa.RecordBatch.from_arrays([*places.columns, lines, kinds], schema=REDACTION_SCHEMA)


def _mask(rows: dict[int, list[Edit]], n: int) -> pa.Array:
    mask: NDArray[np.bool_] = np.zeros(n, np.bool_)
    mask[list(rows)] = True
    return pa.array(mask)


def _inside(of_row: dict[int, T], first: int, n: int) -> dict[int, T]:
    """What belongs to the rows of a batch, by their numbers in it, in order."""
    return {row - first: of_row[row] for row in sorted(of_row) if first <= row < first + n}


def _read_whole(path: Path, schema: pa.Schema) -> pa.RecordBatch:
    """A small table as one batch."""
    found = pq.read_table(path).combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=schema)


def _count(counts: Counter[str], judged: BatchVerdicts) -> None:
    counts["dropped"] += len(judged.dropped)
    for rule in judged.dropped["rule"].to_pylist():
        counts[f"dropped_by_rule/{rule}"] += 1
    for made in judged.edits.values():
        counts.update(f"redactions/{edit.kind}" for edit in made)


def _count_kept(counts: Counter[str], kept: pa.RecordBatch) -> None:
    """Add the documents of one batch to the counts."""
    counts.update({"documents": len(kept), "bytes": pc.sum(kept["n_bytes"]).as_py() or 0})
    splits = pa.Table.from_batches([kept]).group_by("split").aggregate([("n_bytes", "sum")])
    for row in splits.to_pylist():
        counts[f"{row['split']}_bytes"] += row["n_bytes_sum"]
    for prefix, column, suffix in _COUNTED:
        for each in pc.value_counts(kept[column]).to_pylist():
            counts[f"{prefix}{each['values']}{suffix}"] += each["counts"]


_COUNTED: tuple[tuple[str, str, str], ...] = (
    ("", "split", "_documents"),
    ("by_language/", "language", ""),
    ("by_license/", "license", ""),
)
"""Which values of which columns are counted, and the text before and after them."""
