"""Batches for training from a token stream, as a pure function of (seed, step).

Input: an artefact of kind "tokens". Output: int64 tensors [B batch, T+1 tokens]: inputs are the
first T, labels the last T. Windows begin at every multiple of T, so each token is a label once per
epoch; the last one is moved back to be whole. Every epoch visits all windows in a fresh order.

Not here: making the stream (pack.py), and moving batches to a device.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from codling.core.errors import ConfigError
from codling.corpus.tables.schemas import Split
from codling.tokens.token_files import open_stream, read_meta

_RUN = 4
"""Windows side by side that are set aside together."""
_ASIDE = 1 << 31
"""Takes the place of an epoch's number among the seeds."""


Order = npt.NDArray[np.int64]
Arrange = Callable[[Order, int, np.random.Generator], Order]
"""An order, the number of its epoch, and what it was drawn by -> the order that is taken."""


class EpochOrders:
    """The order in which each epoch visits its windows; those of the last two epochs are kept."""

    def __init__(self, seed: int, arrange: Arrange | None = None) -> None:
        """`arrange` makes another order of a drawn one."""
        self._seed, self._arrange = seed, arrange
        self._orders: dict[int, Order] = {}

    def order(self, epoch: int, n_windows: int) -> Order:
        """A permutation of `n_windows`, which must be the same for every call."""
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            rng = np.random.default_rng([self._seed, epoch])
            order = rng.permutation(n_windows)
            self._orders[epoch] = self._arrange(order, epoch, rng) if self._arrange else order
        return self._orders[epoch]


class TokenDataset:
    """A token stream seen as shuffled windows."""

    def __init__(self, path: Path, split: Split, context: int, batch: int, seed: int) -> None:
        """`context` is T, `batch` is B; ConfigError if they are not positive."""
        if context < 1 or batch < 1:
            raise ConfigError(f"context is {context} and batch {batch}; both must be positive")
        self.meta = read_meta(path)
        self.context, self.batch_size, self.seed = context, batch, seed
        self._ids = open_stream(path, split)
        if len(self._ids) < context + 1:
            self._ids = np.resize(self._ids, context + 1)
        self._windows = np.arange(-(-(len(self._ids) - 1) // context))
        self._orders = EpochOrders(seed)

    @property
    def n_windows(self) -> int:
        """Windows of an epoch."""
        return len(self._windows)

    @property
    def n_tokens(self) -> int:
        """Tokens in the stream."""
        return len(self._ids)

    def window(self, index: int) -> npt.NDArray[np.int64]:
        """Window `index` in stream order: T+1 tokens."""
        start = self._start(index)
        return self._ids[start : start + self.context + 1].astype(np.int64)

    def batch(self, step: int) -> torch.Tensor:
        """The [B, T+1] batch of `step`; it depends on (seed, step) alone."""
        return torch.from_numpy(np.stack([self.window(index) for index in self._indices(step)]))

    def starts(self, step: int) -> list[int]:
        """Where in the stream the rows of batch `step` begin."""
        return [self._start(index) for index in self._indices(step)]

    def set_aside(self, n_windows: int) -> list[int]:
        """Take about `n_windows` windows out of the batches, in scattered runs; their indices.

        Runs, because neighbouring windows are about the same text. The same for the same
        seed.
        """
        rng = np.random.default_rng([self.seed, _ASIDE])
        sections = np.array_split(self._windows, max(1, n_windows // _RUN))
        runs = []
        for section in sections:
            length = min(_RUN, n_windows, len(section))
            start = int(rng.integers(len(section) - length + 1))
            runs.append(section[start : start + length])
        aside = np.concatenate(runs)
        self._windows = np.setdiff1d(self._windows, aside)
        self._orders = EpochOrders(self.seed)
        return [int(i) for i in aside]

    def _indices(self, step: int) -> list[int]:
        """The windows of batch `step`."""
        first, n = step * self.batch_size, self.n_windows
        places = (divmod(first + i, n) for i in range(self.batch_size))
        return [int(self._windows[self._orders.order(epoch, n)[place]]) for epoch, place in places]

    def _start(self, index: int) -> int:
        return min(index * self.context, len(self._ids) - self.context - 1)
