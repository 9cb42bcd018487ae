"""corpus/tables/reader: tables of documents in bounded batches, and arrays made without pandas."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from codling.core.shards import write_table
from codling.corpus.tables import reader as columns
from codling.corpus.tables.reader import (
    batches,
    buffers,
    flag_array,
    integer_array,
    integers,
    read_columns,
    string_array,
    text_columns,
)


def table(path: Path, texts: list[str]) -> Path:
    write_table(path, pa.table({"content": texts, "n": list(range(len(texts)))}))
    return path


def cut(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> list[bytes]:
    return [data[start:end].tobytes() for start, end in pairwise(offsets)]


def test_arrays_equal_those_of_pyarrow() -> None:
    flags = np.array([True, False, True] * 7)
    assert flag_array(flags).equals(pa.array(flags))
    assert string_array(["a", "", "é中"]).equals(pa.array(["a", "", "é中"]))
    assert string_array([]).equals(pa.array([], pa.string()))
    assert integer_array(np.array([3, -1])).equals(pa.array([3, -1]))


def test_numbers_are_read_over_chunks() -> None:
    column = pa.chunked_array([pa.array([1, 2, 3]).slice(1), pa.array([4])])
    assert integers(column).tolist() == [2, 3, 4]


def test_batches_hold_about_so_many_bytes_and_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "BATCH_BYTES", 2000)
    texts = [chr(97 + i % 26) * 100 for i in range(100)]
    path = table(tmp_path / "t.parquet", texts)
    found = list(batches(path))
    assert len(found) > 2
    assert [t for b in found for t in b["content"].to_pylist()] == texts
    assert read_columns(path, ["n"])["n"].to_pylist() == list(range(100))


def test_a_text_longer_than_a_batch_is_a_batch_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "BATCH_BYTES", 10)
    path = table(tmp_path / "t.parquet", ["x" * 1000, "", "é"])
    found = [text for each in text_columns(path) for text in cut(*each)]
    assert found == [b"x" * 1000, b"", "é".encode()]


def test_buffers_of_a_slice_begin_at_its_first_text() -> None:
    assert cut(*buffers(pa.array(["ab", "cd", "ef"]).slice(1))) == [b"cd", b"ef"]


def test_reading_and_selecting_needs_no_pandas(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", ["a", "b"])
    program = f"""
import sys
from pathlib import Path
import numpy as np
from codling.corpus.tables.reader import *
found = read_columns(Path({str(path)!r}), ["n"])
integers(found["n"]); found.filter(flag_array(np.array([True, False]))); string_array(["a"])
list(text_columns(Path({str(path)!r})))
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
