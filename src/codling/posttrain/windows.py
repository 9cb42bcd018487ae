"""Windows of whole documents, without cuts and nearly without padding.

Input: a stream of labelled documents (tokens/dialogue_files.py). Output: batches as a pure function
of their number: inputs and targets [B, T], where only counted tokens are targets; the number of
each token's document, by which no document sees another; and the weight of a micro-batch in its
update, so that every counted token of an update weighs the same, however unequally the answers are
spread over micro-batches and processes.

Documents are placed by best fit, the longest first; what remains free at a window's end is filled
and ignored. Where each has a window of its own, batches can be grouped by length. Each epoch visits
all windows in a fresh order.

Not here: the loop (train/trainer.py).
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.tokens.dataset import EpochOrders
from codling.tokens.dialogue_files import LabelledStream
from codling.train.loader import Batch
from codling.train.loss import IGNORED
from codling.train.parallel.ranks import Ranks

Weigh = Literal["tokens", "batches"]
_SORTED_BATCHES, _WIDTHS = 50, 8
"""Rows are sorted by length among those of so many batches; so many widths of batches."""


def place_whole(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Which of the `lengths` share a window of `size`; each goes where it leaves the least room.

    >>> place_whole([2, 6, 3, 4], 8)
    [[1, 0], [3, 2]]
    """
    windows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect_left(rooms, (lengths[index], -1))
        room, window = rooms.pop(at) if at < len(rooms) else (size, len(windows))
        if window == len(windows):
            windows.append([])
        windows[window].append(index)
        insort(rooms, (room - lengths[index], window))
    return windows


class Windows:
    """The windows of one stream.

    Legend: B batch, T tokens of a window.
    """

    def __init__(  # noqa: PLR0913 (a stream, and how it is laid out)
        self,
        stream: LabelledStream,
        context: int,
        filler: int,
        seed: int,
        *,
        packing: bool = True,
        weigh: Weigh = "tokens",
        group: int = 0,
    ) -> None:
        """`context` is T, `filler` the token at ignored places; without `packing` every document
        has a window of its own. `weigh`: what weighs the same in an update. `group`, without
        packing: so many rows, those of a batch, are of about one length.

        A document of n tokens takes n - 1 places: its last token is only a target. Documents of
        which nothing counts are left out. Raises ConfigError if one does not fit.
        """
        self._stream, self._filler = stream, filler
        self.context = context
        self._weigh, self._group = weigh, 0 if packing else group
        spans = zip(stream.starts.tolist(), stream.lengths.tolist(), strict=True)
        self._spans = [(s, s + n) for s, n in spans if stream.counted[s + 1 : s + n].any()]
        places = [end - start - 1 for start, end in self._spans]
        if places and max(places) > context:
            raise ConfigError(
                f"a document has {max(places) + 1} tokens, which do not fit into a context of "
                f"{context}; give --context {max(places)}, or make the dialogues with a smaller one"
            )
        alone = [[index] for index in range(len(places))]
        self._windows = place_whole(places, context) if packing else alone
        self.n_counted = np.array([self._count(window) for window in self._windows])
        """Targets that count, of every window."""
        self.filled = sum(places) / max(1, len(self._windows) * context)
        """Share of the places that hold a document's token."""
        self._orders = EpochOrders(seed, self._group_by_length if self._group else None)

    def __len__(self) -> int:
        """Windows of an epoch."""
        return len(self._windows)

    def batch(self, windows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and documents of these windows, [B, T] each; grouped by length, [B, W]
        with W the least multiple of an eighth of T that holds them (few lengths to compile for)."""
        inputs = np.full((len(windows), self._width(windows)), self._filler, dtype=np.int64)
        targets = np.full_like(inputs, IGNORED)
        documents = np.zeros_like(inputs)
        for row, window in enumerate(windows):
            at = 0
            for number, index in enumerate(self._windows[window], 1):
                start, end = self._spans[index]
                place = slice(at, at := at + end - start - 1)
                ids = self._stream.ids[start:end].astype(np.int64)
                inputs[row, place] = ids[:-1]
                targets[row, place] = np.where(
                    self._stream.counted[start + 1 : end], ids[1:], IGNORED
                )
                documents[row, place] = number
        return torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(documents)

    def micro_batch(self, number: int, batch_size: int, accumulate: int, ranks: Ranks) -> Batch:
        """This rank's rows of micro-batch `number`, and their weight in the mean of the update.

        `batch_size` counts the rows of all ranks.
        """
        first = number - number % accumulate
        update = self._visit(first * batch_size, accumulate * batch_size)
        at = (number - first) * batch_size
        own = update[at : at + batch_size][ranks.rows(batch_size)]
        if self._weigh == "batches":
            return *self.batch(own), torch.tensor(1.0)
        share = self.n_counted[own].sum() / self.n_counted[update].sum()
        weight = torch.tensor(share * accumulate * ranks.n_data, dtype=torch.float32)
        return *self.batch(own), weight

    def _visit(self, first: int, n: int) -> list[int]:
        """Windows number `first` to `first + n` over all epochs."""
        places = (divmod(i, len(self)) for i in range(first, first + n))
        return [int(self._orders.order(epoch, len(self))[place]) for epoch, place in places]

    def _group_by_length(
        self, order: npt.NDArray[np.int64], epoch: int, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """The epoch's order, in which every batch has rows of about one length.

        Batches do not end where epochs do: the first rows complete the last batch of the epoch
        before.
        """
        first = -epoch * len(order) % self._group
        runs = range(first, len(order), _SORTED_BATCHES * self._group)
        pieces = [order[: min(first, len(order))]]
        for start in runs:
            run = order[start : start + _SORTED_BATCHES * self._group]
            run = run[np.argsort([-self._places(window) for window in run], kind="stable")]
            pieces += np.split(run, range(self._group, len(run), self._group))
        whole = [piece for piece in pieces[1:] if len(piece) == self._group]
        rest = [piece for piece in pieces[1:] if len(piece) < self._group]
        return np.concatenate([pieces[0], *(whole[i] for i in rng.permutation(len(whole))), *rest])

    def _width(self, windows: Sequence[int]) -> int:
        if not self._group:
            return self.context
        step = -(-self.context // _WIDTHS)
        return min(self.context, -(-max(map(self._places, windows)) // step) * step)

    def _places(self, window: int) -> int:
        """How many tokens of a window are of a document."""
        spans = (self._spans[index] for index in self._windows[window])
        return sum(end - start - 1 for start, end in spans)

    def _count(self, window: Sequence[int]) -> int:
        spans = (self._spans[index] for index in window)
        return sum(int(self._stream.counted[start + 1 : end].sum()) for start, end in spans)
