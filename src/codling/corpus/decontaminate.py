"""The stage `decontaminate`: documents that hold parts of a benchmark leave the corpus.

Input: an artefact of kind "documents" and benchmark files. Output: kind "documents" again, with
`dropped-*.parquet` and `hits-*.parquet`: which document held which text of which benchmark.

As for DeepSeek-Coder: ten words in a row of a benchmark's text remove a document; a text of three
to nine words does as a whole, compared with its punctuation. Case and white space never matter.
Ten words without information (numbers, single letters) do not count; a text that has no others is
compared as a whole. Of a text as a whole two words must say something: `return x + y`, a solution
of HumanEval, is in one of a thousand clean files. Lines that only import are no evidence: thousands
of Java files begin with the same ten words of them.

Not here: the search (contamination/ngrams.py) and the benchmarks' formats (benchmark_texts.py).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import open_artifact
from codling.core.errors import ConfigError
from codling.core.inputs import source_input
from codling.core.ranges import Range
from codling.core.recipe import aside
from codling.core.shards import Counts, Parallel, Shard, map_shards
from codling.core.stage import Work, stage
from codling.corpus.contamination.benchmark_texts import (
    BenchmarkText,
    benchmark_files,
    read_texts,
)
from codling.corpus.contamination.ngrams import (
    Index,
    build_index,
    find,
    ngrams,
    tokens_reference,
    words,
)
from codling.corpus.tables.counts import nest_counts
from codling.corpus.tables.drop_rows import Subset, write_subset
from codling.corpus.tables.reader import text_columns
from codling.corpus.tables.writer import new_table

_EXCERPT_BYTES = 120
_STRING_DISTINCT = 2
"""Different words of two letters in a text that is compared as a whole."""
_IMPORTS = re.compile(
    r"^[ \t]*(?:import\s+[\w.{*\"'<].*|from\s+[\w.]+\s+import\b.*|#\s*include\s*[<\"].*"
    r"|(?:use|using)\s[^()\n]*;[ \t]*|package\s+[\w.]+;?[ \t]*)\r?$",
    re.MULTILINE,
)

HIT_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)
"""Table `hits`: the first text of a benchmark in each document that goes, and its place there."""


@dataclass(frozen=True, kw_only=True)
class DecontaminateConfig(Parallel):
    """Which documents leave the corpus because they hold parts of a benchmark."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of hits, are written."""
    benchmarks: tuple[Path, ...] = aside()
    """Files or folders: JSONL, JSON, Parquet or CSV, also with .gz."""
    fields: tuple[str, ...] = ()
    """The columns or keys that are looked for; by default every text in the files."""
    n: Annotated[int, Range(1, 1000)] = 10
    """A document is left out that shares this many consecutive words with a benchmark's text."""
    min_words: Annotated[int, Range(1, 1000)] = 3
    """A benchmark's text of at least this many words, but fewer than `n`, is searched whole."""
    min_distinct: Annotated[int, Range(0, 1000)] = 4
    """At least this many of the `n` words must differ and have two letters (numbers have none)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_words > self.n:
            raise ConfigError(f"min_words is {self.min_words}; it must be at most n = {self.n}")


class MatchSettings(Protocol):
    """What counts as a benchmark's text: DecontaminateConfig has these settings."""

    @property
    def n(self) -> int:
        """Words in a row."""

    @property
    def min_words(self) -> int:
        """Words of a text that is searched whole."""

    @property
    def min_distinct(self) -> int:
        """Different words among the `n`."""


@dataclass(frozen=True)
class MatchLimits:
    """The usual limits, for those who search without a corpus."""

    n: int = DecontaminateConfig.n
    min_words: int = DecontaminateConfig.min_words
    min_distinct: int = DecontaminateConfig.min_distinct


