"""Numbers of a step, read without making a GPU wait.

A number on a GPU can be read when all that was asked of it before is done; asking at once leaves it
without work until the next step is sent. So a step's numbers are copied when they are there, and
read a step later. On a CPU they are there at once.

Not here: what the numbers mean (trainer.py).
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Row = dict[str, Any]
"""A step's metrics."""


class Readings:
    """Rows of metrics whose loss and gradient norm may still be on their way."""

    def __init__(self, device: torch.device, *, late: int | None = None) -> None:
        """`late`: how many steps later a row is read; by default one where the device is a GPU."""
        self.late = (0 if device.type == "cpu" else 1) if late is None else late
        self._waiting: deque[tuple[Row, list[str], Callable[[], list[float]]]] = deque()

    def add(
        self, row: Row, loss: Tensor, norm: Tensor, beside: Mapping[str, Tensor] | None = None
    ) -> None:
        """A step's row, without its loss and norm, and without the numbers `beside` them."""
        beside = beside or {}
        numbers = torch.stack([each.double() for each in (loss, norm, *beside.values())])
        self._waiting.append((row, list(beside), _send(numbers)))

    def take_ready(self, *, all_of_them: bool = False) -> list[tuple[Row, float, float]]:
        """The rows, losses and norms that it is time to read, the oldest first."""
        found = []
        while len(self._waiting) > (0 if all_of_them else self.late):
            row, names, read = self._waiting.popleft()
            loss, norm, *beside = read()
            row |= {name: round(value, 6) for name, value in zip(names, beside, strict=True)}
            found.append((row, loss, norm))
        return found


def _send(numbers: Tensor) -> Callable[[], list[float]]:
    """Start a copy to the host; the returned function waits for that copy only, and reads it."""
    if numbers.device.type != "cuda":
        return numbers.tolist
    copied = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    copied.copy_(numbers, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def read() -> list[float]:
        done.synchronize()
        found: list[float] = copied.tolist()
        return found

    return read
