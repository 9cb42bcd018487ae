"""Reading a table of documents in a bounded part of memory, however long a document is.

Input: a Parquet file with DOCUMENT_SCHEMA. Output: batches of rows with about a given number of
bytes of text (at least one row each), and texts as Arrow buffers that never become Python strings.

Not here: writing (writer.py) and what is done with the rows.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

BATCH_BYTES = 8_000_000
"""About this much text is in memory at a time, and always at least one document."""
BATCH_ROWS = 20_000
HUGE_GROUP_BYTES = 64_000_000
"""Tables are written in groups of 8 MB of text: a larger one holds a huge document."""

_HUGE = threading.Lock()


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a table of documents, about BATCH_BYTES at a time."""
    with pq.ParquetFile(path) as file, take_turn(file):
        yield from file.iter_batches(
            batch_rows(file), columns=columns and list(columns), use_threads=False
        )


def text_columns(path: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """The texts of a table of documents, batch by batch, as bytes and offsets, not copied."""
    for batch in batches(path, ["content"]):
        yield buffers(batch.column(0))


def buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(bytes, offsets) of a column of strings, as the compiled loops take them."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1]
    # A batch of empty texts has no data buffer.
    return np.frombuffer(data or b"", np.uint8), ends.astype(np.int64)


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Short columns of a table of documents as a whole."""
    with pq.ParquetFile(path) as file:
        return file.read(columns=list(names), use_threads=False)


def integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A column of 64-bit integers without nulls."""
    whole = column.combine_chunks()
    values = np.frombuffer(whole.buffers()[1] or b"", np.int64)
    return values[whole.offset : whole.offset + len(whole)]


# pa.array and to_numpy import pandas the first time, where it is installed: 0.2 seconds of a short
# run. These do not.


def flag_array(flags: NDArray[np.bool_]) -> pa.Array:
    """Flags as an Arrow array."""
    bits = pa.py_buffer(np.packbits(flags, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, bits])


def integer_array(values: NDArray[np.int64]) -> pa.Array:
    """Numbers as an Arrow array."""
    data = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, data])


def string_array(texts: Sequence[str]) -> pa.Array:
    """Strings as an Arrow array."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


@contextmanager
def take_turn(file: pq.ParquetFile) -> Iterator[None]:
    """Threads read tables with huge row groups one after the other, and give the memory back."""
    metadata = file.metadata
    sizes = (metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
    if max(sizes, default=0) <= HUGE_GROUP_BYTES:
        yield
        return
    with _HUGE:
        yield
        pa.default_memory_pool().release_unused()


def batch_rows(file: pq.ParquetFile) -> int:
    """How many rows of a table of documents make about BATCH_BYTES."""
    n_bytes = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
    rows = BATCH_BYTES * file.metadata.num_rows // max(1, n_bytes)
    return int(max(1, min(BATCH_ROWS, rows)))
