"""The baseline that a model must beat: an interpolated n-gram model over the same tokens.

Input: the training tokens. Output: bits of a token sequence, and the likeliest continuation of a
prompt. Contexts are 64-bit hashes of the preceding tokens (a collision among some 10^7 entries has
probability below 10^-5). Probabilities are Witten-Bell interpolated (Witten and Bell 1991),
p_k(t) = (count(c, t) + kinds(c) p_{k-1}(t)) / (count(c) + kinds(c)), down to the uniform
distribution.

Not here: anything neural.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class _Order:
    """What was seen after contexts of one length; all arrays are sorted by their hash."""

    pairs: Hashes
    pair_counts: Counts
    contexts: Hashes
    totals: Counts
    kinds: Counts
    likeliest: Counts


class NgramModel:
    """N-grams up to `order` over token ids."""

    def __init__(self, tokens: NDArray[Any], vocab_size: int, order: int = 6) -> None:
        """Count all n-grams of `tokens`, shape (N,)."""
        self.vocab_size = vocab_size
        ids = tokens.astype(np.int64)
        self._orders = [_count(ids, length) for length in range(order)]

    def bits(self, tokens: NDArray[Any]) -> float:
        """Total bits that the model needs for `tokens` after the first."""
        ids = tokens.astype(np.int64)
        probability = np.full(len(ids) - 1, 1.0 / self.vocab_size)
        for length, counts in enumerate(self._orders):
            n_without = max(0, length - 1)
            contexts, following = _contexts(ids, length)
            if length == 0:
                contexts, following = contexts[1:], following[1:]
            seen = probability[n_without:]
            total, kinds = _totals(counts, contexts)
            pair = _lookup(counts.pairs, counts.pair_counts, _extend(contexts, following))
            known = total > 0
            mixed = (pair + kinds * seen) / np.maximum(1, total + kinds)
            seen[known] = mixed[known]
        return float(-np.log2(probability).sum())

    def continue_greedily(
        self, prompt: Sequence[int], max_tokens: int, stop_ids: frozenset[int]
    ) -> list[int]:
        """The likeliest next token after the longest known context, repeatedly."""
        ids = list(prompt)
        for _ in range(max_tokens):
            token = self._likeliest(ids)
            if token in stop_ids:
                break
            ids.append(token)
        return ids[len(prompt) :]

    def _likeliest(self, ids: Sequence[int]) -> int:
        for length in range(min(len(self._orders) - 1, len(ids)), -1, -1):
            context = np.zeros(1, dtype=np.uint64)
            for token in ids[len(ids) - length :]:
                context = _extend(context, np.array([token]))
            counts = self._orders[length]
            place = int(np.searchsorted(counts.contexts, context[0]))
            if place < len(counts.contexts) and counts.contexts[place] == context[0]:
                return int(counts.likeliest[place])
        raise AssertionError("the empty context is always known")


def _count(ids: Counts, length: int) -> _Order:
    contexts, following = _contexts(ids, length)
    pair_hashes = _extend(contexts, following)
    pairs, first, pair_counts = np.unique(pair_hashes, return_index=True, return_counts=True)
    # By context, then by falling count: the first row of each context is its likeliest token.
    by_context = np.lexsort((following[first], -pair_counts, contexts[first]))
    owner = contexts[first][by_context]
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    ordered = pair_counts[by_context]
    return _Order(
        pairs=pairs,
        pair_counts=pair_counts,
        contexts=owner[starts],
        totals=np.add.reduceat(ordered, starts),
        kinds=np.diff(np.r_[starts, len(owner)]),
        likeliest=following[first][by_context][starts],
    )


def _contexts(ids: Counts, length: int) -> tuple[Hashes, Counts]:
    """Hashes of the `length` tokens before each token that has that many, and those tokens."""
    n = len(ids) - length
    contexts = np.zeros(n, dtype=np.uint64)
    for offset in range(length):
        contexts = _extend(contexts, ids[offset : offset + n])
    return contexts, ids[length:]


def _extend(hashes: Hashes, tokens: Counts) -> Hashes:
    with np.errstate(over="ignore"):
        mixed = (hashes ^ (hashes >> np.uint64(29))) * _MULTIPLIER
        extended: Hashes = mixed + tokens.astype(np.uint64) + np.uint64(1)
    return extended


def _totals(counts: _Order, contexts: Hashes) -> tuple[Counts, Counts]:
    return (
        _lookup(counts.contexts, counts.totals, contexts),
        _lookup(counts.contexts, counts.kinds, contexts),
    )


def _lookup(keys: Hashes, values: Counts, wanted: Hashes) -> Counts:
    """The value of each wanted key, 0 where it is absent."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Counts = np.where(keys[places] == wanted, values[places], 0)
    return found
