"""Settings of what looks across files, and at their syntax: one per stage.

Input: recipes and flags, through core/recipe. Output: frozen configs. Fields that only say where
or how fast are marked `aside` and do not change an artefact's id.

Not here: the settings of collecting and cleaning (config.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codling.core.errors import ConfigError
from codling.core.recipe import aside
from codling.corpus.order import Order


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """What `codling data graph` prints."""

    path: Path = aside()
    """The repository's folder."""
    order: Order = "scc"
    """The order in which files are listed: `scc`, `paper` or `random`."""
    seed: int = 0
    """For the order `random`."""
    svg: Path | None = aside(None)
    """Also draw the graph into this file."""


@dataclass(frozen=True, kw_only=True)
class ArrangeConfig:
    """How the files of each repository become training samples."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the samples go."""
    order: Order = "scc"
    """`scc`: no edge outside cycles is violated; `paper`: Algorithm 1 as published; `random`."""
    max_chars: int = 4_000_000
    """A longer sample is cut, between files; a file longer than this is a sample of its own."""
    seed: int = 0
    """For the order `random`."""
    left_out: tuple[str, ...] = aside(())
    """Stations that these documents did not pass, and why; only noted in the manifest."""
    workers: int = aside(2)
    """Processes; the result is the same for any number."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; none: local processes."""


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """Which near-duplicates leave the corpus."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of those that go, are written."""
    level: Literal["file", "repository"] = "file"
    """What is compared: single files, or whole repositories, as DeepSeek-Coder did."""
    threshold: float = 0.7
    """Jaccard similarity of the sets of token 5-grams from which two count as duplicates."""
    verify: bool = True
    """Compute the exact similarity; without, all that share a MinHash band go."""
    against: tuple[Path, ...] = aside(())
    """Artefacts of kind "documents" that exist already: what resembles their content goes."""
    stars: Path | None = aside(None)
    """JSON object from repository to its stars: of equal licences, the more popular copy stays."""
    workers: int = aside(2)
    """Threads; the result is the same for any number."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; none: local threads."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; it must be above 0 and at most 1")


@dataclass(frozen=True, kw_only=True)
class DecontaminateConfig:
    """Which documents leave the corpus because they hold parts of a benchmark."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of hits, are written."""
    benchmarks: tuple[Path, ...] = aside()
    """Files or folders: JSONL, JSON, Parquet or CSV, also with .gz."""
    fields: tuple[str, ...] = ()
    """The columns or keys that are looked for; none: every text in the files."""
    n: int = 10
    """A document with so many words in a row of a benchmark's text goes."""
    min_words: int = 3
    """A benchmark's text of so many words, fewer than `n`, is looked for as a whole."""
    min_distinct: int = 4
    """So many of the `n` words must be different and have two letters: numbers are no evidence."""
    workers: int = aside(2)
    """Threads; the result is the same for any number."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; none: local threads."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.n:
            raise ConfigError(f"min_words is {self.min_words}; it must be from 1 to n = {self.n}")


@dataclass(frozen=True, kw_only=True)
class ScreenConfig:
    """Which documents leave the corpus because they do not parse."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of those that go, are written."""
    max_error_share: float = 0.05
    """A file goes if more of its bytes lie in places that the grammar cannot read."""
    strict: tuple[str, ...] = ("java", "javascript", "python")
    """Languages of which a file goes for any error: their grammars are complete."""
    workers: int = aside(2)
    """Processes; the result is the same for any number."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; none: local processes."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_share <= 1:
            raise ConfigError(f"max_error_share is {self.max_error_share}; it is a share, 0 to 1")
