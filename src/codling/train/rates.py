"""What the time of a step says: tokens per second, share of the peak, waiting for data, time left.

Input: seconds of each step. Output: numbers for its row of metrics.

The peak is that of this machine in this minute: the fastest of some large products in the type of
the model's, before training. Very small models have no share of it.

Not here: the row's other numbers (trainer.py).
"""

import time
from collections import deque
from statistics import fmean

import torch
from torch import Tensor

from codling.core.log import say
from codling.model.sizes import flops_per_token
from codling.model.transformer import Transformer
from codling.train.readings import Row

MAX_WAITING_SHARE = 0.02
"""More of the steps spent waiting for data is said."""
_RECENT = 20
_SMALLEST_STEP = 1e10
"""Operations of a step below which the share of the peak says nothing."""
_PRODUCT = {"cpu": 1024, "cuda": 8192}
_PEAK_SECONDS = 0.2


class StepRates:
    """The rates of the steps of one process's run."""

    def __init__(self, model: Transformer, inputs_BL: Tensor, n_ranks: int) -> None:
        """`inputs_BL` are those of one micro-batch, of which every one of `n_ranks` has its own."""
        self.tokens_per_micro_batch = inputs_BL.numel() * n_ranks
        self._peak = 0.0
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._waited: deque[float] = deque(maxlen=_RECENT)
        self._has_said = False
        frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
        # Weights that are not trained have no gradient of their own.
        passes = 2 if frozen > model.n_parameters() / 2 else 3
        # A token sees half of its window on average.
        self._flops = passes * flops_per_token(model.config, inputs_BL.shape[1] // 2)

    def measure_peak(self, device: torch.device, dtype: torch.dtype, n_processes: int) -> None:
        """Take this process's peak, times the number of processes, if a step is worth it."""
        if self._flops * self.tokens_per_micro_batch >= _SMALLEST_STEP:
            self._peak = measure_flops(device, dtype) * n_processes

    def of_step(self, n_tokens: int, seconds: float, waited: float, n_left: int) -> Row:
        """The numbers of a step of `n_tokens`, of whose `seconds` some were `waited` for data."""
        self._seconds.append(seconds)
        self._waited.append(waited)
        rate = n_tokens / max(seconds, 1e-9)
        row: Row = {
            "tokens_per_second": round(rate, 1),
            "seconds_waited": round(waited, 6),
            "waiting_share": round(waited / max(seconds, 1e-9), 5),
            "seconds_left": round(n_left * fmean(self._seconds), 1),
        }
        if self._peak:
            row["mfu"] = round(rate * self._flops / self._peak, 4)
        self._say_starved()
        return row

    @property
    def waiting_share(self) -> float:
        """The share of the last steps that was spent waiting for data."""
        return sum(self._waited) / max(1e-9, sum(self._seconds))

    def _say_starved(self) -> None:
        if not self._has_said and len(self._seconds) == _RECENT and self.is_starved:
            self._has_said = True
            say(
                f"training waits for data {self.waiting_share:.0%} of the time "
                f"({MAX_WAITING_SHARE:.0%} at most is normal): put the tokens on a faster disk, or "
                "into memory (/dev/shm)"
            )

    @property
    def is_starved(self) -> bool:
        """Whether the last steps waited longer for data than is normal."""
        return self.waiting_share > MAX_WAITING_SHARE


@torch.no_grad()
def measure_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest of some products of square matrices."""
    n = _PRODUCT.get(device.type, 1024)
    left, right = (torch.ones((n, n), device=device, dtype=dtype) for _ in range(2))
    best, end = float("inf"), time.monotonic() + _PEAK_SECONDS
    while time.monotonic() < end or best == float("inf"):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.monotonic()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - started)
    return 2.0 * n**3 / best
