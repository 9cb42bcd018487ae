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
from codling.core.foreign_json import parse_lines
from codling.corpus.licenses.spdx import expression, join
from codling.corpus.sources.decode import decode
from codling.corpus.sources.repository import parse_second

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
MAX_NAME_CHARS = 100_000
"""Of a repository or path: what is longer than a path can be is refused later (collect.py)."""
DAMAGE = (pa.ArrowException, ValueError, OverflowError, MemoryError, OSError)
"""What reading a damaged table ends in; Arrow's OSError has no errno."""


@dataclass(frozen=True)
class DumpRow:
    """One file of a corpus."""

    repo: str
    path: str
    content: str
    """"" where the row has no text."""
    license: str
    """SPDX expression as the corpus states it, or ""."""
    changed_at: int | None = None
    """Unix seconds of the last change, where the corpus has them."""
    lack: str = ""
    """Why there is no content: "null", "no text"."""


def read_dump(path: Path, name: str, mapped: Sequence[str] = ()) -> Iterator[DumpRow]:
    """The rows of a corpus file; SourceError if it is damaged or no row of it has contents.

    Rows without a repository belong to `name`; without a path they are numbered. `mapped` names
    columns that are called otherwise: "content=body". Lines of JSON may be in GB 18030.
    """
    columns = columns_of(mapped)
    n_rows = n_texts = 0
    try:
        is_parquet = path.name.endswith(".parquet")
        for row in _parquet_rows(path, columns) if is_parquet else _json_rows(path):
            found = _row(row, n_rows, name, columns)
            n_rows += 1
            n_texts += not found.lack
            yield found
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the corpus's
        raise SourceError(f"{path} is damaged: {' '.join(str(error).split())[:120]}") from None
    if n_rows and not n_texts:
        names = ", ".join(columns["content"])
        raise SourceError(f"{path}: none of {n_rows:,} rows has text in {names}; give --columns")


def _row(row: object, number: int, name: str, columns: Mapping[str, tuple[str, ...]]) -> DumpRow:
    stated = row if isinstance(row, dict) else {}
    content = _first(stated, columns["content"])
    path = str(_first(stated, columns["path"]) or f"{number}.txt").lstrip("/")
    return DumpRow(
        repo=_text(_first(stated, columns["repo"]) or name),
        path=_text(path) or f"{number}.txt",
        content=content if isinstance(content, str) else "",
        license=_license(_first(stated, columns["license"])),
        changed_at=_parse_time(_first(stated, columns["changed_at"])),
        lack="" if isinstance(content, str) else "null" if content is None else "no text",
    )


def _text(stated: object) -> str:
    """A name as text that any table can hold."""
    return str(stated).encode("utf-8", "backslashreplace").decode()[:MAX_NAME_CHARS]


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
        if not set(names) & set(columns["content"]):
            raise SourceError(
                f"{path} has no column {', '.join(columns['content'])}; give --columns"
            )
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[object]:
    return (row for _, row in parse_lines(path, decode=decode))


def _first(row: Mapping[str, Any], names: Sequence[str]) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _license(stated: object) -> str:
    """A stated licence as an SPDX expression; "" if not understood.

    A list names what was found in a repository: all of it holds.
    """
    names = stated if isinstance(stated, list) else [stated]
    found = [known for name in names if (known := expression(name))]
    return join(found, "AND") if found and len(found) == len(names) else ""


def _parse_time(stated: object) -> int | None:
    """A stated time (a number of seconds, a date, or its ISO form) in Unix seconds.

    None where it is not understood, or can be no time of a file: 1e30, the year 1.
    """
    try:
        if isinstance(stated, str):
            stated = datetime.fromisoformat(stated)
        if isinstance(stated, datetime):
            stated = (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return parse_second(stated) if isinstance(stated, int | float) else None
