"""How much a match counts: the weights that mix the memory into the model's next token.

    P = (1 - v) [(1 - w) P_model + w P_repository] + v P_open_file

`w` and `v` are read from tables by the length of the match and by how unanimous its continuations
are, and fitted by expectation maximisation on text whose own file was forgotten. (Related work: the
nested cache models of Hellendoorn and Devanbu 2017, kNN-LM, infini-gram.)

Input: matches and the model's probabilities. Output: weights, and rows of logits whose softmax is
the mixed distribution exactly, so that greedy choice and sampling stay as they are.

Not here: finding matches (index.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from codling.engine.memory.index import Continuations

LENGTHS = (1, 2, 3, 4, 6, 9, 13)
"""Where a class of lengths begins; the last goes up to the longest."""
SHARES = (0.3, 0.6, 0.9)
"""Where a class of unanimity begins, the first from 0; two more for unanimous matches: one place
was read, or several."""
N_KINDS = len(SHARES) + 3
MAX_WEIGHT = 0.995
_PRIOR = 4.0
"""A prior of this many observations keeps each weight near its default where there are few."""
_ROUNDS = 60

Table = NDArray[np.float64]
"""Weights [length class, unanimity class]."""


@dataclass(frozen=True)
class Weights:
    """The two tables."""

    repository: Table
    open_file: Table

    @classmethod
    def default(cls) -> Self:
        """What fitting gave on a real repository (docs/memory.md says which)."""
        return cls(np.array(_REPOSITORY), np.array(_OPEN_FILE))

    @classmethod
    def from_lists(cls, stored: dict[str, Any]) -> Self:
        """From JSON. ValueError if the tables have another shape or are not weights."""
        tables = [np.array(stored[name], np.float64) for name in ("repository", "open_file")]
        for table in tables:
            if table.shape != (len(LENGTHS), N_KINDS) or not ((table >= 0) & (table < 1)).all():
                raise ValueError("the tables of weights are damaged")
        return cls(*tables)

    def of(self, tree: Continuations, own: Continuations) -> tuple[float, float]:
        """The weights (w, v) of a match in the repository and of one in the open file."""
        tree_class, own_class = class_of(tree), class_of(own)
        w = float(self.repository[tree_class]) if tree_class else 0.0
        v = float(self.open_file[own_class]) if own_class else 0.0
        return w, v

    def to_lists(self) -> dict[str, list[list[float]]]:
        """For JSON, rounded."""
        return {
            "repository": self.repository.round(4).tolist(),
            "open_file": self.open_file.round(4).tolist(),
        }


@dataclass(frozen=True)
class Observation:
    """One token of real text: the probability that each part of the mixture gave it."""

    model: float
    repository: float
    """Share of the repository's continuations that are this token."""
    open_file: float
    repository_class: tuple[int, int] | None
    """None: nothing matched."""
    open_file_class: tuple[int, int] | None


def class_of(match: Continuations) -> tuple[int, int] | None:
    """Row and column of a match in the tables; None if nothing matches."""
    if match.length == 0:
        return None
    row = int(np.searchsorted(LENGTHS, match.length, side="right")) - 1
    if match.unanimity == 1.0:
        return row, len(SHARES) + (1 if match.n_read == 1 else 2)
    return row, int(np.searchsorted(SHARES, match.unanimity, side="right"))


def share_of(match: Continuations, token: int) -> float:
    """Share of a match's places that go on with `token`."""
    at = np.flatnonzero(match.ids == token)
    return float(match.counts[at[0]]) / match.n_read if len(at) else 0.0


def fit_weights(seen: Sequence[Observation], start: Weights | None = None) -> Weights:
    """The weights under which the observed tokens are likeliest, by expectation maximisation."""
    weights = start or Weights.default()
    tree, own = weights.repository.copy(), weights.open_file.copy()
    tree_at = _indices([o.repository_class for o in seen])
    own_at = _indices([o.open_file_class for o in seen])
    model = np.array([o.model for o in seen])
    from_tree = np.array([o.repository for o in seen])
    from_own = np.array([o.open_file for o in seen])
    for _ in range(_ROUNDS):
        w, v = _gather(tree, tree_at), _gather(own, own_at)
        parts = np.stack([(1 - v) * (1 - w) * model, (1 - v) * w * from_tree, v * from_own])
        shares = parts / np.maximum(parts.sum(0), 1e-30)
        tree = _update(tree_at, shares[1], shares[0] + shares[1], weights.repository)
        own = _update(own_at, shares[2], np.ones(len(seen)), weights.open_file)
    return Weights(tree, own)


