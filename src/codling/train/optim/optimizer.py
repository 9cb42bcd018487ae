"""The optimiser of a run: which weights take which rule, clipping, state.

Not here: the rules (adamw.py, muon.py), and schedules (train/schedule.py).
"""

import math

import torch
from torch import Tensor

from codling.train.config import OptimizerConfig
from codling.train.optim.adamw import _AdamSpan
from codling.train.optim.flat import FlatWeights
from codling.train.optim.muon import _MuonSpan

_TINY = 1e-12


class Optimizer:
    """Updates a FlatWeights in place from its summed gradient."""

    def __init__(self, weights: FlatWeights, config: OptimizerConfig) -> None:
        self.weights, self.config = weights, config
        kinds = ("matrix", "table", "vector") if config.name == "adamw" else ("table", "vector")
        self._adam = [_AdamSpan(weights, kind, config) for kind in kinds]
        self._muon = _MuonSpan(weights, config) if config.name == "muon" else None
        self._parts: list[_AdamSpan | _MuonSpan] = [
            *self._adam,
            *([self._muon] if self._muon else []),
        ]
        self.waits = weights.master.device.type == "cpu"
        """Whether `step` knows the norm before it updates; a GPU would stand still meanwhile."""

    def step(self, rate: float, *, n_summed: int = 1) -> Tensor:
        """One update at `rate` times the peak learning rates; returns the gradient's norm.

        The gradient is the mean of `n_summed` summed ones. If its norm is not finite, nothing
        changes; where nobody waits for the norm, such a gradient counts as zero.
        """
        gradient = self.weights.gradient
        norm: Tensor = torch.linalg.vector_norm(gradient) / n_summed
        if not self.waits:
            scale = (self.config.clip_norm / norm.clamp(min=_TINY)).clamp(max=1.0)
            gradient.mul_(scale / n_summed).masked_fill_(~norm.isfinite(), 0.0)
        elif math.isfinite(norm):
            gradient.mul_(min(1.0, self.config.clip_norm / max(float(norm), _TINY)) / n_summed)
        else:
            return norm
        for part in self._parts:
            part.step(rate)
        self.weights.publish()
        return norm

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
