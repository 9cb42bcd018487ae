"""Publishing a shard without some of its rows: the last pass of a stage that drops documents.

Input: a table of documents, the rows that go and why. Output: the shard's tables `documents` (the
same file under another name if all rows stay) and `dropped`.

Not here: which rows go (dedup.py, decontaminate.py, screen.py).
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codling.core.shards import Counts, Shard
from codling.corpus.tables.reader import batches, flag_array, string_array
from codling.corpus.tables.schemas import DROPPED_SCHEMA
from codling.corpus.tables.writer import new_table


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
    if subset.reasons:
        _write(subset, shard)
    else:
        _link(subset.path, shard.path("documents"))
        with new_table(shard.path("dropped"), DROPPED_SCHEMA):
            pass
    n_dropped = len(subset.reasons)
    return {"documents": len(subset.goes) - n_dropped, "dropped": n_dropped}


def _write(subset: Subset, shard: Shard) -> None:
    rules = subset.rules or (subset.rule,) * len(subset.reasons)
    row = n_gone = 0
    with (
        new_table(shard.path("documents"), pq.read_schema(subset.path)) as documents,
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
    ):
        for batch in batches(subset.path):
            goes = subset.goes[row : row + len(batch)]
            row += len(batch)
            if goes.any():
                gone = batch.select(DROPPED_SCHEMA.names[:-2]).filter(flag_array(goes))
                end = n_gone + len(gone)
                why = [string_array(each[n_gone:end]) for each in (rules, subset.reasons)]
                n_gone = end
                dropped.add_batch(
                    pa.RecordBatch.from_arrays([*gone.columns, *why], schema=DROPPED_SCHEMA)
                )
                batch = batch.filter(flag_array(~goes))
            documents.add_batch(batch)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
