"""Stage clean: raw documents -> documents that may be and are worth being learned from.

Input: artefact "raw". Output: artefact "documents" with the tables documents, dropped (with rule
and value) and redactions (file, line, kind). Each file passes, in this order:

    license-unknown, license-not-permissive    the licence gate (licenses.py)
    the quality filters                        (filters.py)
    redaction of secrets and addresses         (redact.py)
    duplicate                                  the same text as a file that stays

The files are judged first, shard by shard; then, of equal texts, one copy stays: a training copy
before a held-out one, so that nothing held out is learned, and of these the first.

Not here: near-duplicates, syntax screening and decontamination, which come after and take and give
the same kind.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codling.core.artifact import Artifact, Draft, open_artifact, produce
from codling.core.shards import Counts, Shard, map_shards
from codling.corpus.config import CleanConfig
from codling.corpus.counts import nested
from codling.corpus.document import DOCUMENT_SCHEMA, DROPPED_SCHEMA
from codling.corpus.judge import Judge, dropped_row
from codling.corpus.profiles import thresholds
from codling.corpus.redact import REDACTION_SCHEMA
from codling.corpus.tables import new_table

STAGE_VERSION = 1

COMPILED_BYTES = 50_000_000
"""Bytes per worker from which on it pays to load the compiled loops."""
MOVED_ALONE_BYTES = 500_000_000
"""Bytes up to which one process publishes the judged shards."""
BATCH_ROWS = 512

KEYS_SCHEMA = pa.schema(
    [
        pa.field("text_hash", pa.binary(16), nullable=False),
        pa.field("is_heldout", pa.bool_(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
    ]
)


def clean(config: CleanConfig) -> Artifact:
    """Licence gate, quality filters, redaction of secrets, exact duplicates.

    Example:
        codling data clean --raw-dir runs/app/raw --out-dir runs/app/documents
    """
    raw = open_artifact(config.raw_dir, "raw")
    thresholds(config.filters)

    def work(draft: Draft) -> None:
        judged = _inner_draft(draft)
        compiled = raw.counts.get("bytes", 0) > COMPILED_BYTES * config.workers
        tasks = [JudgeTask(p, config, compiled) for p in raw.files("documents-*.parquet")]
        counts = map_shards(
            judged, tasks, judge_shard, workers=config.workers, label="clean", ray=config.ray
        )
        repeats = _repeats(judged.path, len(tasks))
        moves = [MoveTask(judged.path, repeats.get(i, {})) for i in range(len(tasks))]
        # Few bytes are moved sooner than other processes start.
        movers = config.workers if raw.counts.get("bytes", 0) > MOVED_ALONE_BYTES else 1
        counts += map_shards(
            draft, moves, move_shard, workers=movers, label="duplicates", ray=config.ray
        )
        draft.counts |= nested(counts)

    return produce(
        config.out_dir,
        kind="documents",
        version=STAGE_VERSION,
        config=config,
        inputs=[raw],
        work=work,
    )


@dataclass(frozen=True)
class JudgeTask:
    """A shard of raw documents to judge."""

    documents: Path
    config: CleanConfig
    compiled: bool


@dataclass(frozen=True)
class MoveTask:
    """A judged shard to publish, without the rows that repeat another: row -> that one's key."""

    judged: Path
    repeats: dict[int, str]


def judge_shard(task: JudgeTask, shard: Shard) -> Counts:
    """Gate, filter and redact the documents of one shard; returns what was counted."""
    judge = Judge(task.config, compiled=task.compiled)
    counts: Counter[str] = Counter()
    with (
        new_table(shard.path("documents"), DOCUMENT_SCHEMA) as documents,
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
        new_table(shard.path("redactions"), REDACTION_SCHEMA) as redactions,
        new_table(shard.path("keys"), KEYS_SCHEMA) as keys,
        pq.ParquetFile(task.documents) as file,
    ):
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            judged = judge.judge(batch)
            documents.add_batch(judged.kept)
            keys.add_batch(_keys(judged.kept))
            for row in judged.dropped:
                dropped.add(row)
                counts.update({"dropped": 1, f"dropped_by_rule/{row['rule']}": 1})
            for row in judged.redactions:
                redactions.add(row)
                counts[f"redactions/{row['kind']}"] += 1
    return dict(counts)


def move_shard(task: MoveTask, shard: Shard) -> Counts:
    """Publish a judged shard without its repeated documents; returns what was counted."""
    names = ("documents", "dropped", "redactions")
    judged = {name: Shard(task.judged, shard.index).path(name) for name in names}
    if task.repeats:
        _rewrite(judged, task.repeats, shard)
    else:
        for name, path in judged.items():
            shard.path(name).unlink(missing_ok=True)
            os.link(path, shard.path(name))
    return _published(shard) | {
        k: n
        for k, n in {
            "dropped": len(task.repeats),
            "dropped_by_rule/duplicate": len(task.repeats),
        }.items()
        if n
    }


