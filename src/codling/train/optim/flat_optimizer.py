"""The optimiser of a model that one device holds whole: which weights take which rule, clipping.

Not here: the rules (adamw.py, muon.py), schedules (train/schedule.py), weights that are sharded.
"""

import math
from collections.abc import Mapping

from torch import Tensor

from codling.train.config import OptimizerConfig
from codling.train.optim.adamw import AdamSpan
from codling.train.optim.flat import FlatWeights
from codling.train.optim.muon import MuonSpan
from codling.train.parallel.ranks import Ranks

_TINY = 1e-12


class FlatOptimizer:
    """The Optimizer (optimizer.py) of a FlatWeights: updates it from its summed gradient."""

    def __init__(self, weights: FlatWeights, config: OptimizerConfig) -> None:
        self._weights, self.config = weights, config
        kinds = ("matrix", "table", "vector") if config.name == "adamw" else ("table", "vector")
        self._adam = [AdamSpan(weights, kind, config) for kind in kinds]
        self._muon = MuonSpan(weights, config) if config.name == "muon" else None
        self._parts: list[AdamSpan | MuonSpan] = [
            *self._adam,
            *([self._muon] if self._muon else []),
        ]
        self.waits = weights.master.device.type == "cpu"
        """Whether `step` knows the norm before it updates; a GPU would stand still meanwhile."""

    def add_gradients(self, *, first: bool) -> None:
        """Add the parameters' gradients to the fp32 sum (or begin the sum) and drop them."""
        self._weights.add_gradients(first=first)

    def average(self, ranks: Ranks, loss: Tensor) -> Tensor:
        """Average the summed gradient over ranks or crew in place; returns the average loss."""
        if self._weights.crew.n > 1:
            return self._weights.average(loss)
        return ranks.average(self._weights.gradient, loss)

    def step(self, rate: float, *, n_summed: int = 1, wanted: Tensor | None = None) -> Tensor:
        """One update at `rate` times the peak learning rates; returns the gradient's norm.

        The gradient is the mean of `n_summed` summed ones. If its norm is not finite, or it is not
        wanted, nothing changes; where nobody waits for the norm, such a gradient counts as zero.
        """
        norm = self._weights.norm() / n_summed
        if not self.waits:
            scale = (self.config.clip_norm / norm.clamp(min=_TINY)).clamp(max=1.0)
            gradient = self._weights.gradient
            counts = norm.isfinite() if wanted is None else norm.isfinite() & wanted
            gradient.mul_(scale / n_summed).masked_fill_(~counts, 0.0)
        elif math.isfinite(norm) and (wanted is None or bool(wanted)):
            self._scale(min(1.0, self.config.clip_norm / max(float(norm), _TINY)) / n_summed)
        else:
            return norm
        for part in self._parts:
            part.step(rate)
            self._weights.publish(part.own)
        self._weights.crew.meet()
        if self._weights.crew.rank == 0:  # for all members, each of which has read it
            for part in self._parts:
                part.count_update()
        return norm

    def _scale(self, factor: float) -> None:
        for part in self._parts:
            self._weights.gradient[part.own].mul_(factor)

    def weights(self) -> dict[str, Tensor]:
        """The fp32 master copy, as one tensor."""
        return {"master": self._weights.master}

    def as_parts(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same: they are whole."""
        return dict(tensors)

    def publish(self) -> None:
        """Round the master copy into the weights that the model computes with."""
        self._weights.publish()

    def restore(self) -> None:
        """Make the trained parameters fp32 again, with the exact master weights."""
        self._weights.restore_master()

    def state(self) -> dict[str, Tensor]:
        """All but the weights that the next update depends on, by name: views, not copies."""
        merged: dict[str, Tensor] = {}
        for part in self._parts:
            merged.update(part.state())
        return merged

    def forget(self) -> None:
        """Back to the state before the first update."""
        for tensor in self.state().values():
            tensor.zero_()
