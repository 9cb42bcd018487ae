"""Stage recall: pages of a crawl that are like some seeds, as for DeepSeek-Coder-V2 (section 2).

Input: pages (url, text) and seeds (text) in JSONL or Parquet. Each round trains a linear classifier
on n-grams of tokens, seeds against pages not recalled so far, drawn by hash, and recalls the pages
above the threshold. Domains of which more than 10% of the pages were recalled give all their pages
as seeds for the next round. Output: artefact "pages" with the table pages (url, domain, text,
score) of the last round, and domains.json with the shares of each round.

Workers read slices of the files: first to n-grams, which lie on disk for the rounds, then to
scores, then to the table. In memory are one slice per worker, some bytes per page, and the examples
of a round.

Not here: fetching pages, and the paper's annotation of paths by people.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codling.core.artifact import Draft
from codling.core.errors import SourceError
from codling.core.files import write_json
from codling.core.inputs import tokenizer_file
from codling.core.ranges import Count, InnerShare, PositiveStrength, Range, Seed, Share
from codling.core.recipe import aside
from codling.core.shards import (
    Counts,
    Parallel,
    Shard,
    map_shards,
    prepare_workers,
)
from codling.core.stage import Work, stage
from codling.corpus.selection.linear import (
    Linear,
    LinearConfig,
    Rows,
    features,
    open_tokenizer,
    train,
)
from codling.corpus.selection.rows import Slice, as_inputs, read_slice, read_texts, slices
from codling.corpus.tables.writer import new_table

PREPARED = ("codling.corpus.selection.recall",)
"""What worker processes find imported."""
PAGE_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
INDEX_SCHEMA = pa.schema(
    [
        pa.field("domain", pa.string(), nullable=False),
        pa.field("draw", pa.uint64(), nullable=False),
        pa.field("places", pa.list_(pa.int32()), nullable=False),
    ]
)
"""Of a slice: where each page comes from, its place in the draw of examples, and its n-grams."""


@dataclass(frozen=True, kw_only=True)
class RecallConfig(Parallel):
    """Settings of `codling data recall`."""

    pages: tuple[Path, ...] = aside()
    """JSONL or Parquet files with url and text."""
    seeds: tuple[Path, ...] = aside()
    """JSONL or Parquet files with text: what is looked for."""
    out_dir: Path = aside()
    """Where the recalled pages go."""
    tokenizer_dir: Path | None = aside(None)
    """Tokenizer whose tokens are the features; by default words."""
    rounds: Annotated[int, Range(1, 1000)] = 3
    """How often the classifier is trained."""
    threshold: InnerShare = 0.5
    """A page is recalled from this probability on."""
    domain_share: Share = 0.1
    """Domains with a larger share of recalled pages become seeds."""
    negatives: PositiveStrength = 3.0
    """Other pages per seed to train against."""
    max_examples: Count = 20_000
    """Most pages of domains that become seeds, drawn by hash; these examples are in memory."""
    seed: Seed = 0
    """Decides which other pages these are."""
    linear: LinearConfig = field(default_factory=LinearConfig)
    slice_bytes: Count = 16_000_000
    """Bytes of the files per shard of work."""


@dataclass(frozen=True)
class RecallTask:
    """One slice of the pages: to be cut into n-grams, scored with a model, or written."""

    part: Slice
    config: RecallConfig
    index: Path | None = None
    """The n-grams of the slice."""
    model: Path | None = None
    """A classifier, as Linear.save wrote it."""
    scores: Path | None = None


@stage("pages", version=3)
def recall(config: RecallConfig) -> Work:
    """Pages of a crawl that are like the seeds, in rounds over the domains that hold many.

    Example:
        codling data recall --pages crawl.jsonl --seeds seeds.jsonl --out-dir runs/web/pages
    """
    prepare_workers(PREPARED)
    tokenizer = open_tokenizer(config.tokenizer_dir)
    inputs = as_inputs(config.pages) + as_inputs(config.seeds)
    if config.tokenizer_dir is not None:
        folder = config.tokenizer_dir
        inputs += as_inputs([tokenizer_file(folder)])
    draft = yield inputs
    seeds = [r["text"] for r in read_texts(config.seeds, ("text",))]
    wanted = list(features(seeds, config.linear, tokenizer))
    crawl = _index(draft, config)
    if crawl.n_pages == 0 or not seeds:
        raise SourceError("recall needs at least one page and one seed")
    scores, n_domains = _rounds(draft, config, crawl, wanted)
    tasks = [
        RecallTask(task.part, config, scores=path)
        for task, path in zip(crawl.tasks, scores, strict=True)
    ]
    done = map_shards(draft, tasks, write_shard, config, label="write")
    draft.counts |= {"pages": crawl.n_pages, "recalled": done["recalled"], "domains": n_domains}


@dataclass(frozen=True)
class Crawl:
    """What is known of all pages while the rounds go on."""

    tasks: list[RecallTask]
    index: list[Path]
    """The n-grams of every slice."""
    domains: NDArray[np.int64]
    """Of every page, a place in `names`."""
    names: list[str]
    order: NDArray[np.int64]
    """The pages in the order in which examples are drawn."""
    starts: NDArray[np.int64]
    """The first page of every slice."""

    @property
    def n_pages(self) -> int:
        """Pages of all slices."""
        return len(self.domains)


def index_shard(task: RecallTask, shard: Shard) -> Counts:
    """Cut the pages of a slice into n-grams."""
    config = task.config
    tokenizer = open_tokenizer(config.tokenizer_dir)
    rows = list(read_slice(task.part, ("url", "text")))
    with new_table(shard.path("index"), INDEX_SCHEMA) as table:
        texts = [row["text"] for row in rows]
        for row, places in zip(rows, features(texts, config.linear, tokenizer), strict=True):
            about = {"domain": domain(row["url"]), "draw": _draw(config.seed, row["url"])}
            table.add({**about, "places": places.astype(np.int32)}, 4 * len(places))
    return {"pages": len(rows)}


def score_shard(task: RecallTask, shard: Shard) -> Counts:
    """Score the pages of a slice with the classifier of a round."""
    assert task.index is not None
    assert task.model is not None
    model = Linear.load(task.model)
    found = []
    with pq.ParquetFile(task.index) as file:
        for batch in file.iter_batches(1024, columns=["places"]):
            places = batch["places"]
            lengths = np.diff(places.offsets.to_numpy())
            found.append(model.score_flat(places.flatten().to_numpy(), lengths.astype(np.int64)))
    np.save(shard.path("scores", ".npy"), np.concatenate([np.zeros(0), *found]))
    return {}


def write_shard(task: RecallTask, shard: Shard) -> Counts:
    """Write the recalled pages of a slice."""
    assert task.scores is not None
    scores = np.load(task.scores, allow_pickle=False).tolist()
    with new_table(shard.path("pages"), PAGE_SCHEMA) as table:
        for row, score in zip(read_slice(task.part, ("url", "text")), scores, strict=True):
            if score >= task.config.threshold:
                about = {"url": row["url"], "domain": domain(row["url"]), "text": row["text"]}
                table.add({**about, "score": score}, len(row["text"]))
    return {"recalled": table.n_rows}


def domain(url: str) -> str:
    """The host of an address, without "www.".

    >>> domain("https://www.example.org/a")
    'example.org'
    """
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname
    except ValueError:
        host = None
    return (host or "").removeprefix("www.")


def _index(draft: Draft, config: RecallConfig) -> Crawl:
    """All pages cut into n-grams, slice by slice."""
    inner = draft.inner("index")
    tasks = [RecallTask(part, config) for part in slices(config.pages, config.slice_bytes)]
    map_shards(inner, tasks, index_shard, config, label="index")
    paths = [Shard(inner.path, i).path("index") for i in range(len(tasks))]
    tables = [pl.read_parquet(path, columns=["domain", "draw"]) for path in paths]
    empty = pl.DataFrame(schema={"domain": pl.String, "draw": pl.UInt64})
    pages = pl.concat([empty, *tables])
    names = sorted(pages["domain"].unique().to_list())
    place = {name: i for i, name in enumerate(names)}
    domains = np.array([place[name] for name in pages["domain"].to_list()], np.int64)
    order = np.argsort(pages["draw"].to_numpy(), kind="stable").astype(np.int64)
    starts = np.cumsum([0, *(len(table) for table in tables)], dtype=np.int64)
    return Crawl(tasks, paths, domains, names, order, starts)


def _rounds(
    draft: Draft, config: RecallConfig, crawl: Crawl, wanted: list[Rows]
) -> tuple[list[Path], int]:
    """The files of the last round's scores, and how many domains became seeds."""
    is_seed_domain = np.zeros(len(crawl.names), bool)
    is_recalled = np.zeros(crawl.n_pages, bool)
    totals = np.bincount(crawl.domains, minlength=len(crawl.names))
    history: list[dict[str, float]] = []
    scores: list[Path] = []
    for number in range(config.rounds):
        is_seed = is_seed_domain[crawl.domains]
        positive = crawl.order[is_seed[crawl.order]][: config.max_examples]
        n_against = max(1, round(config.negatives * (len(wanted) + len(positive))))
        others = crawl.order[~is_seed[crawl.order] & ~is_recalled[crawl.order]][:n_against]
        if len(others) == 0:
            break
        examples = wanted + _places(crawl, positive) + _places(crawl, others)
        labels = [True] * (len(wanted) + len(positive)) + [False] * len(others)
        model = train(examples, labels, config.linear)
        scores = _score_pages(draft.inner(f"round-{number}"), config, crawl, model)
        found = np.concatenate([np.load(path, allow_pickle=False) for path in scores])
        is_recalled = found >= config.threshold
        shares = np.bincount(crawl.domains[is_recalled], minlength=len(crawl.names)) / totals
        is_seed_domain |= shares > config.domain_share
        history.append({crawl.names[i]: round(float(s), 4) for i, s in enumerate(shares)})
    seeds = [name for name, is_seed in zip(crawl.names, is_seed_domain, strict=True) if is_seed]
    write_json(draft.file("domains.json"), {"rounds": history, "seeds": seeds})
    return scores, len(seeds)


def _score_pages(draft: Draft, config: RecallConfig, crawl: Crawl, model: Linear) -> list[Path]:
    stored = draft.path / "model.npy"
    model.save(stored)
    tasks = [
        RecallTask(task.part, config, index=path, model=stored)
        for task, path in zip(crawl.tasks, crawl.index, strict=True)
    ]
    map_shards(draft, tasks, score_shard, config, label="score")
    return [Shard(draft.path, i).path("scores", ".npy") for i in range(len(tasks))]


def _places(crawl: Crawl, pages: NDArray[np.int64]) -> list[Rows]:
    """The n-grams of some pages, in their order."""
    found: dict[int, Rows] = {}
    owner = np.searchsorted(crawl.starts, pages, side="right") - 1
    for i in np.unique(owner).tolist():
        column = pq.read_table(crawl.index[i], columns=["places"])["places"]
        for page in pages[owner == i].tolist():
            values = column[page - int(crawl.starts[i])].values
            found[page] = values.to_numpy().astype(np.int64)
    return [found[page] for page in pages.tolist()]


def _draw(seed: int, url: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{url}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8])
