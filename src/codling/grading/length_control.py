"""The length-controlled win rate of AlpacaEval 2 (arXiv:2404.04475): what a judge would prefer if
both answers were equally long.

Input: a judge's preference (0 to 1), the difference of lengths and the difficulty of each
instruction. Output: the win rate at equal length, from a logistic regression on three columns:
tanh of the standardised difference, difficulty, and 1. Its L1 penalty is chosen by 5-fold log loss.
To the model's rows come those of two length-gamed versions of the baseline, which hold the length
term in place; where their preferences are not at hand, the two sums through which alone these enter
the likelihood do (`Gamed`).

Not here: where preferences come from (evaluate/judging/alpaca.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PENALTIES = np.logspace(-4, 4, 10)
"""scikit-learn's C: the larger, the weaker the penalty."""
N_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Gamed:
    """Rows of the length-gamed baselines."""

    x_NK: Array
    """Columns as of the model's rows; the third is 0."""
    xy_K: Array
    """The sum of x times preference over the rows."""
    weight: float = 0.1
    """Of each row."""


def length_features(lengths: Array, baseline_lengths: Array, difficulty: Array) -> Array:
    """The three columns of a model's rows; lengths in characters."""
    d = baseline_lengths - lengths
    deviation = d.std(ddof=1) if len(d) > 1 else 0.0
    scaled = np.tanh(d / deviation) if deviation > 0 else np.zeros_like(d)
    return np.stack([scaled, difficulty, np.ones_like(d)], axis=1)


def fit_length_glm(x_NK: Array, preferred_N: Array, gamed: Gamed) -> Array:
    """The three weights; rows without a preference (NaN) do not enter."""
    known = np.isfinite(preferred_N)
    x, y = x_NK[known], preferred_N[known]
    losses = [_held_out_loss(x, y, gamed, float(c)) for c in PENALTIES]
    return fit_at_penalty(x, y, gamed, float(PENALTIES[int(np.argmin(losses))]))


def fit_at_penalty(x_NK: Array, preferred_N: Array, gamed: Gamed, c: float) -> Array:
    """The three weights at one strength of the penalty; every row has a preference."""
    return _fit(x_NK, preferred_N, gamed, 1.0, c)


def win_rate_at_equal_length(weights_K: Array, difficulty: Array) -> float:
    """100 times the mean preference if there were no difference in length.

    >>> win_rate_at_equal_length(np.array([0.3, 0.0, 0.0]), np.zeros(4))
    50.0
    """
    return float(100 * _sigmoid(weights_K[2] + weights_K[1] * difficulty).mean())


def _held_out_loss(x: Array, y: Array, gamed: Gamed, c: float) -> float:
    """Log loss of the rows left out, summed over the folds; folds as GroupKFold makes them."""
    fold = (len(y) - 1 - np.arange(len(y))) % N_FOLDS
    total = 0.0
    for k in range(N_FOLDS):
        out = fold == k
        w = _fit(x[~out], y[~out], gamed, 1 - 1 / N_FOLDS, c)
        total += _loss(x[out] @ w, y[out])
    return total


def _fit(x: Array, y: Array, gamed: Gamed, share: float, c: float) -> Array:
    """Weights that minimise |w| + C times the log loss, by coordinate-wise Newton steps.

    `share` of the gamed rows' weight counts (a fold leaves some of them out).
    """
    rows = np.concatenate([x, gamed.x_NK])
    weights = np.concatenate([np.ones(len(x)), np.full(len(gamed.x_NK), gamed.weight * share)])
    xy = x.T @ y + gamed.weight * share * gamed.xy_K
    w = np.zeros(rows.shape[1])
    used = np.flatnonzero(np.any(rows != 0, axis=0))
    for _ in range(500):
        before = w.copy()
        for k in used:
            p = _sigmoid(rows @ w)
            slope = c * (rows[:, k] @ (weights * p) - xy[k])
            square = rows[:, k] ** 2
            # Not below a tenth of the largest curvature: far from the solution Newton overshoots.
            curve = c * max(
                float((weights * p * (1 - p)) @ square), 0.025 * float(weights @ square)
            )
            w[k] = _soft(w[k] - slope / curve, 1 / curve)
        if np.abs(w - before).max() < 1e-9:
            break
    return w


def _soft(value: float, by: float) -> float:
    return float(np.sign(value) * max(0.0, abs(value) - by))


def _loss(z: Array, y: Array) -> float:
    return float(np.sum(np.logaddexp(0, z) - y * z))


def _sigmoid(z: Array) -> Array:
    return np.exp(-np.logaddexp(0, -z))