@stage("documents", version=1)
def decontaminate(config: DecontaminateConfig) -> Work:
    """Remove documents that share ten words in a row, or a short text, with a benchmark.

    Example: codling data decontaminate --documents-dir runs/stdlib/unique --out-dir \
runs/stdlib/decontaminated
    --benchmarks humaneval.jsonl.gz
    """
    documents = open_artifact(config.documents_dir, "documents")
    files = benchmark_files(config.benchmarks)
    draft = yield [documents, *map(source_input, files)]
    texts = [text for path in files for text in read_texts(path, config.fields)]
    index = make_index(texts, config)
    tasks = [SearchTask(p, index, texts) for p in documents.files("documents-*.parquet")]
    counts = map_shards(draft, tasks, search_shard, config, label="decontaminate", threads=True)
    draft.counts |= nest_counts(counts) | {"benchmark_texts": len(texts)}


@dataclass(frozen=True)
class SearchTask:
    """A shard to search."""

    path: Path
    index: Index
    texts: Sequence[BenchmarkText]


def make_index(texts: Sequence[BenchmarkText], config: MatchSettings) -> Index:
    """What is looked for: telling n-grams of long texts, and short texts as a whole."""
    grams: dict[int, int] = {}
    strings: list[tuple[bytes, int]] = []
    for owner, each in enumerate(texts):
        found = _telling_ngrams(each.text, config)
        for gram in found:
            grams.setdefault(gram, owner)
        if not found and each.alone and _tells_as_a_whole(each.text, config.min_words):
            strings.append((each.text.encode("utf-8", "replace"), owner))
    return build_index(list(grams.items()), strings, config.n)


def search_shard(task: SearchTask, shard: Shard) -> Counts:
    """Publish one shard without the documents that hold something of the index, and list these."""
    found: dict[int, tuple[BenchmarkText, str]] = {}
    row = 0
    for data, offsets in text_columns(task.path):
        for start, end in pairwise(offsets):
            if hit := find(task.index, data[start:end]):
                excerpt = data[start + hit[1] : min(end, start + hit[1] + _EXCERPT_BYTES)]
                found[row] = task.texts[hit[0]], excerpt.tobytes().decode("utf-8", "ignore")
            row += 1
    goes = np.zeros(row, np.bool_)
    goes[list(found)] = True
    reasons = tuple(text.name for text, _ in found.values())
    counts = Counter(write_subset(Subset(task.path, "benchmark", goes, reasons), shard))
    places = pq.read_table(task.path, columns=["source", "repo", "path"]).filter(pa.array(goes))
    with new_table(shard.path("hits"), HIT_SCHEMA) as hits:
        for place, (text, seen) in zip(places.to_pylist(), found.values(), strict=True):
            where = {"benchmark": text.file, "field": text.field, "row": text.row}
            hits.add({**place, **where, "excerpt": seen})
            counts[f"hits/{text.file}"] += 1
    return dict(counts)


def _telling_ngrams(text: str, config: MatchSettings) -> list[int]:
    """Hashes of the n-grams that say something; none reaches over a line that imports."""
    found: list[int] = []
    for part in _IMPORTS.split(text):
        data = part.encode("utf-8", "replace")
        tokens = tokens_reference(data, symbols=False)
        hashes = ngrams(words(data).hashes, config.n).tolist()
        told = _find_telling(tokens, config.n, config.min_distinct)
        found += [gram for gram, tells in zip(hashes, told, strict=True) if tells]
    return found


def _tells_as_a_whole(text: str, min_words: int) -> bool:
    """Whether a text without telling n-grams is worth a search."""
    tokens = tokens_reference(text.encode("utf-8", "replace"), symbols=False)
    different = set(_keep_lettered(tokens)) - {None}
    if len(tokens) < min_words or len(different) < _STRING_DISTINCT:
        return False
    return bool(_IMPORTS.sub("", text).strip())


def _find_telling(tokens: Sequence[bytes], n: int, min_distinct: int) -> list[bool]:
    """For each n-gram whether it holds enough different words that say something."""
    lettered = _keep_lettered(tokens)
    return [
        len(set(lettered[i : i + n]) - {None}) >= min_distinct for i in range(len(tokens) - n + 1)
    ]


def _keep_lettered(tokens: Sequence[bytes]) -> list[bytes | None]:
    """The words of two letters, and characters outside ASCII; None for the other tokens."""
    return [t if t[0] >= 0x80 or len(re.findall(rb"[a-z]", t)) >= 2 else None for t in tokens]
