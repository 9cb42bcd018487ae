"""The tables of the corpus: one row per file, per dropped file, per training sample.

Input and output: nothing; these are the schemas that the stages of the corpus pass to each other.
Not here: how any row comes to be.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import pyarrow as pa

Split = Literal["train", "heldout"]


@dataclass(frozen=True, kw_only=True)
class Document:
    """One source file with all that is known of where it came from."""

    source: str
    """Name of the source as the user gave it: a repository, folder or archive; unique in a run."""
    repo: str
    """Name of the repository or package inside the source (often equal to `source`)."""
    path: str
    """POSIX path relative to the repository's root."""
    language: str
    """A key of core/languages."""
    license: str
    """SPDX expression, "unknown", or "LicenseRef-own" for code that the user declared to own."""
    license_from: str
    """What decided the licence: "header", "file:LICENSE", "declared", or "none"."""
    split: Split
    n_bytes: int
    sha256: str
    """Of the file's bytes as found."""
    content: str
    n_redactions: int = 0
    changed_at: int | None = None
    """Unix seconds of the commit that changed the file last; None where no history is known."""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """A document from a row of a Parquet table with DOCUMENT_SCHEMA."""
        return cls(**row)

    @property
    def key(self) -> str:
        """`source:repo/path`: names the file within a run."""
        return f"{self.source}:{self.repo}/{self.path}"


DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("license", pa.string(), nullable=False),
        pa.field("license_from", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("n_redactions", pa.int32(), nullable=False),
        pa.field("changed_at", pa.int64()),
    ]
)
"""Table `documents` of the artefacts of kind "raw" (collect) and "documents" (clean and after)."""

DROPPED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("license", pa.string(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
    ]
)
"""Table `dropped`: the rule that dropped a file and the value that did it: "mean-line", "143.2"."""

SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("paths", pa.list_(pa.string()), nullable=False),
        pa.field("languages", pa.list_(pa.string()), nullable=False),
        pa.field("licenses", pa.list_(pa.string()), nullable=False),
        pa.field("sha256s", pa.list_(pa.string()), nullable=False),
        pa.field("starts", pa.list_(pa.int64()), nullable=False),
        pa.field("content", pa.string(), nullable=False),
    ]
)
"""Table `samples` of kind "samples": files in order, joined with path comments; `starts` are the
character offsets in `content` where each file (with its path comment) begins."""

REDACTION_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("line", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)
"""Table `redactions`: where something was replaced, and what kind of thing it was."""
