"""The stage `dedup`: near-duplicate files or repositories leave the corpus.

Input: an artefact of kind "documents", and others to compare with, which stay as they are. Output:
kind "documents" again: `documents-*.parquet`, and `dropped-*.parquet`, where each row says which
file or repository replaces the dropped one and how similar the two are.

Three passes over the shards: MinHash signatures of all, shingles of those that share a band with
another, and the documents that stay. A repository is the set of its files' shingles. Of a cluster
that member stays which is trained on rather than held out, has the better licence (own, then known,
then unknown), more stars, more bytes.

Not here: the kernels (duplicates/minhash.py), clustering (clusters.py), equal files (clean.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codling.core.artifact import Draft, open_artifact
from codling.core.errors import SourceError
from codling.core.foreign_json import read_object
from codling.core.inputs import source_input
from codling.core.ranges import PositiveShare
from codling.core.recipe import aside
from codling.core.shards import Counts, Parallel, Shard, map_shards
from codling.core.stage import Work, stage
from codling.corpus.components import Ids
from codling.corpus.duplicates import minhash
from codling.corpus.duplicates.clusters import candidate_pairs, choose_survivors
from codling.corpus.duplicates.shingles import ShingleStore, save_array, write_shingles
from codling.corpus.duplicates.units import Units, read_units, unit_names
from codling.corpus.tables.drop_rows import Subset, write_subset
from codling.corpus.tables.reader import text_columns


@dataclass(frozen=True, kw_only=True)
class DedupConfig(Parallel):
    """Which near-duplicates leave the corpus."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the documents that stay, and the list of those that go, are written."""
    level: Literal["file", "repository"] = "file"
    """What is compared: single files, or whole repositories, as DeepSeek-Coder did."""
    threshold: PositiveShare = 0.7
    """Jaccard similarity of the sets of token 5-grams from which two count as duplicates."""
    verify: bool = True
    """Compute the exact similarity; without, all that share a MinHash band go."""
    against: tuple[Path, ...] = aside(())
    """Artefacts of kind "documents" that exist already: what resembles their content goes."""
    stars: Path | None = aside(None)
    """JSON object from repository to its stars: of equal licences, the more popular copy stays."""


@stage("documents", version=5)
def dedup(config: DedupConfig) -> Work:
    """Remove near-duplicate repositories or files: MinHash, verified by exact similarity.

    Example: codling data dedup --documents-dir runs/stdlib/documents --out-dir runs/stdlib/unique
    """
    documents = open_artifact(config.documents_dir, "documents")
    existing = [open_artifact(path, "documents") for path in config.against]
    stars = {} if config.stars is None else _read_stars(config.stars)
    draft = yield [documents, *existing, *([source_input(config.stars)] if config.stars else [])]
    own = documents.files("documents-*.parquet")
    shards = own + [p for each in existing for p in each.files("documents-*.parquet")]
    units = read_units(shards, len(own), config.level, stars)
    moves = _moves(units, *_survivors(draft, units, config))[: len(own)]
    if config.level == "repository":
        moves = _without_copies(moves, draft, own, config)
    draft.counts |= map_shards(draft, moves, write_subset, config, label="dedup", threads=True)


@dataclass(frozen=True)
class SignTask:
    """A shard to sign; at the level of repositories, by unit."""

    path: Path
    units: Ids
    by_file: bool


@dataclass(frozen=True)
class ShingleTask:
    """A shard of which the shingles of some rows are needed."""

    path: Path
    units: Ids
    wanted: NDArray[np.bool_]


def sign_shard(task: SignTask, shard: Shard) -> Counts:
    """Write one shard's band hashes [bands, files], or its repositories' signatures [units, n]."""
    empty = np.empty((0, minhash.N_BANDS * minhash.N_ROWS), np.uint32)
    made = [minhash.signatures(data, offsets)[0] for data, offsets in text_columns(task.path)]
    signature = np.concatenate([empty, *made])
    if not task.by_file:
        present, first = np.unique(task.units, return_inverse=True)
        least = np.full((len(present), signature.shape[1]), minhash.NO_SHINGLE)
        np.minimum.at(least, first, signature)
        signature = least
    save_array(shard.path("present", ".npy"), (signature != minhash.NO_SHINGLE).any(axis=1))
    made_of = minhash.band_hashes(signature) if task.by_file else signature
    save_array(shard.path("signed", ".npy"), made_of)
    return {}


