"""A linear classifier over hashed n-grams: which texts are like the examples.

Input: texts with labels. Output: weights, and the probability that a text is like the examples.
Features are n-grams of tokens (ids of a tokenizer, or words), hashed into a table; each counts once
in a text, and a text's features have length 1. Logistic regression by stochastic gradient descent
in a fixed order (linear_kernel.py): the same examples give the same weights.

Not here: which texts are examples (recall.py, quality.py).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codling.core.errors import ConfigError
from codling.core.ranges import Count, PositiveStrength, Range, Ranged, Strength

Rows = NDArray[np.int64]
_WORD = re.compile(r"\w+|[^\w\s]")
_NOTHING = np.zeros(0, np.int64)
_MIX = np.uint64(0x9E3779B97F4A7C15)
MIN_STEPS = 5000
BATCH = 256
"""Texts that are tokenized at a time."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig(Ranged):
    """How a linear classifier sees texts and learns."""

    bits: Annotated[int, Range(8, 26)] = 18
    """The table of weights has 2 to the power of `bits` entries."""
    n: Annotated[int, Range(1, 16)] = 2
    """N-grams up to this length are features."""
    epochs: Annotated[int, Range(1, 1_000_000)] = 5
    """How often every example is seen; few examples more often, for 5,000 steps in all."""
    lr: PositiveStrength = 0.2
    """First step size, which falls linearly to 0; features have length 1."""
    l2: Strength = 1e-5
    """Strength of the L2 penalty on the weights."""
    max_chars: Count = 20_000
    """Characters that are read from the beginning of each text."""


@dataclass(frozen=True)
class Linear:
    """A trained classifier; `weights` has 2**bits entries."""

    weights: NDArray[np.float32]
    bias: float

    @classmethod
    def load(cls, path: Path) -> Self:
        """The classifier that `save` wrote."""
        stored = np.load(path, allow_pickle=False)
        return cls(stored[:-1].astype(np.float32), float(stored[-1]))

    def save(self, path: Path) -> None:
        """Write one array for workers to read: the weights, then the bias."""
        np.save(path, np.append(self.weights.astype(np.float64), self.bias))

    def score(self, features: Sequence[Rows]) -> NDArray[np.float64]:
        """The probability of each text, by its features."""
        lengths = np.array([len(f) for f in features], np.int64)
        return self.score_flat(np.concatenate([*features, _NOTHING]), lengths)

    def score_flat(self, places: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same for the features of all texts, one after the other, and how many each has."""
        sums = np.cumsum(np.concatenate([[0.0], self.weights[places].astype(np.float64)]))
        ends = np.cumsum(lengths)
        of_text = sums[ends] - sums[ends - lengths]
        return _sigmoid(of_text / np.sqrt(np.maximum(lengths, 1)) + self.bias)


def open_tokenizer(path: Path | None) -> Tokenizer | None:
    """The tokenizer at a folder or a tokenizer.json; None gives words instead of tokens."""
    if path is None:
        return None
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"no tokenizer at {file}")
    return Tokenizer.from_file(str(file))


def features(
    texts: Sequence[str], config: LinearConfig, tokenizer: Tokenizer | None = None
) -> Iterator[Rows]:
    """The different hashed n-grams of each text, as places in the table of weights."""
    for start in range(0, len(texts), BATCH):
        batch = [t[: config.max_chars] for t in texts[start : start + BATCH]]
        if tokenizer is None:
            tokens = [[_word(w) for w in _WORD.findall(t)] for t in batch]
        else:
            encoded = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            tokens = [e.ids for e in encoded]
        for ids in tokens:
            yield _ngrams(np.array(ids, np.uint64), config)


def train(rows: Sequence[Rows], labels: Sequence[bool], config: LinearConfig) -> Linear:
    """Fit weights to texts and labels; both classes weigh the same, however many examples each has.

    Raises ConfigError unless both classes have examples.
    """
    from codling.corpus.selection.linear_kernel import descend

    y = np.array(labels, np.float64)
    if y.sum() in (0, len(y)):
        raise ConfigError("training needs examples of both kinds")
    starts = np.cumsum([0, *(len(r) for r in rows)], dtype=np.int64)
    share = np.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    shuffle = np.random.default_rng(0)
    epochs = max(config.epochs, -(-MIN_STEPS // len(rows)))
    order = np.concatenate([shuffle.permutation(len(rows)) for _ in range(epochs)])
    table = np.zeros(2**config.bits)
    places = np.concatenate(rows).astype(np.int64)
    bias = descend(places, starts, y, share, order, table, config.lr, config.l2)
    return Linear(table.astype(np.float32), float(bias))


def _ngrams(ids: NDArray[np.uint64], config: LinearConfig) -> Rows:
    found = []
    hashed = np.zeros(len(ids), np.uint64)
    for length in range(1, min(config.n, len(ids)) + 1):
        hashed = hashed[: len(ids) - length + 1] * _MIX + ids[length - 1 :] + np.uint64(1)
        mixed = (hashed ^ (hashed >> np.uint64(29))) * _MIX
        found.append(mixed >> np.uint64(64 - config.bits))
    return np.unique(np.concatenate(found)).astype(np.int64) if found else np.zeros(0, np.int64)


@lru_cache(1 << 18)
def _word(word: str) -> int:
    # FNV-1a: Python's own hash of strings differs from process to process.
    value = 0xCBF29CE484222325
    for byte in word.encode("utf-8", "replace"):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -40, 40))))
