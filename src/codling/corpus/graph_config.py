"""Settings of what looks across files, and at their syntax: one per stage.

Input: recipes and flags, through core/recipe. Output: frozen configs. Fields that only say where
or how fast are marked `aside` and do not change an artefact's id.

Not here: the settings of collecting and cleaning (config.py).
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from codling.core.errors import ConfigError
from codling.core.languages import LANGUAGES
from codling.core.recipe import aside, unknown_key
from codling.corpus.config import available_cores
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
    """Also draw all files into this SVG file."""
    html: Path | None = aside(None)
    """Also write a page with drawings of the largest subgraphs."""


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
    workers: int = aside(factory=available_cores)
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
    workers: int = aside(factory=available_cores)
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
    workers: int = aside(factory=available_cores)
    """Threads; the result is the same for any number."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; none: local threads."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.n:
            raise ConfigError(f"min_words is {self.min_words}; it must be from 1 to n = {self.n}")


MEASURED_LIMITS: dict[str, dict[str, float]] = {
    "javascript": {"max_one_letter": 0.42},
    "typescript": {"max_one_letter": 0.45},
    "java": {"max_one_letter": 0.5},
    "kotlin": {"max_one_letter": 0.5},
    "c": {"max_one_letter": 0.55},
}
"""Limits of single languages; all but 1 of 1,000 of their files are below."""


@dataclass(frozen=True, kw_only=True)
class ReadabilityConfig:
    """Which files of code a reader would not call code.

    The reasons are measured on 34,700 files that passed `clean`, of 62 packages from PyPI, npm and
    Debian and the standard library: docs/deduplication.md. A limit that nothing reaches (1 for
    shares, 0 for `min_spaces`) switches its rule off.
    """

    max_name: int = 256
    """`long-name`: the longest name, in bytes; 5 files had longer ones, data in a literal."""
    max_one_letter: float = 0.8
    """`one-letter`: share of names with one letter; the most is 0.794, tests of sympy."""
    max_line_tokens: float = 40.0
    """`dense`: names, numbers and symbols per line; the most is 38.0, minified code has 100."""
    max_repeated_lines: float = 0.8
    """`repeated-lines`: share of the lines that stood in the file before; 4 files have more."""
    min_spaces: float = 0.06
    """`minified`: a smaller share of white space, if names of one letter are frequent too."""
    minified_one_letter: float = 0.15
    """How frequent: minified scripts have 0.15 to 0.49, files with so little space else less."""
    min_names: int = 50
    """Files with fewer names are not judged: their shares say nothing."""
    min_lines: int = 10
    """Lines that `one-letter` and `repeated-lines` need."""
    by_language: dict[str, dict[str, float]] = field(default_factory=dict)
    """Other limits for single languages, before the measured ones and the general ones."""

    def __post_init__(self) -> None:
        known = {f.name for f in fields(self)} - {"by_language"}
        for language, limits in self.by_language.items():
            for name in limits:
                if name.replace("-", "_") not in known:
                    raise ConfigError(unknown_key(name, known, f"readability.{language}"))
            if language not in LANGUAGES:
                raise ConfigError(unknown_key(language, LANGUAGES, "readability", what="language"))

    def limits(self, language: str) -> "ReadabilityConfig":
        """The limits of one language."""
        own = MEASURED_LIMITS.get(language, {}) | {
            name.replace("-", "_"): value
            for name, value in self.by_language.get(language, {}).items()
        }
        changed: dict[str, Any] = dict(own)
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class ScreenConfig:
    """Which documents leave the corpus because they do not parse or are no pleasure to read."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of those that go, are written."""
    syntax: bool = True
    """Ask parsers."""
    max_error_share: float = 0.05
    """A file goes if more of its bytes lie in places that the grammar cannot read."""
    strict: tuple[str, ...] = ("java", "javascript", "python")
    """Languages of which a file goes for any error: their grammars are complete."""
    readable: bool = True
    """Apply the rules of readability."""
    readability: ReadabilityConfig = field(default_factory=ReadabilityConfig)
    quality_model: Path | None = aside(None)
    """Artefact of `codling data quality`: files that it scores low go."""
    min_quality: float = 0.5
    """The least score that stays, from 0 to 1."""
    workers: int = aside(factory=available_cores)
    """Processes; the result is the same for any number."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; none: local processes."""

    def __post_init__(self) -> None:
        for name in ("max_error_share", "min_quality"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a share, 0 to 1")
        for language in self.strict:
            if language not in LANGUAGES:
                raise ConfigError(unknown_key(language, LANGUAGES, "strict", what="language"))