def shingle_shard(task: ShingleTask, shard: Shard) -> Counts:
    """Write the shingles of one shard's candidates."""
    write_shingles(task.path, task.units, task.wanted, shard)
    return {}


def _without_copies(
    moves: Sequence[Subset], draft: Draft, own: Sequence[Path], config: DedupConfig
) -> list[Subset]:
    """Remove, from repositories that stay, held-out files that resemble a training file of any.

    A repository is one unit with both, so nothing else would keep a copy out of the score.
    """
    files = read_units(own, len(own), "file", {})
    if not files.held_out.any():
        return list(moves)
    files = replace(files, fixed=~files.held_out)
    by_file = replace(config, level="file")
    copies = _moves(files, *_survivors(draft, files, by_file, "heldout_"))
    return [_both(one, other) for one, other in zip(moves, copies, strict=True)]


def _both(one: Subset, other: Subset) -> Subset:
    """What goes by either, with the reason of the first that has one."""
    ones, others = iter(one.reasons), iter(other.reasons)
    reasons = []
    for by_one, by_other in zip(one.goes, other.goes, strict=True):
        found = [next(each) for each, goes in ((ones, by_one), (others, by_other)) if goes]
        reasons += found[:1]
    return replace(one, goes=one.goes | other.goes, reasons=tuple(reasons))


def _survivors(
    draft: Draft, units: Units, config: DedupConfig, name: str = ""
) -> tuple[Ids, NDArray[np.float32]]:
    """For each unit the one that represents it, and their similarity."""
    by_file = config.level == "file"
    signed, stored = draft.inner(f"{name}signed"), draft.inner(f"{name}shingles")
    rows = list(zip(units.shards, units.of_row, strict=True))
    signs = [SignTask(path, ids, by_file) for path, ids in rows]
    map_shards(signed, signs, sign_shard, config, label="sign", threads=True)
    left, right = candidate_pairs(*_bands(signed.path, units, by_file))
    wanted = np.zeros(len(units), np.bool_)
    wanted[left] = wanted[right] = True
    tasks = [ShingleTask(path, ids, wanted[ids]) for path, ids in rows]
    map_shards(stored, tasks, shingle_shard, config, label="compare", threads=True)
    store = ShingleStore(stored.path, len(rows))
    draft.counts |= {f"{name}compared": len(units), f"{name}candidate_pairs": len(left)}
    if config.verify:
        alike = store.similarity(left, right) >= config.threshold
        left, right = left[alike], right[alike]
    least = config.threshold if config.verify else 0.0
    return choose_survivors((left, right), units.rank, units.fixed, store.similarity, least)


def _bands(
    folder: Path, units: Units, by_file: bool
) -> tuple[Iterator[NDArray[np.uint64]], NDArray[np.bool_]]:
    """Band by band the hashes of all units, and which units have any shingle."""
    shards = [Shard(folder, i) for i in range(len(units.of_row))]
    signed = [np.load(s.path("signed", ".npy"), mmap_mode="r") for s in shards]
    present = [np.load(s.path("present", ".npy")) for s in shards]
    if by_file:
        hashes = (np.concatenate([s[band] for s in signed]) for band in range(minhash.N_BANDS))
        return hashes if shards else iter(()), np.concatenate([np.zeros(0, np.bool_), *present])
    least = np.full((len(units), minhash.N_BANDS * minhash.N_ROWS), minhash.NO_SHINGLE)
    for ids, part in zip(units.of_row, signed, strict=True):
        inside = np.unique(ids)
        least[inside] = np.minimum(least[inside], part)
    return iter(minhash.band_hashes(least)), (least != minhash.NO_SHINGLE).any(axis=1)


def _moves(units: Units, survivor: Ids, score: NDArray[np.float32]) -> list[Subset]:
    goes = survivor != np.arange(len(units))
    names = unit_names(units, np.unique(survivor[goes]))
    tasks = []
    for path, ids in zip(units.shards, units.of_row, strict=True):
        gone = ids[goes[ids]]
        reasons = tuple(f"{score[u]:.3f} like {names[int(survivor[u])]}" for u in gone)
        tasks.append(Subset(path, "near-duplicate", goes[ids], reasons))
    return tasks


def _read_stars(path: Path) -> dict[str, int]:
    stars = read_object(path, cure="give repository names and numbers of stars")
    if not all(isinstance(n, int) for n in stars.values()):
        raise SourceError(f"{path} must be a JSON object from repository names to numbers of stars")
    return stars
