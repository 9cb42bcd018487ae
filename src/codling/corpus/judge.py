"""The judgement of files: licence gate, filters, redaction; some hundred rows at a time.

Input: rows of the table documents of "raw". Output: those that stay, redacted; those that are
dropped, with rule and value; and where something was redacted.

Line statistics and marks come from compiled loops over all bytes of the rows at once, or, where
loading these would take longer than the work, from plain Python; the result is the same.

Not here: duplicates and the files on disk (clean.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codling.corpus.config import CleanConfig
from codling.corpus.document import DOCUMENT_SCHEMA
from codling.corpus.filters import FileText, Reason, drop_reason
from codling.corpus.licenses import UNKNOWN, allowed_licenses, is_permissive
from codling.corpus.linestats import LineStats, line_stats
from codling.corpus.marks import plain_marks
from codling.corpus.profiles import thresholds
from codling.corpus.redact import Redaction, redact
from codling.corpus.secrets import ANCHORS

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """The rows of one batch, told apart."""

    kept: pa.RecordBatch
    dropped: list[Row]
    redactions: list[Row]


class Judge:
    """Judges batches of documents by one config."""

    def __init__(self, config: CleanConfig, *, compiled: bool) -> None:
        self._config = config
        self._compiled = compiled
        self._limits = thresholds(config.filters)
        self._languages = frozenset(config.filters.languages)
        self._allowed = allowed_licenses(config.licenses)
        self._by_license: dict[str, Reason | None] = {}

    def judge(self, batch: pa.RecordBatch) -> Judged:
        """The verdict on every row of a batch with DOCUMENT_SCHEMA."""
        rows = batch.drop_columns(["content"]).to_pylist()
        texts = batch["content"].to_pylist()
        stats, marked, formats = self._look(batch["content"], texts)
        reasons: list[Reason | None] = []
        for row, text, stat, mark in zip(rows, texts, stats, marked, strict=True):
            file = FileText(row["language"], row["path"], text, stat, mark)
            reasons.append(
                self._license_reason(row["license"])
                or drop_reason(file, self._limits, self._languages)
            )
        stays = [reason is None for reason in reasons]
        redacted = {
            i: found
            for i, text in enumerate(texts)
            if stays[i] and (found := redact(text, self._config.redact, marked[i], formats[i]))[1]
        }
        dropped = [
            dropped_row(r, *reason) for r, reason in zip(rows, reasons, strict=True) if reason
        ]
        return Judged(
            _with_redactions(batch, redacted).filter(pa.array(stays)),
            dropped,
            [
                {name: rows[i][name] for name in ("source", "repo", "path")}
                | {"line": each.line, "kind": each.kind}
                for i, (_, made) in redacted.items()
                for each in made
            ],
        )

    def _look(
        self, column: pa.Array, texts: Sequence[str]
    ) -> tuple[list[LineStats], list[int], list[int]]:
        """Line statistics, marks and possible formats of secrets of every text."""
        if not self._compiled:
            return (
                [line_stats(t) for t in texts],
                [plain_marks(t) for t in texts],
                [-1] * len(texts),
            )
        from codling.corpus import byte_kernel

        data, offsets = _buffers(column)
        counts = byte_kernel.count(data, offsets)
        marked, formats = byte_kernel.mark(data, offsets, ANCHORS)
        return [LineStats(*row) for row in counts.tolist()], marked.tolist(), formats.tolist()

    def _license_reason(self, name: str) -> Reason | None:
        if name not in self._by_license:
            self._by_license[name] = self._gate(name)
        return self._by_license[name]

    def _gate(self, name: str) -> Reason | None:
        if name == UNKNOWN:
            is_allowed = self._config.licenses.allow_unknown
            return None if is_allowed else Reason("license-unknown", UNKNOWN)
        if is_permissive(name, self._allowed):
            return None
        return Reason("license-not-permissive", name)


def dropped_row(row: Row, rule: str, value: str) -> Row:
    """A document's row of the table of dropped files."""
    names = ("source", "repo", "path", "language", "license", "n_bytes")
    return {name: row[name] for name in names} | {"rule": rule, "value": value}


def _buffers(column: pa.Array) -> tuple[Any, Any]:
    """(bytes, offsets) of a column of strings, as the compiled loops take them."""
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data or b"", np.uint8), starts.astype(np.int64)


def _with_redactions(
    batch: pa.RecordBatch, redacted: dict[int, tuple[str, list[Redaction]]]
) -> pa.RecordBatch:
    """The batch with the new texts and their numbers of redactions."""
    if not redacted:
        return batch
    changed = pa.array([i in redacted for i in range(len(batch))])
    texts = pa.array([text for text, _ in redacted.values()], pa.string())
    numbers = pa.array([len(made) for _, made in redacted.values()], pa.int32())
    columns = {name: batch[name] for name in DOCUMENT_SCHEMA.names}
    columns["content"] = pc.replace_with_mask(batch["content"], changed, texts)
    columns["n_redactions"] = pc.replace_with_mask(batch["n_redactions"], changed, numbers)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=DOCUMENT_SCHEMA)
