"""The judgement of files: licence gate, filters, redaction; some MB of text at a time.

Input: rows of the table documents of "raw". Output: which rows stay; those that are dropped, with
rule and value; and what is to be replaced in those that stay.

Line statistics and marks come from compiled loops over all bytes of the rows at once. Thresholds
are then compared with whole columns: only rows that a rule may drop, or in which a search may find
something, become Python strings and are asked one by one, by the same rules (`drop_reason`) and
searches (`find_edits`). Where loading the compiled loops would take longer than the work, every row
is asked, with the plain loops; the result is the same, and a test holds the one to the other.

Not here: duplicates and the files on disk (clean.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codling.corpus.config import CleanConfig
from codling.corpus.filters import marks
from codling.corpus.filters.line_stats import LineStats, line_stats
from codling.corpus.filters.profiles import LONG_LINE, Thresholds, thresholds
from codling.corpus.filters.rules import FileText, Reason, drop_reason
from codling.corpus.licenses.notices import allowed_licenses, license_reason
from codling.corpus.redaction.redact import Edit, RedactConfig, find_edits
from codling.corpus.redaction.secrets import ANCHORS, ASSIGNED_BIT, PRIVATE_KEY_BIT
from codling.corpus.tables.reader import buffers
from codling.corpus.tables.schemas import DROPPED_SCHEMA

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BatchVerdicts:
    """The verdicts on one batch."""

    stays: Mask
    dropped: pa.RecordBatch
    """Rows of the table of dropped files."""
    edits: dict[int, list[Edit]]
    """Row of the batch -> what is replaced in its text."""


@dataclass(frozen=True)
class ColumnMeasures:
    """What the loops over bytes found, one entry per row."""

    stats: NDArray[np.int64]
    """[rows, fields of LineStats]."""
    marks: NDArray[np.uint8]
    formats: NDArray[np.uint64]
    base64: NDArray[np.int64] | None
    """Longest run and sum; None if it was not looked for: then every row is asked."""


class Judge:
    """Judges batches of documents by one config."""

    def __init__(self, config: CleanConfig, *, compiled: bool) -> None:
        self._config = config
        self._compiled = compiled
        self._limits = thresholds(config.filters)
        self._languages = frozenset(config.filters.languages)
        self._allowed = allowed_licenses(config.licenses)

    def judge(self, batch: pa.RecordBatch) -> BatchVerdicts:
        """The verdict on every row of a batch with DOCUMENT_SCHEMA."""
        column = batch["content"]
        measures = measure_column(column) if self._compiled else measure_texts(column.to_pylist())
        reasons = self._apply_license_gate(batch["license"])
        asked = self._suspects(batch["language"], measures)
        asked[list(reasons)] = False
        for i in np.flatnonzero(asked).tolist():
            stats, mark = LineStats(*measures.stats[i].tolist()), int(measures.marks[i])
            language, path = batch["language"][i].as_py(), batch["path"][i].as_py()
            file = FileText(language, path, column[i].as_py(), stats, mark)
            if reason := drop_reason(file, self._limits, self._languages):
                reasons[i] = reason
        stays = np.ones(len(batch), np.bool_)
        stays[list(reasons)] = False
        return BatchVerdicts(
            stays, dropped_rows(batch, reasons), self._edits(column, measures, stays)
        )

    def _apply_license_gate(self, licenses: pa.Array) -> dict[int, Reason]:
        """The rows that do not pass the licence gate."""
        names, codes = _encode_column(licenses)
        allow_unknown = self._config.licenses.allow_unknown
        found = (license_reason(n, self._allowed, allow_unknown=allow_unknown) for n in names)
        reasons = [reason and Reason(*reason) for reason in found]
        fails = np.array([reason is not None for reason in reasons], np.bool_)[codes]
        return {i: r for i in np.flatnonzero(fails).tolist() if (r := reasons[codes[i]])}

    def _suspects(self, languages: pa.Array, measures: ColumnMeasures) -> Mask:
        """The rows that some rule may drop; all others, every rule lets pass."""
        names, codes = _encode_column(languages)
        if measures.base64 is None:
            return np.ones(len(codes), np.bool_)
        may = Suspicion(self._limits, measures, names, codes)
        chosen = ~may.of(self._languages) if self._languages else np.False_
        return may.lengths() | may.shares() | may.data() | may.marks() | may.slow() | chosen

    def _edits(
        self, column: pa.Array, measures: ColumnMeasures, stays: Mask
    ) -> dict[int, list[Edit]]:
        """What is replaced in the rows that stay."""
        redact = self._config.redact
        asked = stays & (measures.marks & _wanted_marks(redact) != 0)
        if redact.secrets:
            asked |= stays & (measures.formats != 0)
        found = {}
        for i in np.flatnonzero(asked).tolist():
            mark, formats = int(measures.marks[i]), int(measures.formats[i])
            if edits := find_edits(column[i].as_py(), redact, mark, formats):
                found[i] = edits
        return found


@dataclass(frozen=True)
class Suspicion:
    """The rules of rules.py over whole columns: never False for a row that a rule would drop."""

    limits: Thresholds
    measures: ColumnMeasures
    names: Sequence[str]
    codes: NDArray[np.int64]

    def of(self, languages: frozenset[str] | set[str]) -> Mask:
        """The rows in one of some languages."""
        inside: Mask = np.array([name in languages for name in self.names], np.bool_)[self.codes]
        return inside

    def lengths(self) -> Mask:
        """mean-line, max-line, lines."""
        limits, stats = self.limits, self.measures.stats
        may_be_long = self.of(limits.long_lines_languages)
        n_lines, longest, total = stats[:, 1], stats[:, 2], stats[:, 3]
        found = np.zeros(len(stats), np.bool_)
        if limits.max_mean_line is not None:
            found |= ~may_be_long & (total / np.maximum(1, n_lines) > limits.max_mean_line)
        if limits.max_line is not None:
            found |= longest > np.where(may_be_long, LONG_LINE, limits.max_line)
        if limits.max_lines is not None:
            found |= n_lines > limits.max_lines
        return found

    def shares(self) -> Mask:
        """alphabetic, digits, spaces."""
        limits, stats = self.limits, self.measures.stats
        n_chars = np.maximum(1, stats[:, 0])
        letters = stats[:, 5] if limits.counts_digits else stats[:, 4]
        found = np.zeros(len(stats), np.bool_)
        if limits.min_alphabetic is not None:
            found |= letters / n_chars < limits.min_alphabetic
        if limits.max_digits is not None:
            found |= stats[:, 6] / n_chars > limits.max_digits
        if limits.max_spaces is not None:
            found |= stats[:, 7] / n_chars > limits.max_spaces
        return found

    def data(self) -> Mask:
        """data-size."""
        low, high = self.limits.min_data_chars, self.limits.max_data_chars
        n_chars = self.measures.stats[:, 0]
        is_short = n_chars < low if low is not None else np.False_
        is_long = n_chars > high if high is not None else np.False_
        return self.of({"json", "yaml"}) & (is_short | is_long)

    def marks(self) -> Mask:
        """xml, generated, encoded."""
        limits, measures = self.limits, self.measures
        wanted = marks.XML * limits.drop_xml | marks.GENERATED * limits.drop_generated
        found: Mask = measures.marks & wanted != 0
        run, share = limits.max_encoded_run, limits.max_encoded_share
        if run is not None or share is not None:
            found |= measures.marks & marks.CODED != 0
        assert measures.base64 is not None
        if run is not None:
            found |= measures.base64[:, 0] > run
        if share is not None:
            found |= measures.base64[:, 1] > share * measures.stats[:, 0]
        return found

    def slow(self) -> Mask:
        """html-visible, and the rules that have to read the text anyway."""
        limits = self.limits
        found = self.of({"html"})
        if limits.parse_python:
            found |= self.of({"python"})
        slow = (limits.max_hex_words, limits.max_repeated, limits.min_comments, limits.max_comments)
        return found | any(limit is not None for limit in slow)


def measure_column(column: pa.Array) -> ColumnMeasures:
    """What the compiled loops find in the texts of a column."""
    from codling.corpus import marks_kernel
    from codling.corpus.filters import line_stats_kernel

    data, offsets = buffers(column)
    found = marks_kernel.mark(data, offsets, ANCHORS, pem=PRIVATE_KEY_BIT, named=ASSIGNED_BIT)
    return ColumnMeasures(line_stats_kernel.count(data, offsets), *found)


def measure_texts(texts: Sequence[str]) -> ColumnMeasures:
    """The same without compiled loops: what is slow to find may be anywhere."""
    stats = np.array([line_stats(text) for text in texts], np.int64)
    marked = np.array([marks.plain_marks(text) for text in texts], np.uint8)
    anywhere = np.full(len(texts), np.iinfo(np.uint64).max)
    return ColumnMeasures(stats.reshape(len(texts), len(LineStats._fields)), marked, anywhere, None)


def dropped_rows(batch: pa.RecordBatch, reasons: dict[int, Reason]) -> pa.RecordBatch:
    """The rows of the table of dropped files, in order."""
    rows = sorted(reasons)
    gone = batch.select(DROPPED_SCHEMA.names[:-2]).take(pa.array(rows, pa.int64()))
    rule = pa.array([reasons[i].rule for i in rows], pa.string())
    value = pa.array([reasons[i].value for i in rows], pa.string())
    return pa.RecordBatch.from_arrays([*gone.columns, rule, value], schema=DROPPED_SCHEMA)


def _wanted_marks(config: RedactConfig) -> int:
    return (
        marks.URL * config.secrets
        | marks.EMAIL * config.emails
        | (marks.IPV4 | marks.IPV6) * config.addresses
    )


def _encode_column(column: pa.Array) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct values of a column, and for each row the number of its value."""
    coded = pc.dictionary_encode(column)
    return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
