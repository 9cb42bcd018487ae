"""Rows of JSONL or Parquet files that hold texts: pages with their addresses, labelled examples.

Input: files, and the columns that must be there. Output: rows, file after file, or slices of the
files that workers read for themselves.

Not here: what the rows are used for (recall.py, quality.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import Input
from codling.core.errors import SourceError
from codling.core.foreign_files import open_regular
from codling.core.foreign_json import MAX_LINE_BYTES, parse_row
from codling.core.inputs import source_input

PARQUET = ".parquet"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Slice:
    """A part of a file: the lines that begin in a range of bytes, or a range of row groups."""

    path: Path
    start: int
    stop: int


def read_texts(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of all files; SourceError names the file and line that lacks a column."""
    for path in paths:
        yield from read_slice(Slice(path, 0, path.stat().st_size), columns)


def slices(paths: Sequence[Path], n_bytes: int) -> Iterator[Slice]:
    """All files in slices of about `n_bytes`, wherever their rows end."""
    for path in paths:
        if path.suffix != PARQUET:
            size = path.stat().st_size
            for start in range(0, size, n_bytes):
                yield Slice(path, start, min(size, start + n_bytes))
            continue
        with _name_errors(path), pq.ParquetFile(path) as file:
            start = kept = 0
            for group in range(file.num_row_groups):
                kept += file.metadata.row_group(group).total_byte_size
                if kept >= n_bytes or group == file.num_row_groups - 1:
                    yield Slice(path, start, group + 1)
                    start, kept = group + 1, 0


def read_slice(part: Slice, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a slice; SourceError names the file and line that lacks a column."""
    where = f" after byte {part.start}" if part.start and part.path.suffix != PARQUET else ""
    for number, row in enumerate(_rows(part, columns), 1):
        if not isinstance(row, dict) or any(row.get(c) is None for c in columns):
            names = " and ".join(columns)
            raise SourceError(f"{part.path}: row {number}{where} must have {names}")
        yield row


def as_inputs(paths: Sequence[Path]) -> list[Input]:
    """The files as inputs of an artefact, by their contents."""
    for path in paths:
        if not path.is_file():
            raise SourceError(f"no file at {path}")
    return [source_input(path) for path in paths]


def _rows(part: Slice, columns: Sequence[str]) -> Iterator[Any]:
    with _name_errors(part.path):
        if part.path.suffix == PARQUET:
            with pq.ParquetFile(part.path) as file:
                groups = range(part.start, min(part.stop, file.num_row_groups))
                for batch in file.iter_batches(256, row_groups=groups, columns=list(columns)):
                    yield from batch.to_pylist()
            return
        for begin, line in _lines(part):
            if line.strip():
                yield parse_row(line, f"{part.path}, the line at byte {begin}")


def _lines(part: Slice) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in the slice, with their places; the last may end behind it."""
    with open_regular(part.path) as file:
        if part.start:
            file.seek(part.start - 1)
            while (piece := file.readline(_PIECE)) and not piece.endswith(b"\n"):
                pass
        while (begin := file.tell()) < part.stop and (line := file.readline(MAX_LINE_BYTES + 1)):
            if len(line) > MAX_LINE_BYTES:
                raise SourceError(
                    f"{part.path}: the line at byte {begin} has more than {MAX_LINE_BYTES:,} bytes"
                )
            yield begin, line


@contextmanager
def _name_errors(path: Path) -> Iterator[None]:
    """Errors of the readers as one line for the user."""
    try:
        yield
    except (ValueError, pa.ArrowInvalid) as error:
        raise SourceError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