def mixture_probability(weights: Weights, o: Observation) -> float:
    """The mixture's probability of an observed token."""
    w = weights.repository[o.repository_class] if o.repository_class else 0.0
    v = weights.open_file[o.open_file_class] if o.open_file_class else 0.0
    return float((1 - v) * ((1 - w) * o.model + w * o.repository) + v * o.open_file)


def log_total(logits_V: NDArray[np.float32]) -> float:
    """The natural logarithm of the sum of their exponentials."""
    top = float(logits_V.max())
    return top + float(np.log(np.exp(logits_V - np.float32(top)).sum(dtype=np.float64)))


def mix_into(
    logits_V: NDArray[np.float32], tree: Continuations, own: Continuations, weights: Weights
) -> NDArray[np.int64]:
    """Change a row of logits in place so that its softmax is the mixture.

    Only the tokens that a memory knows change: all others keep their ratio to each other. Gives the
    ids to which the memory gives more probability than the model.
    """
    w, v = weights.of(tree, own)
    kept = (1 - v) * (1 - w)
    ids = np.union1d(tree.ids, own.ids)
    added = np.zeros(len(ids))
    for match, weight in ((tree, (1 - v) * w), (own, v)):
        if match.length:
            added[np.searchsorted(ids, match.ids)] += weight * match.counts / match.n_read
    log_sum = log_total(logits_V)
    from_model = np.exp(logits_V[ids].astype(np.float64) - log_sum)
    logits_V[ids] = log_sum + np.log(np.maximum(from_model + added / kept, 1e-300))
    return ids[added > kept * from_model]


def _indices(classes: Sequence[tuple[int, int] | None]) -> NDArray[np.int64]:
    return np.array([-1 if c is None else c[0] * N_KINDS + c[1] for c in classes], np.int64)


def _gather(table: Table, at: NDArray[np.int64]) -> Table:
    return np.where(at < 0, 0.0, table.ravel()[at])


def _update(at: NDArray[np.int64], taken: Table, shared: Table, default: Table) -> Table:
    """Each class's share, kept near its default by _PRIOR."""
    size, known = default.size, at >= 0
    numerator = np.bincount(at[known], taken[known], minlength=size) + _PRIOR * default.ravel()
    denominator = np.bincount(at[known], shared[known], minlength=size) + _PRIOR
    return np.minimum(numerator / denominator, MAX_WEIGHT).reshape(default.shape)


_REPOSITORY = [
    [0.03, 0.05, 0.07, 0.18, 0.04, 0.12],
    [0.03, 0.06, 0.11, 0.31, 0.08, 0.24],
    [0.09, 0.10, 0.20, 0.45, 0.11, 0.37],
    [0.13, 0.13, 0.23, 0.54, 0.24, 0.56],
    [0.15, 0.26, 0.36, 0.74, 0.38, 0.67],
    [0.23, 0.30, 0.44, 0.83, 0.56, 0.74],
    [0.38, 0.48, 0.72, 0.89, 0.77, 0.94],
]
_OPEN_FILE = [
    [0.01, 0.01, 0.01, 0.09, 0.01, 0.05],
    [0.04, 0.01, 0.06, 0.20, 0.03, 0.13],
    [0.00, 0.04, 0.12, 0.40, 0.05, 0.22],
    [0.01, 0.07, 0.19, 0.50, 0.11, 0.29],
    [0.02, 0.13, 0.34, 0.60, 0.33, 0.52],
    [0.18, 0.06, 0.26, 0.70, 0.33, 0.52],
    [0.20, 0.23, 0.32, 0.80, 0.54, 0.69],
]
