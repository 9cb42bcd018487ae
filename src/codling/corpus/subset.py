"""Publishing a shard without some of its rows: the last pass of a stage that drops documents.

Input: a table of documents, the rows that go and why. Output: the shard's tables `documents` (the
same file under another name if all rows stay) and `dropped`.

Not here: which rows go (dedup.py, decontaminate.py, screen.py).
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codling.core.artifact import Draft
from codling.core.shards import Counts, Shard
from codling.corpus.columns import batch_rows, turn
from codling.corpus.document import DROPPED_SCHEMA
from codling.corpus.tables import new_table

_DROPPED_COLUMNS = ("source", "repo", "path", "language", "license", "n_bytes")


@dataclass(frozen=True)
class Subset:
    """A table of documents and the rows that leave it."""

    path: Path
    rule: str
    goes: NDArray[np.bool_]
    reasons: tuple[str, ...]
    """The value that decided, for the rows that go, in their order."""
    rules: tuple[str, ...] = ()
    """The rule of each of these rows, where not all go by `rule`."""


def write_subset(subset: Subset, shard: Shard) -> Counts:
    """Write what stays and the list of what goes."""
    target = shard.path("documents")
    if subset.reasons:
        _write_kept(subset, target)
    else:
        _link(subset.path, target)
    with new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped:
        n_dropped = len(subset.reasons)
        rules = subset.rules or (subset.rule,) * n_dropped
        for row, rule, value in zip(_dropped_rows(subset), rules, subset.reasons, strict=True):
            dropped.add({**row, "rule": rule, "value": value})
    return {"documents": len(subset.goes) - n_dropped, "dropped": n_dropped}


def inner_draft(draft: Draft, name: str) -> Draft:
    """A draft inside the draft, in the part that is not published, for an earlier pass."""
    path = draft.path / ".shards" / name
    path.mkdir(parents=True, exist_ok=True)
    return Draft(path, draft.kind, draft.id)


def _write_kept(subset: Subset, target: Path) -> None:
    temporary = target.with_name(target.name + ".tmp")
    with (
        pq.ParquetFile(subset.path) as file,
        turn(file),
        pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer,
    ):
        row = 0
        for batch in file.iter_batches(batch_rows(file)):
            kept = batch.filter(pa.array(~subset.goes[row : row + len(batch)]))
            row += len(batch)
            if len(kept):
                writer.write_batch(kept)
    temporary.replace(target)


def _dropped_rows(subset: Subset) -> Iterator[dict[str, object]]:
    if subset.reasons:
        table = pq.read_table(subset.path, columns=list(_DROPPED_COLUMNS))
        yield from table.filter(pa.array(subset.goes)).to_pylist()


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
