"""Writing tables row by row: the part of a shard in memory stays small however large the shard is.

Input: rows. Output: one Parquet file (zstd), complete or not at all. Not here: reading
(core/shards.py) and the schemas (schemas.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.files import replace_file

GROUP_CHARS = 8_000_000
"""A row group is written when its text has this many characters ..."""
GROUP_ROWS = 20_000
"""... or when it has this many rows."""


_REPEATED = ("source", "repo", "language", "license", "license_from", "split", "rule", "kind")
"""Columns in which the same values come again and again."""


class TableWriter:
    """Collects rows and writes a row group whenever enough have come."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        repeated = [name for name in _REPEATED if name in schema.names]
        self._file = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=repeated,
            write_statistics=repeated,
        )
        self._schema = schema
        self._columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        self._batches: list[pa.RecordBatch] = []
        self._size = 0
        self.n_rows = 0

    def add(self, row: dict[str, Any], n_chars: int = 0) -> None:
        """One more row, of which `n_chars` is the size of its long text."""
        for name, values in self._columns.items():
            values.append(row[name])
        self._size += n_chars
        self.n_rows += 1
        if self._size >= GROUP_CHARS or len(values) >= GROUP_ROWS:
            self._flush()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """A batch of rows (do not mix with `add`)."""
        self._batches.append(batch)
        self._size += batch.nbytes
        self.n_rows += len(batch)
        if self._size >= GROUP_CHARS:
            self._flush()

    def close(self) -> None:
        """Write what is left and the end of the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if any(self._columns.values()):
            self._file.write_table(pa.Table.from_pydict(self._columns, schema=self._schema))
        if any(len(batch) for batch in self._batches):
            table = pa.Table.from_batches(self._batches, self._schema)
            self._file.write_table(table, row_group_size=len(table))
        self._columns = {name: [] for name in self._columns}
        self._batches, self._size = [], 0


@contextmanager
def new_table(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """A writer for the table at `path`, which appears there when the block ends without error."""
    with replace_file(path) as temporary:
        writer = TableWriter(temporary, schema)
        try:
            yield writer
        finally:
            writer.close()
