"""The held-out loss that is measured on the way, always on the same few batches.

Input: the batches, a loss. Output: its mean over the targets that count.

Not here: when it is measured, and what follows from it (trainer.py); the score of a finished model
(evaluate/heldout).
"""

import math
import statistics

import torch

from codling.train.crew import Crew, Do, Instruction
from codling.train.languages import HeldoutLanguages
from codling.train.loader import Batch, Clock
from codling.train.step import LossStep


class HeldoutLoss:
    """`measure()` is the mean loss over the batches, which the members of a crew share."""

    def __init__(
        self,
        batches: tuple[Batch, ...],
        device: torch.device,
        crew: Crew,
        clock: Clock,
        languages: HeldoutLanguages | None = None,
    ) -> None:
        """With `languages` the loss of every row is measured, and `bits` has their bits per byte
        after each measurement."""
        self.batches, self.device, self.crew, self.clock = batches, device, crew, clock
        self.languages = languages
        self.bits: dict[str, float] = {}
        self._losses = crew.zeros((len(batches),), torch.float64)
        n_rows = max((batch[0].shape[0] for batch in batches), default=0)
        self._rows = crew.zeros((len(batches), n_rows), torch.float64)

    def measure(self, step_fn: LossStep) -> float:
        """Mean over the targets that count; nan without batches."""
        self.crew.tell(Instruction(Do.MEASURE))
        losses = self.measure_own(step_fn)
        if self.languages is not None:
            self.bits = self.languages.bits_per_byte(self._rows[: len(losses)].tolist())
        counts = [step_fn.n_counted(batch) for batch in self.batches]
        # Without weights where all are equal: their rounding would differ.
        weights = counts if len(set(counts)) > 1 else None
        return statistics.fmean(losses, weights) if losses else math.nan

    def measure_own(self, step_fn: LossStep) -> list[float]:
        """The loss of every batch, of which each member of the crew computes its part."""
        for number in range(self.crew.rank, len(self.batches), self.crew.n):
            batch = self.batches[number]
            if self.languages is None:
                self._losses[number] = self._evaluate(step_fn, batch)
            else:
                rows = step_fn.evaluate_rows(*(each.to(self.device) for each in batch))
                self._rows[number, : len(rows)] = rows
                self._losses[number] = rows.mean()
        self.crew.meet()
        return self._losses[: len(self.batches)].tolist()

    def seconds_per_batch(self, step_fn: LossStep) -> float:
        """The faster of two tries of this process, shared by the crew."""
        tries = []
        for _ in range(2):
            started = self.clock()
            self._evaluate(step_fn, self.batches[0])
            tries.append(self.clock() - started)
        return min(tries) / self.crew.n

    def _evaluate(self, step_fn: LossStep, batch: Batch) -> float:
        return step_fn.evaluate(*(each.to(self.device) for each in batch))
