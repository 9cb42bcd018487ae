"""Corpora as sources: Parquet and JSONL files in the schemas of The Stack, one file per row.

Input: a file of rows with content, path, repository and licences, under the usual names of these
columns. Output: batches of rows that collect.py turns into documents; memory holds one batch.

    content                 content, text, code
    path                    path, max_stars_repo_path, file_path, filename
    repository              repo_name, max_stars_repo_name, repository, repo
    licences                license, licenses, max_stars_repo_licenses, detected_licenses
    time of last change     changed_at, committer_date, revision_date

Not here: downloading such corpora.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.errors import SourceError
from codling.corpus.license_metadata import expression, join

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".json.gz", ".ndjson")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "content": ("content", "text", "code"),
    "path": ("path", "max_stars_repo_path", "file_path", "filename"),
    "repo": ("repo_name", "max_stars_repo_name", "repository", "repo"),
    "license": ("license", "licenses", "max_stars_repo_licenses", "detected_licenses"),
    "changed_at": ("changed_at", "committer_date", "revision_date"),
}
"""What a row is made of, and the names that the columns may have, the first that is there."""
BATCH_ROWS = 256


@dataclass(frozen=True)
class DumpRow:
    """One file of a corpus."""

    repo: str
    path: str
    content: str
    license: str
    """SPDX expression as the corpus states it, or ""."""
    changed_at: int | None = None
    """Unix seconds of the last change, where the corpus has them."""


def read_dump(path: Path, name: str) -> Iterator[DumpRow]:
    """The rows of a corpus file; SourceError if it is damaged or lacks contents or paths.

    Rows without a repository belong to `name`; without a path they are numbered.
    """
    try:
        rows = _parquet_rows(path) if path.name.endswith(".parquet") else _json_rows(path)
        for number, row in enumerate(rows):
            content = _first(row, "content")
            if not isinstance(content, str):
                raise SourceError(
                    f"{path}: row {number} has no text in {', '.join(COLUMNS['content'])}"
                )
            yield DumpRow(
                repo=str(_first(row, "repo") or name),
                path=str(_first(row, "path") or f"{number}.txt").lstrip("/"),
                content=content,
                license=_license(_first(row, "license")),
                changed_at=_second(_first(row, "changed_at")),
            )
    except (pa.ArrowException, ValueError, EOFError, gzip.BadGzipFile) as error:
        raise SourceError(f"{path} is damaged: {' '.join(str(error).split())[:120]}") from None


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        known = {alias for aliases in COLUMNS.values() for alias in aliases}
        columns = [name for name in file.schema_arrow.names if name in known]
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as plain:
        lines = gzip.GzipFile(fileobj=plain) if path.suffix == ".gz" else plain
        for line in lines:
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise SourceError(f"{path}: a line is no object")
                yield row


def _first(row: Mapping[str, Any], what: str) -> object:
    return next((row[name] for name in COLUMNS[what] if row.get(name) is not None), None)


def _license(stated: object) -> str:
    """A stated licence, or several to choose from, as an SPDX expression; "" if not understood."""
    names = stated if isinstance(stated, list) else [stated]
    found = [known for name in names if (known := expression(name))]
    return join(found, "OR") if found and len(found) == len(names) else ""


def _second(stated: object) -> int | None:
    """A stated time (a number of seconds, a date, or its ISO form) in Unix seconds."""
    if isinstance(stated, str):
        stated = datetime.fromisoformat(stated)
    if isinstance(stated, datetime):
        return int((stated if stated.tzinfo else stated.replace(tzinfo=UTC)).timestamp())
    return int(stated) if isinstance(stated, int | float) else None
