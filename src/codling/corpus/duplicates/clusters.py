"""Clusters of near-duplicates: candidate pairs from bands, union-find, and which member stays.

Input: band hashes, a rank of the documents, and a function that gives the exact similarity of
pairs. Output: for every document the one that represents it (itself if it stays) and their
similarity.

Not here: how hashes and similarities are computed (minhash.py), and reading documents (dedup.py).

Digest of what is compiled in from other files: 846713f917b0a891.
"""

from collections.abc import Callable, Iterable

import numba
import numpy as np
from numpy.typing import NDArray

from codling.corpus.components import Ids, unite

_unite = numba.njit(nogil=True, cache=True)(unite)
Similarity = Callable[[Ids, Ids], NDArray[np.float32]]
"""Exact similarity of the pairs (left[i], right[i])."""


def candidate_pairs(
    bands: Iterable[NDArray[np.uint64]], present: NDArray[np.bool_]
) -> tuple[Ids, Ids]:
    """Pairs of documents (left < right) that share a band, each once, in ascending order.

    `bands` holds one hash per document, band by band; only documents that are `present` take part.
    Of those with equal hashes each is paired with the one before it and with the first, not with
    all.
    """
    ids = np.flatnonzero(present)
    keys = np.empty(0, np.int64)
    for hashes in bands:
        own = hashes[ids]
        order = np.argsort(own, kind="stable")
        members, values = ids[order], own[order]
        equal = values[1:] == values[:-1]
        starts = np.where(np.r_[True, ~equal], np.arange(len(values)), 0)
        first = members[np.maximum.accumulate(starts)]
        later, before = members[1:][equal], members[:-1][equal]
        found = np.r_[_pair_key(before, later), _pair_key(first[1:][equal], later)]
        keys = np.union1d(keys, found)
    return keys >> 32, keys & 0xFFFFFFFF


def choose_survivors(
    pairs: tuple[Ids, Ids],
    rank: Ids,
    fixed: NDArray[np.bool_],
    similarity: Similarity,
    threshold: float,
) -> tuple[Ids, NDArray[np.float32]]:
    """The document that represents each document, and how similar the two are.

    In every cluster of connected pairs the document of least `rank` stays, and those go that
    resemble it at `threshold` or above. The rest, joined only through others, forms clusters again.
    So nothing goes without a survivor that it truly resembles. Documents that are `fixed` always
    stay.
    """
    n = len(rank)
    survivor, score = np.arange(n), np.ones(n, np.float32)
    left, right = pairs
    while len(left):
        label = find_components(n, left, right)
        members = np.union1d(left, right)
        members = members[np.lexsort((rank[members], label[members]))]
        is_keeper = np.r_[True, label[members[1:]] != label[members[:-1]]]
        keeper = members[np.maximum.accumulate(np.where(is_keeper, np.arange(len(members)), 0))]
        keeper, members = keeper[~is_keeper], members[~is_keeper]
        alike = similarity(keeper, members)
        goes = (alike >= threshold) & ~fixed[members]
        survivor[members[goes]] = keeper[goes]
        score[members[goes]] = alike[goes]
        waiting = np.zeros(n, np.bool_)
        waiting[members[~goes]] = True
        both = waiting[left] & waiting[right]
        left, right = left[both], right[both]
    return survivor, score


def find_components(n: int, left: Ids, right: Ids) -> Ids:
    """The least document of each document's connected component."""
    root = np.arange(n)
    _unite(root, left, right)
    return root


def _pair_key(a: Ids, b: Ids) -> Ids:
    return np.minimum(a, b) << 32 | np.maximum(a, b)


def find_components_reference(n: int, left: Iterable[int], right: Iterable[int]) -> list[int]:
    """`find_components` in plain Python: labels spread along the pairs until nothing changes."""
    label = list(range(n))
    pairs = list(zip(left, right, strict=True))
    while True:
        before = list(label)
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
        if label == before:
            return label
