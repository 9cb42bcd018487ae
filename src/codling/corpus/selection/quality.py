"""Stage quality: a small model of what is worth learning from, trained on labelled examples.

Input: JSONL or Parquet rows with text and label (1 or true: good). Output: artefact "quality" with
weights-00000.parquet (place, weight) and model.json (bias, settings, accuracy on examples that were
kept from training). With documents it also scores them: table scores (source, repo, path, score).

Not here: dropping documents by their scores.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import Artifact, Draft, open_artifact, read_own
from codling.core.errors import ConfigError
from codling.core.files import write_json
from codling.core.ranges import ProperShare
from codling.core.recipe import aside
from codling.core.shards import Counts, Parallel, Shard, map_shards, write_table
from codling.core.stage import Work, stage
from codling.corpus.selection.linear import Linear, LinearConfig, features, train
from codling.corpus.selection.rows import as_inputs, read_texts
from codling.corpus.tables.writer import new_table

SCORE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class QualityConfig(Parallel):
    """Settings of `codling data quality`."""

    examples: tuple[Path, ...] = aside()
    """JSONL or Parquet files with text and label (1 or true: good, 0 or false: not)."""
    out_dir: Path = aside()
    """Where the model goes."""
    documents_dir: Path | None = aside(None)
    """Artefact "documents" to score with the model."""
    test_share: ProperShare = 0.2
    """Share of the examples that measure the model and do not train it."""
    linear: LinearConfig = field(default_factory=LinearConfig)


@dataclass(frozen=True)
class QualityTask:
    """A table of documents to score."""

    documents: Path
    model: Path
    """A classifier, as Linear.save wrote it."""
    config: LinearConfig


@dataclass(frozen=True)
class QualityModel:
    """A model as it lies on disk."""

    linear: Linear
    config: LinearConfig

    def score(self, texts: Sequence[str]) -> list[float]:
        """The probability that each text is good."""
        return [float(s) for s in self.linear.score(list(features(texts, self.config)))]


@stage("quality", version=3)
def quality(config: QualityConfig) -> Work:
    """Train a small quality model on labelled examples, and score documents with it.

    Example:
        codling data quality --examples labelled.jsonl --out-dir runs/quality
    """
    inputs = as_inputs(config.examples)
    documents = open_artifact(config.documents_dir, "documents") if config.documents_dir else None
    draft = yield [*inputs, *([documents] if documents else [])]
    rows = list(read_texts(config.examples, ("text", "label")))
    is_test = [_draw(row["text"]) < config.test_share for row in rows]
    train_rows = [r for r, t in zip(rows, is_test, strict=True) if not t]
    texts, labels = [r["text"] for r in train_rows], [_label(r["label"]) for r in train_rows]
    linear = train(list(features(texts, config.linear)), labels, config.linear)
    model = QualityModel(linear, config.linear)
    test_rows = [r for r, t in zip(rows, is_test, strict=True) if t]
    right = [
        (s >= 0.5) == _label(r["label"])
        for s, r in zip(model.score([r["text"] for r in test_rows]), test_rows, strict=True)
    ]
    if documents:
        _score_all(documents, model, draft, config)
    _write(model, draft, sum(right) / len(right) if right else None)
    draft.counts |= {"examples": len(train_rows), "tested": len(test_rows), "right": sum(right)}


def open_quality(path: Path) -> QualityModel:
    """The model of an artefact of kind "quality"."""
    folder = open_artifact(path, "quality").path
    stored = read_own(folder / "model.json")
    config = LinearConfig(**stored["linear"])
    table = pq.read_table(folder / "weights-00000.parquet")
    weights = np.zeros(2**config.bits, np.float32)
    weights[table["place"].to_numpy()] = table["weight"].to_numpy()
    return QualityModel(Linear(weights, stored["bias"]), config)


def _write(model: QualityModel, draft: Draft, accuracy: float | None) -> None:
    places = np.flatnonzero(model.linear.weights)
    table = pa.table({"place": places, "weight": model.linear.weights[places]})
    write_table(draft.file("weights-00000.parquet"), table)
    stored = {"bias": model.linear.bias, "linear": asdict(model.config), "accuracy": accuracy}
    write_json(draft.file("model.json"), stored)


def score_shard(task: QualityTask, shard: Shard) -> Counts:
    """Score the documents of one table."""
    model = QualityModel(Linear.load(task.model), task.config)
    names = ["source", "repo", "path", "content"]
    with (
        new_table(shard.path("scores"), SCORE_SCHEMA) as scores,
        pq.ParquetFile(task.documents) as file,
    ):
        for batch in file.iter_batches(batch_size=256, columns=names):
            rows = batch.to_pylist()
            found = model.score([r.pop("content") for r in rows])
            for row, score in zip(rows, found, strict=True):
                scores.add({**row, "score": score})
    return {"scored": scores.n_rows}


def _score_all(
    documents: Artifact, model: QualityModel, draft: Draft, config: QualityConfig
) -> None:
    stored = draft.inner("model").path / "model.npy"
    model.linear.save(stored)
    paths = documents.files("documents-*.parquet")
    tasks = [QualityTask(path, stored, config.linear) for path in paths]
    draft.counts |= map_shards(draft, tasks, score_shard, config, label="score")


def _label(value: Any) -> bool:  # noqa: ANN401  whatever the file holds
    if value in (0, 1, "0", "1"):
        return bool(int(value))
    raise ConfigError(f"quality: label {value!r} is not 1 (good) or 0")


def _draw(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
