"""The stage `arrange`: documents -> samples, one per weakly connected subgraph of a repository.

Input: an artefact of kind "documents". Output: kind "samples": `samples-*.parquet`
(SAMPLE_SCHEMA), `edges-*.parquet` (which file of a sample depends on which), and in the manifest
how many edges there are, how many are cyclic, and how many the order violates.

A repository is handled whole, with the shard that holds its first file, so the result does not
depend on the number of workers. Held-out files never share a sample with training files.

Not here: finding edges (dependencies/graph.py), ordering (order.py), joining (layout.py).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import open_artifact
from codling.core.ranges import Count, Seed
from codling.core.recipe import aside
from codling.core.shards import Counts, Parallel, Shard, map_shards
from codling.core.stage import Work, stage
from codling.corpus.dependencies.graph import SourceFile, dependency_graph
from codling.corpus.dependencies.order import Graph, Order, arrange_files, count_edges
from codling.corpus.layout import samples
from codling.corpus.tables.schemas import SAMPLE_SCHEMA, Document, Split
from codling.corpus.tables.writer import new_table

EDGE_SCHEMA = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("file", pa.int32(), nullable=False),
        pa.field("depends_on", pa.int32(), nullable=False),
    ]
)
"""Table `edges`: a sample's id, and the places of two of its files in `paths`."""
_SPLITS: tuple[Split, ...] = ("train", "heldout")

RepoKey = tuple[str, str]
"""Source and repository."""


@dataclass(frozen=True, kw_only=True)
class ArrangeConfig(Parallel):
    """How the files of each repository become training samples."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the samples go."""
    order: Order = "scc"
    """`scc`: no edge outside cycles is violated; `paper`: Algorithm 1 as published; `random`."""
    max_chars: Count = 4_000_000
    """A longer sample is cut, between files; a file longer than this is a sample of its own."""
    seed: Seed = 0
    """For the order `random`."""
    left_out: tuple[str, ...] = aside(())
    """Stations that these documents did not pass, and why; only noted in the manifest."""


@stage("samples", version=2)
def arrange(config: ArrangeConfig) -> Work:
    """Order the files of each repository by their imports and join them into samples.

    Example: codling data arrange --documents-dir runs/stdlib/screened --out-dir runs/stdlib/samples
    """
    documents = open_artifact(config.documents_dir, "documents")
    draft = yield [documents]
    tasks = list(_tasks(documents.files("documents-*.parquet"), config))
    draft.counts |= map_shards(draft, tasks, arrange_shard, config, label="arrange")


@dataclass(frozen=True)
class ArrangeTask:
    """The repositories whose first file lies in one shard, and the shards that hold their files."""

    shards: tuple[Path, ...]
    repos: frozenset[RepoKey]
    config: ArrangeConfig


def arrange_shard(task: ArrangeTask, shard: Shard) -> Counts:
    """Write the samples of a task's repositories, in the order of their names."""
    counts: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    repos = _read_repos(task)
    with new_table(shard.path("edges"), EDGE_SCHEMA) as edges:
        for key in sorted(repos):
            for row, inside in arrange_repository(repos.pop(key), task.config, counts):
                rows.append(row)
                for file, target in inside:
                    edges.add({"sample": row["id"], "file": file, "depends_on": target})
    counts["samples"] = len(rows)
    shard.write_rows("samples", rows, SAMPLE_SCHEMA)
    return dict(counts)


def arrange_repository(
    documents: Sequence[Document], config: ArrangeConfig, counts: Counter[str]
) -> Iterator[tuple[dict[str, Any], list[tuple[int, int]]]]:
    """The samples of one repository with their edges, training files first; adds to `counts`."""
    files = sorted(documents, key=lambda d: (d.path, d.sha256))
    graph = dependency_graph([SourceFile(d.path, d.language, d.content) for d in files])
    counts["documents"] += len(files)
    for split in _SPLITS:
        chosen = [i for i, d in enumerate(files) if d.split == split]
        inside = _subgraph(graph, chosen)
        counts["cross_split_edges"] += sum(len(graph[i]) for i in chosen)
        name = f"{config.seed}\0{files[0].source}\0{files[0].repo}\0{split}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        orders = arrange_files(inside, config.order, seed)
        edges = count_edges(inside, orders)
        counts["cross_split_edges"] -= edges.edges
        counts["edges"] += edges.edges
        counts["cyclic_edges"] += edges.cyclic
        counts["violated_edges"] += edges.violated
        counts["violated_acyclic_edges"] += edges.violated_acyclic
        for order in orders:
            start = 0
            for row in samples([files[chosen[i]] for i in order], config.max_chars):
                end = start + len(row["paths"])
                yield row, _edges(inside, order[start:end])
                start = end


def _edges(graph: Graph, order: Sequence[int]) -> list[tuple[int, int]]:
    """The edges between files of one sample, by their places in it."""
    place = {file: i for i, file in enumerate(order)}
    return [(i, place[t]) for i, file in enumerate(order) for t in graph[file] if t in place]


def _subgraph(graph: Graph, chosen: Sequence[int]) -> list[list[int]]:
    place = {file: i for i, file in enumerate(chosen)}
    return [[place[t] for t in graph[file] if t in place] for file in chosen]


def _tasks(shards: Sequence[Path], config: ArrangeConfig) -> Iterator[ArrangeTask]:
    """One task per shard of the input; a repository belongs to the first shard that holds it."""
    holders: dict[RepoKey, list[Path]] = {}
    for path in shards:
        table = pq.read_table(path, columns=["source", "repo"])
        pairs = table.group_by(["source", "repo"]).aggregate([]).to_pydict()
        for key in zip(pairs["source"], pairs["repo"], strict=True):
            holders.setdefault(key, []).append(path)
    for path in shards:
        repos = frozenset(key for key, held_by in holders.items() if held_by[0] == path)
        needed = {p for key in repos for p in holders[key]}
        yield ArrangeTask(tuple(p for p in shards if p in needed), repos, config)


def _read_repos(task: ArrangeTask) -> dict[RepoKey, list[Document]]:
    found: dict[RepoKey, list[Document]] = {}
    for path in task.shards:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    if (row["source"], row["repo"]) in task.repos:
                        document = Document.from_row(row)
                        found.setdefault((document.source, document.repo), []).append(document)
    return found
