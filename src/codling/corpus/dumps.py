"""Corpora as sources: Parquet and JSONL files in the schemas of The Stack, one file per row.

Input: a file of rows with content, path, repository and licences, under the usual names of these
columns. Output: batches of rows that collect.py turns into documents; memory holds one batch.

    content                 content, text, code
    path                    path, max_stars_repo_path, file_path, filename, url
    repository              repo_name, max_stars_repo_name, repository, repo
    licences                license, licenses, max_stars_repo_licenses, detected_licenses
    time of last change     changed_at, committer_date, revision_date

Not here: downloading such corpora.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.errors import ConfigError, SourceError
from codling.core.foreign_json import lines, parse_row
from codling.corpus.license_metadata import expression, join
from codling.corpus.prose_text import decode

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".json.gz", ".ndjson")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "content": ("content", "text", "code"),
    "path": ("path", "max_stars_repo_path", "file_path", "filename", "url"),
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


def read_dump(path: Path, name: str, mapped: Sequence[str] = ()) -> Iterator[DumpRow]:
    """The rows of a corpus file; SourceError if it is damaged or lacks contents or paths.

    Rows without a repository belong to `name`; without a path they are numbered. `mapped` names
    columns that are called otherwise: "content=body". Lines of JSON may be in GB 18030.
    """
    columns = columns_of(mapped)
    try:
        is_parquet = path.name.endswith(".parquet")
        rows = _parquet_rows(path, columns) if is_parquet else _json_rows(path)
        for number, row in enumerate(rows):
            content = _first(row, columns["content"])
            if not isinstance(content, str):
                names = ", ".join(columns["content"])
                raise SourceError(f"{path}: row {number} has no text in {names}")
            yield DumpRow(
                repo=str(_first(row, columns["repo"]) or name),
                path=str(_first(row, columns["path"]) or f"{number}.txt").lstrip("/"),
                content=content,
                license=_license(_first(row, columns["license"])),
                changed_at=_second(_first(row, columns["changed_at"])),
            )
    except (pa.ArrowException, ValueError) as error:
        raise SourceError(f"{path} is damaged: {' '.join(str(error).split())[:120]}") from None


def columns_of(mapped: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names of every column, those of the user first.

    >>> columns_of(["content=body"])["content"][:2]
    ('body', 'content')
    """
    found = dict(COLUMNS)
    for each in mapped:
        what, _, name = each.partition("=")
        if what not in COLUMNS or not name:
            known = ", ".join(COLUMNS)
            raise ConfigError(f"columns: {each!r} is not WHAT=NAME; WHAT is one of {known}")
        found[what] = (name, *COLUMNS[what])
    return found


def _parquet_rows(path: Path, columns: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        known = {alias for aliases in columns.values() for alias in aliases}
        names = [name for name in file.schema_arrow.names if name in known]
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in lines(path):
        row = parse_row(decode(line) or line, f"{path} line {number}")
        if not isinstance(row, dict):
            raise SourceError(f"{path}: line {number} is no object")
        yield row


def _first(row: Mapping[str, Any], names: Sequence[str]) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _license(stated: object) -> str:
    """A stated licence as an SPDX expression; "" if not understood.

    A list names what was found in a repository: all of it holds.
    """
    names = stated if isinstance(stated, list) else [stated]
    found = [known for name in names if (known := expression(name))]
    return join(found, "AND") if found and len(found) == len(names) else ""


def _second(stated: object) -> int | None:
    """A stated time (a number of seconds, a date, or its ISO form) in Unix seconds."""
    if isinstance(stated, str):
        stated = datetime.fromisoformat(stated)
    if isinstance(stated, datetime):
        return int((stated if stated.tzinfo else stated.replace(tzinfo=UTC)).timestamp())
    return int(stated) if isinstance(stated, int | float) else None
