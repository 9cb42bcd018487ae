"""Rows of JSONL or Parquet files that hold texts: pages with their addresses, labelled examples.

Input: files, and the columns that must be there. Output: rows, file after file.

Not here: what the rows are used for (recall.py, quality.py).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import Input, sha256_of
from codling.core.errors import SourceError


def read_texts(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of all files; SourceError names the file and line that lacks a column."""
    for path in paths:
        for number, row in enumerate(_rows(path, columns), 1):
            if not isinstance(row, dict) or any(row.get(c) is None for c in columns):
                raise SourceError(f"{path}: row {number} must have {' and '.join(columns)}")
            yield row


def as_inputs(paths: Sequence[Path]) -> list[Input]:
    """The files as inputs of an artefact, by their contents."""
    for path in paths:
        if not path.is_file():
            raise SourceError(f"no file at {path}")
    return [Input(kind="source", id=sha256_of(p)[:16], path=str(p.absolute())) for p in paths]


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=256, columns=list(columns)):
                    yield from batch.to_pylist()
            return
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except (ValueError, pa.ArrowInvalid) as error:
        raise SourceError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
