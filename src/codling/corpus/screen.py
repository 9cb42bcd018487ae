"""The stage `screen`: documents that do not parse, or that are unreadable, leave the corpus.

Input: an artefact of kind "documents", and optionally a quality model. Output: kind "documents"
again, and `dropped-*.parquet`, where each row has the rule and the value that decided:

    long-name, dense, minified, one-letter, repeated-lines   readability of code (readability.py)
    syntax                                                   share of tokens in error (syntax.py)
    low-quality                                              the score of a model (quality.py)

What parses depends on the versions of Python and of the grammars, so these are inputs too.
Languages without a grammar pass, and are counted; the log names those that could be installed.

Not here: parsing and measuring.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from codling.core.artifact import Artifact, Input, name_damage, open_artifact
from codling.core.errors import ConfigError
from codling.core.languages.table import LANGUAGES
from codling.core.log import say
from codling.core.ranges import Share
from codling.core.recipe import aside, explain_unknown_key
from codling.core.shards import Counts, Parallel, Shard, map_shards
from codling.core.stage import Work, stage
from codling.corpus.filters.readability import (
    ReadabilityConfig,
    find_unreadable,
    measure_readability,
)
from codling.corpus.filters.syntax import GRAMMARS, error_share, tools
from codling.corpus.selection.quality import QualityModel, open_quality
from codling.corpus.tables.counts import nest_counts
from codling.corpus.tables.drop_rows import Subset, write_subset
from codling.corpus.tables.reader import batches, read_columns

_WITHOUT = "without_grammar/"


@dataclass(frozen=True, kw_only=True)
class ScreenConfig(Parallel):
    """Which documents leave the corpus because they do not parse or cannot be read well."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of those that go, are written."""
    syntax: bool = True
    """Drop files that do not parse."""
    max_error_share: Share = 0.05
    """A file goes if more of its tokens, in bytes, stand where the grammar cannot place them."""
    strict: tuple[str, ...] = ("java", "javascript", "python")
    """Languages of which a file goes for any error: their grammars are complete."""
    readable: bool = True
    """Apply the rules of readability."""
    readability: ReadabilityConfig = field(default_factory=ReadabilityConfig)
    quality_model: Path | None = aside(None)
    """Artefact of `codling data quality`: files that it scores low go."""
    min_quality: Share = 0.5
    """The least score that stays, from 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for language in self.strict:
            if language not in LANGUAGES:
                raise ConfigError(
                    explain_unknown_key(language, LANGUAGES, "strict", what="language")
                )


@stage("documents", version=3)
def screen(config: ScreenConfig) -> Work:
    """Remove documents that do not parse, are unreadable, or that a quality model scores low.

    Example: codling data screen --documents-dir runs/stdlib/unique --out-dir runs/stdlib/screened
    """
    documents = open_artifact(config.documents_dir, "documents")
    shards = documents.files("documents-*.parquet")
    inputs: list[Artifact | Input] = [documents]
    if config.quality_model is not None:
        inputs.append(open_artifact(config.quality_model, "quality"))
    if config.syntax:
        with name_damage([documents]):
            found = tools(_languages(shards))
        inputs += [Input(kind="tool", id=f"{name} {v}", path=name) for name, v in found]
    draft = yield inputs
    tasks = [ScreenTask(p, config) for p in shards]
    counts = map_shards(draft, tasks, screen_shard, config, label="screen")
    _name_missing_grammars(counts)
    draft.counts |= nest_counts(counts)


@dataclass(frozen=True)
class ScreenTask:
    """A shard to screen."""

    path: Path
    config: ScreenConfig


def screen_shard(task: ScreenTask, shard: Shard) -> Counts:
    """Publish one shard without the documents that break a rule."""
    counts: Counter[str] = Counter()
    is_dropped: list[bool] = []
    broken: list[tuple[str, str]] = []
    limits = cache(task.config.readability.limits)
    for row in _rows(task.path):
        found = _broken_rule(row, task.config, limits, counts)
        is_dropped.append(found is not None)
        if found is not None:
            broken.append(found)
            counts[f"dropped_by_rule/{found[0]}"] += 1
            counts[f"dropped_by_language/{row[0]}"] += 1
    rules, values = tuple(rule for rule, _ in broken), tuple(value for _, value in broken)
    subset = Subset(task.path, "screen", np.array(is_dropped, np.bool_), values, rules)
    counts.update(write_subset(subset, shard))
    return dict(counts)


def _broken_rule(
    row: tuple[str, str, str],
    config: ScreenConfig,
    limits: Callable[[str], ReadabilityConfig],
    counts: Counter[str],
) -> tuple[str, str] | None:
    """The first rule that a document breaks, cheap ones first, and the value that did it."""
    language, path, text = row
    if config.readable and language in LANGUAGES and LANGUAGES[language].family == "code":
        measured = measure_readability(text.encode("utf-8", "replace"))
        if found := find_unreadable(measured, limits(language)):
            return found
    if config.syntax:
        share = error_share(language, path, text)
        if share is None:
            counts[_WITHOUT + language] += 1
        elif share > (0.0 if language in config.strict else config.max_error_share):
            return "syntax", f"{share:.4f}"
    if config.quality_model is not None:
        (score,) = _model(config.quality_model).score([text])
        if score < config.min_quality:
            return "low-quality", f"{score:.3f}"
    return None


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Language, path and text of each document."""
    for batch in batches(path, ["language", "path", "content"]):
        for row in batch.to_pylist():
            yield row["language"], row["path"], row["content"]


def _languages(shards: Sequence[Path]) -> set[str]:
    found: set[str] = set()
    for path in shards:
        found.update(pc.unique(read_columns(path, ["language"])["language"]).to_pylist())
    return found


@cache
def _model(path: Path) -> QualityModel:
    return open_quality(path)


def _name_missing_grammars(counts: Mapping[str, int]) -> None:
    missing = {
        name.removeprefix(_WITHOUT): n for name, n in counts.items() if name.startswith(_WITHOUT)
    }
    known = sorted((name for name in missing if name in GRAMMARS), key=lambda name: -missing[name])
    if known:
        files = ", ".join(f"{name} {missing[name]:,}" for name in known)
        say(f"screen: no grammar for {files} files; pip install 'codling[grammars]' has them")
