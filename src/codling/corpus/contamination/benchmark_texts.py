"""The texts of benchmark files, whatever their format.

Input: files or folders with JSONL, JSON, Parquet or CSV, also compressed with gzip. Output: every
text with the file, the field and the row that it comes from.

An insertion task is a text cut into prefix, middle and suffix. Its pieces are lines such as `for i
in range(n)`, which are in every third file: they are joined again, and the whole is what is looked
for. The arguments of a test (strings in lists of lists) are no texts of their own either.

Not here: what is looked for in which way (decontaminate.py).
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_json import MAX_TABLE_BYTES, read_bytes, read_rows

_ENDINGS = (".jsonl", ".json", ".parquet", ".csv", ".jsonl.gz", ".json.gz", ".csv.gz")
_PREFIXES = ("prompt", "prefix")
_MIDDLES = ("canonical_solution", "middle", "ground_truth")
_SUFFIX = "suffix"
_HOLE = "{{completion}}"
"""SAFIM's mark for the middle within the rest."""


@dataclass(frozen=True)
class BenchmarkText:
    """One string of a benchmark."""

    file: str
    field: str
    row: int
    text: str
    alone: bool = True
    """Whether it tells of the benchmark where it is short; an argument of a test does not."""

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
            named = {k: v for k, v in values.items() if k in fields} if fields else values
            for field, value in join_insertion(named).items():
                for text, depth in _strings(value):
                    yield BenchmarkText(path.name, field, number, text, alone=depth < 2)
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"cannot read the benchmark {path}: {error}") from None


def join_insertion(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """An insertion task with its pieces joined to the text that they were cut from; other rows as
    they are.

    >>> join_insertion({"prompt": "a = ", "suffix": " + 1", "canonical_solution": "b", "id": "x"})
    {'prompt+canonical_solution+suffix': 'a = b + 1', 'id': 'x'}
    """
    texts = {field: value for field, value in row.items() if isinstance(value, str)}
    middle = next((field for field in _MIDDLES if field in texts), "")
    prefix = next((field for field in _PREFIXES if field in texts), "")
    if prefix and _SUFFIX in texts:
        pieces = [field for field in (prefix, middle, _SUFFIX) if field]
        rest = {field: value for field, value in row.items() if field not in pieces}
        return {"+".join(pieces): "".join(texts[field] for field in pieces), **rest}
    if middle and any(_HOLE in text for text in texts.values()):
        filled = {f: text.replace(_HOLE, texts[middle]) for f, text in texts.items()}
        return {f: filled.get(f, value) for f, value in row.items() if f != middle}
    return row


def _rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "csv":
        data = read_bytes(path, max_bytes=MAX_TABLE_BYTES, unpack=True)
        for cells in csv.reader(io.StringIO(data.decode("utf-8", "replace"))):
            yield {str(i): cell for i, cell in enumerate(cells)}
    else:
        yield from read_rows(path)


def _strings(value: object, depth: int = 0) -> Iterator[tuple[str, int]]:
    """The strings within a value, and how many lists each stands in."""
    if isinstance(value, str):
        yield value, depth
    elif isinstance(value, dict):
        for each in join_insertion(value).values():
            yield from _strings(each, depth)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, depth + 1)
