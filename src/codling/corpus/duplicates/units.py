"""What is compared for near-duplicates: files or repositories, numbered over all shards, and
ranked.

Input: tables of documents, first those of the corpus itself, then those of existing ones. Output:
the unit of every row, and which of several units is the one to keep.

Not here: the comparison (dedup.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codling.corpus.components import Ids
from codling.corpus.tables.reader import integer_array, integers, read_columns

Level = Literal["file", "repository"]
_RANK_COLUMNS = ("source", "repo", "license", "n_bytes", "split")


@dataclass(frozen=True)
class Units:
    """Files or repositories over all shards."""

    shards: Sequence[Path]
    """Tables of documents, first those of the corpus itself, then those of existing ones."""
    of_row: Sequence[Ids]
    """Per shard: the unit of each row."""
    repositories: Sequence[str]
    """Their names; empty if the units are files."""
    rank: Ids
    """Lower is better: existing ones first, then what is trained on before what is held out
    (so that nothing held out is learned), then by licence, stars, size and number."""
    fixed: NDArray[np.bool_]
    """Part of an existing corpus: stays."""
    held_out: NDArray[np.bool_]
    """Nothing of it is trained on."""

    def __len__(self) -> int:
        return len(self.rank)


def read_units(shards: Sequence[Path], n_own: int, level: Level, stars: Mapping[str, int]) -> Units:
    """Number and rank what `shards` hold; those after the first `n_own` are of existing corpora."""
    number: dict[str, int] = {}
    of_row: list[Ids] = []
    rows = [np.empty((6, 0), np.int64)]
    n_files = 0
    for i, path in enumerate(shards):
        table = read_columns(path, _RANK_COLUMNS)
        if level == "file":
            ids = np.arange(n_files, n_files + len(table))
            n_files += len(table)
        else:
            # The same repository in an existing corpus is another unit.
            names = _names(table, "" if i < n_own else f"{path.parent}: ")
            ids = np.fromiter((number.setdefault(n, len(number)) for n in names), np.int64)
        of_row.append(ids)
        rows.append(np.stack([ids, *_rank_columns(table, stars), np.full(len(table), i >= n_own)]))
    ids, held, license_rank, popular, size, fixed = np.concatenate(rows, axis=1).astype(np.int64)
    worst, most, total, existing = np.zeros((4, n_files or len(number)), np.int64)
    held_out = np.ones(len(worst), np.int64)
    np.minimum.at(held_out, ids, held)
    np.maximum.at(worst, ids, license_rank)
    np.maximum.at(most, ids, popular)
    np.add.at(total, ids, size)
    np.maximum.at(existing, ids, fixed)
    rank = np.empty(len(worst), np.int64)
    rank[np.lexsort((-total, -most, worst, held_out, -existing))] = np.arange(len(worst))
    flags = existing.astype(np.bool_), held_out.astype(np.bool_)
    return Units(shards, of_row, list(number), rank, *flags)


def unit_names(units: Units, wanted: Ids) -> dict[int, str]:
    """`source:repo/path` of files, `source:repo` of repositories; `wanted` must be ascending."""
    if units.repositories:
        return {int(unit): units.repositories[unit] for unit in wanted}
    found: dict[int, str] = {}
    for path, ids in zip(units.shards, units.of_row, strict=True):
        first, end = np.searchsorted(wanted, [ids[0], ids[-1] + 1]) if len(ids) else (0, 0)
        if first < end:
            table = read_columns(path, ("source", "repo", "path"))
            chosen = table.take(integer_array(wanted[first:end] - ids[0]))
            named = zip(_names(chosen, ""), chosen["path"].to_pylist(), strict=True)
            keys = (f"{name}/{inside}" for name, inside in named)
            found.update(zip(wanted[first:end].tolist(), keys, strict=True))
    return found


def _names(table: pa.Table, before: str) -> Iterable[str]:
    pairs = zip(table["source"].to_pylist(), table["repo"].to_pylist(), strict=True)
    return (f"{before}{source}:{repo}" for source, repo in pairs)


def _rank_columns(table: pa.Table, stars: Mapping[str, int]) -> tuple[Ids, Ids, Ids, Ids]:
    """Held out or not, licence rank (own, known, unknown), stars and bytes of each row."""
    licenses = table["license"].to_pylist()
    ranks = [{"LicenseRef-own": 0, "unknown": 2}.get(each, 1) for each in licenses]
    popular = [stars.get(repo, 0) for repo in table["repo"].to_pylist()] if stars else []
    return (
        np.array([split == "heldout" for split in table["split"].to_pylist()], np.int64),
        np.array(ranks, np.int64),
        np.array(popular or [0] * len(table), np.int64),
        integers(table["n_bytes"]),
    )
