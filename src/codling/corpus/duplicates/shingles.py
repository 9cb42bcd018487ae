"""Shingles on disk: exact similarities of many pairs in a bounded part of memory.

Input: per shard, the shingles of the documents that are compared. Output: the Jaccard similarity of
pairs of units, a unit being a file or all files of a repository.

Not here: the kernels (minhash.py) and which pairs are compared (clusters.py).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codling.core.files import replace_file
from codling.core.shards import Shard
from codling.corpus.components import Ids
from codling.corpus.duplicates import minhash
from codling.corpus.tables.reader import text_columns

BLOCK_SHINGLES = 32_000_000
"""About how many shingles (4 bytes each) are in memory while pairs are compared."""


def write_shingles(path: Path, units: Ids, wanted: NDArray[np.bool_], shard: Shard) -> int:
    """Store the distinct shingles of the rows that are `wanted`; returns how many rows that are."""
    found: list[minhash.Hashes] = []
    row = 0
    for data, offsets in text_columns(path):
        for i in np.flatnonzero(wanted[row : row + len(offsets) - 1]):
            found.append(np.unique(minhash.shingle_list(data, offsets[i], offsets[i + 1])))
        row += len(offsets) - 1
    owners = np.stack([units[wanted], np.array([len(f) for f in found], np.int64)])
    save_array(shard.path("owners", ".npy"), owners)
    save_array(shard.path("shingles", ".npy"), np.concatenate([np.empty(0, np.uint32), *found]))
    return len(found)


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write a .npy file, complete or not at all."""
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


class ShingleStore:
    """The shingles that `write_shingles` left in a folder, by unit."""

    def __init__(self, folder: Path, n_shards: int) -> None:
        self._files: list[NDArray[np.uint32]] = []
        unit: list[Ids] = []
        place: list[Ids] = []
        for i in range(n_shards):
            shard = Shard(folder, i)
            owners = np.load(shard.path("owners", ".npy"))
            ends = np.cumsum(owners[1])
            unit.append(owners[0])
            place.append(np.stack([np.full(len(ends), i), ends - owners[1], ends]))
            self._files.append(np.load(shard.path("shingles", ".npy"), mmap_mode="r"))
        self._unit = np.concatenate([np.empty(0, np.int64), *unit])
        self._place = np.concatenate([np.empty((3, 0), np.int64), *place], axis=1)
        order = np.argsort(self._unit, kind="stable")
        self._unit, self._place = self._unit[order], self._place[:, order]

    def similarity(self, left: Ids, right: Ids) -> NDArray[np.float32]:
        """Exact Jaccard similarity of the pairs (left[i], right[i]) of units."""
        size = self._sizes(left) + self._sizes(right)
        block = np.cumsum(size) // BLOCK_SHINGLES
        found = [np.empty(0, np.float32)]
        for number in np.unique(block):
            inside = block == number
            found.append(self._compare(left[inside], right[inside]))
        return np.concatenate(found)

    def _compare(self, left: Ids, right: Ids) -> NDArray[np.float32]:
        units, index = np.unique(np.concatenate([left, right]), return_inverse=True)
        sets = [self._load(unit) for unit in units]
        starts = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
        return minhash.jaccard(np.concatenate(sets), starts, index[: len(left)], index[len(left) :])

    def _load(self, unit: int) -> minhash.Hashes:
        first, end = np.searchsorted(self._unit, [unit, unit + 1])
        parts = [self._files[s][i:j] for s, i, j in self._place[:, first:end].T]
        return np.asarray(parts[0]) if len(parts) == 1 else np.unique(np.concatenate(parts))

    def _sizes(self, units: Ids) -> Ids:
        ends = np.concatenate([[0], np.cumsum(self._place[2] - self._place[1])])
        first, last = np.searchsorted(self._unit, units), np.searchsorted(self._unit, units + 1)
        sizes: Ids = ends[last] - ends[first]
        return sizes