def _inner_draft(draft: Draft) -> Draft:
    """A draft for the judged shards inside the draft, in the part that is not published."""
    path = draft.path / ".shards" / "judged"
    path.mkdir(parents=True, exist_ok=True)
    return Draft(path, draft.kind, draft.id)


def _repeats(judged: Path, n_shards: int) -> dict[int, dict[int, str]]:
    """Shard -> row -> key of the document that it repeats."""
    tables = [
        pl.read_parquet(judged / f"keys-{i:05d}.parquet").with_columns(
            shard=pl.lit(i, pl.Int32), row=pl.int_range(pl.len(), dtype=pl.Int32)
        )
        for i in range(n_shards)
    ]
    if not tables:
        return {}
    order = ["is_heldout", "shard", "row"]
    keys = pl.concat(tables).sort(order)
    first = pl.col("key").first().over("text_hash")
    repeated = keys.with_columns(first=first).filter(
        pl.struct("shard", "row") != pl.struct("shard", "row").first().over("text_hash")
    )
    found: dict[int, dict[int, str]] = {}
    for shard, row, survivor in repeated.select("shard", "row", "first").iter_rows():
        found.setdefault(shard, {})[row] = survivor
    return found


def _rewrite(judged: dict[str, Path], repeats: dict[int, str], shard: Shard) -> None:
    """Write a shard's tables anew, with the repeated documents among the dropped ones."""
    repeated: list[dict[str, Any]] = []
    first_row = 0
    with new_table(shard.path("documents"), DOCUMENT_SCHEMA) as documents:
        for batch in _batches(judged["documents"]):
            rows = [i for i in range(len(batch)) if first_row + i in repeats]
            for row, i in zip(
                batch.take(pa.array(rows, pa.int64())).drop_columns(["content"]).to_pylist(),
                rows,
                strict=True,
            ):
                repeated.append(dropped_row(row, "duplicate", repeats[first_row + i]))
            gone = set(rows)
            documents.add_batch(
                batch.filter(pa.array([i not in gone for i in range(len(batch))], pa.bool_()))
            )
            first_row += len(batch)
    with new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped:
        for row in (*_rows(judged["dropped"]), *repeated):
            dropped.add(row)
    places = {(row["source"], row["repo"], row["path"]) for row in repeated}
    with new_table(shard.path("redactions"), REDACTION_SCHEMA) as redactions:
        for row in _rows(judged["redactions"]):
            if (row["source"], row["repo"], row["path"]) not in places:
                redactions.add(row)


def _published(shard: Shard) -> Counts:
    """Counts of the documents that a shard ends with."""
    columns = ["language", "license", "split", "n_bytes"]
    table = pl.read_parquet(shard.path("documents"), columns=columns)
    counts: Counter[str] = Counter({"documents": len(table), "bytes": int(table["n_bytes"].sum())})
    for split, n, n_bytes in (
        table.group_by("split").agg(pl.len(), pl.col("n_bytes").sum()).iter_rows()
    ):
        counts.update({f"{split}_documents": n, f"{split}_bytes": n_bytes})
    for column in ("language", "license"):
        for value, n in table.group_by(column).len().iter_rows():
            counts[f"by_{column}/{value}"] = n
    return dict(counts)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one table, some at a time."""
    for batch in _batches(path):
        yield from batch.to_pylist()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS)


def _keys(kept: pa.RecordBatch) -> pa.RecordBatch:
    """Hashes of the texts, which are those of the files unless something was redacted."""
    hashes = [
        hashlib.sha256(content.encode()).digest()[:16] if n else bytes.fromhex(sha256)[:16]
        for sha256, n, content in zip(
            kept["sha256"].to_pylist(),
            kept["n_redactions"].to_pylist(),
            _only_where_redacted(kept),
            strict=True,
        )
    ]
    names = zip(*(kept[name].to_pylist() for name in ("source", "repo", "path")), strict=True)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(hashes, pa.binary(16)),
            pc.equal(kept["split"], "heldout"),
            pa.array([f"{source}:{repo}/{path}" for source, repo, path in names], pa.string()),
        ],
        schema=KEYS_SCHEMA,
    )


def _only_where_redacted(kept: pa.RecordBatch) -> list[str]:
    """The texts that were changed, and nothing for the others."""
    changed = pc.greater(kept["n_redactions"], 0)
    return list(pc.if_else(changed, kept["content"], "").to_pylist())
