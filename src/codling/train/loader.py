"""Batches on their way to the device.

Input: batches as a function of their number. Output: the same on the device. On a GPU the next one
is read in a thread and waits in pinned memory, from where it is copied while the GPU computes.

Not here: what the batches are (run.py), and their order (tokens/dataset.py).
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from codling.train.loss import IGNORED

Batch = tuple[Tensor, ...]
"""Inputs and targets [B, L]; of rows with several documents also the number of each token's
document [B, L], and the weight of the batch's mean loss [] among those of its update."""
Batches = Callable[[int], Batch]
"""Micro-batch number -> batch; a pure function, so that runs can resume."""
Clock = Callable[[], float]
"""Seconds since some moment."""


def take_part(batch: Batch, rank: int, n: int) -> Batch:
    """The rows of one of `n` members; the mean of the members' losses is the batch's.

    Where not all targets count, a part weighs as much as it has of those that do.

    >>> rows, ends = torch.zeros(2, 3), torch.tensor([[IGNORED, 5, 7], [IGNORED, IGNORED, 9]])
    >>> [float(take_part((rows, ends, rows, torch.tensor(3.0)), i, 2)[3]) for i in (0, 1)]
    [4.0, 2.0]
    """
    if n == 1:
        return batch
    each = batch[0].shape[0] // n
    rows = slice(rank * each, (rank + 1) * each)
    match batch:
        case (inputs_BL, targets_BL, documents_BL, weight):
            counted_BL = targets_BL != IGNORED
            share = counted_BL[rows].sum() / counted_BL.sum().clamp(min=1)
            own = inputs_BL[rows], targets_BL[rows], documents_BL[rows]
            return *own, weight * (n * share)
        case _:
            return tuple(each_BL[rows] for each_BL in batch)


class Loader:
    """`loader(number)` is a batch on the device."""

    def __init__(
        self,
        batches: Batches,
        device: torch.device,
        *,
        ahead: bool | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`ahead`: read the next batch in the background; by default where the device is a GPU.
        `clock` gives seconds.
        """
        self.batches, self.device, self.clock = batches, device, clock
        self.seconds_waited = 0.0
        """Seconds spent waiting for batches."""
        ahead = device.type != "cpu" if ahead is None else ahead
        self._thread = ThreadPoolExecutor(1) if ahead else None
        self._next: tuple[int, Future[Batch]] | None = None

    def __call__(self, number: int) -> Batch:
        """Batch `number`; the one after it is the next to be read."""
        started = self.clock()
        batch = self._take(number)
        self.seconds_waited += self.clock() - started
        return tuple(each.to(self.device, non_blocking=True) for each in batch)

    def close(self) -> None:
        """Read nothing more."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _take(self, number: int) -> Batch:
        if self._thread is None:
            return self.batches(number)
        begun = self._next
        is_next = begun is not None and begun[0] == number
        batch = begun[1].result() if begun is not None and is_next else self._read(number)
        self._next = number + 1, self._thread.submit(self._read, number + 1)
        return batch

    def _read(self, number: int) -> Batch:
        batch = self.batches(number)
        return tuple(each.pin_memory() for each in batch) if self.device.type == "cuda" else batch
