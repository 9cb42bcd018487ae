"""The texts of benchmark files, whatever their format.

Input: files or folders with JSONL, JSON, Parquet or CSV, also compressed with gzip. Output: every
text with the file, the field and the row that it comes from.

Not here: what is looked for in which way (decontaminate.py).
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_json import MAX_TABLE_BYTES, read_bytes, read_rows

_ENDINGS = (".jsonl", ".json", ".parquet", ".csv", ".jsonl.gz", ".json.gz", ".csv.gz")


@dataclass(frozen=True)
class BenchmarkText:
    """One string of a benchmark."""

    file: str
    field: str
    row: int
    text: str

    @property
    def name(self) -> str:
        """Where it stands, for reports."""
        return f"{self.file}:{self.row}:{self.field}"


def benchmark_files(paths: Sequence[Path]) -> list[Path]:
    """The benchmark files at `paths` and in folders; SourceError if one is missing or empty."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise SourceError(f"no benchmark at {path}")
        inside = files_below(path) if path.is_dir() else [path]
        files = [p for p in inside if p.is_file() and p.name.endswith(_ENDINGS)]
        if not files:
            raise SourceError(f"{path} holds no file that ends in {', '.join(_ENDINGS)}")
        found.extend(files)
    return found


def read_texts(path: Path, fields: Sequence[str]) -> Iterator[BenchmarkText]:
    """The strings of one file, nested ones too; of the `fields`, or of all if there are none named.

    Raises SourceError if the file cannot be read.
    """
    try:
        for number, row in enumerate(_rows(path)):
            values = row if isinstance(row, dict) else {"": row}
            for field, value in values.items():
                if not fields or field in fields:
                    for text in _strings(value):
                        yield BenchmarkText(path.name, field, number, text)
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"cannot read the benchmark {path}: {error}") from None


def _rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "csv":
        data = read_bytes(path, max_bytes=MAX_TABLE_BYTES, unpack=path.suffix == ".gz")
        for cells in csv.reader(io.StringIO(data.decode("utf-8", "replace"))):
            yield {str(i): cell for i, cell in enumerate(cells)}
    else:
        yield from read_rows(path)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
