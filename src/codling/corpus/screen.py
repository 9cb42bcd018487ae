"""The stage `screen`: documents that do not parse leave the corpus.

Input: an artefact of kind "documents". Output: kind "documents" again, and `dropped-*.parquet`,
where each row says which share of the file's bytes is in error.

Not here: parsing (syntax.py). Languages without a grammar pass, and are counted.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from codling.core.artifact import Artifact, Draft, open_artifact, produce
from codling.core.shards import Counts, Shard, map_shards
from codling.corpus.counts import nested
from codling.corpus.graph_config import ScreenConfig
from codling.corpus.shingle_store import batch_rows
from codling.corpus.subset import Subset, write_subset
from codling.corpus.syntax import error_share

STAGE_VERSION = 1


def screen(config: ScreenConfig) -> Artifact:
    """Remove documents that do not parse: Python by its own parser, others by tree-sitter.

    Example: codling data screen --documents-dir run/unique --out-dir run/screened
    """
    documents = open_artifact(config.documents_dir, "documents")

    def work(draft: Draft) -> None:
        tasks = [Task(p, config) for p in documents.files("documents-*.parquet")]
        counts = map_shards(
            draft, tasks, screen_shard, workers=config.workers, label="screen", ray=config.ray
        )
        draft.counts |= nested(counts)

    return produce(
        config.out_dir,
        kind="documents",
        version=STAGE_VERSION,
        config=config,
        inputs=[documents],
        work=work,
    )


@dataclass(frozen=True)
class Task:
    """A shard to screen."""

    path: Path
    config: ScreenConfig


def screen_shard(task: Task, shard: Shard) -> Counts:
    """Publish one shard without the documents whose share of errors is too large."""
    counts: Counter[str] = Counter()
    goes: list[bool] = []
    reasons: list[str] = []
    with pq.ParquetFile(task.path) as file:
        columns = ["language", "path", "content"]
        for batch in file.iter_batches(batch_rows(file), columns=columns):
            for row in batch.to_pylist():
                share = error_share(row["language"], row["path"], row["content"])
                limit = (
                    0.0 if row["language"] in task.config.strict else task.config.max_error_share
                )
                goes.append(share is not None and share > limit)
                if share is None:
                    counts[f"without_grammar/{row['language']}"] += 1
                elif goes[-1]:
                    reasons.append(f"{share:.4f}")
                    counts[f"dropped_by_language/{row['language']}"] += 1
    subset = Subset(task.path, "syntax", np.array(goes, np.bool_), tuple(reasons))
    counts.update(write_subset(subset, shard))
    return dict(counts)
