"""AdamW (arXiv 1711.05101) over a span of flat weights.

Not here: matrices (muon.py).
"""

import torch
from torch import Tensor

from codling.train.config import OptimizerConfig
from codling.train.optim.flat import FlatWeights


def update_adamw(
    tensors: tuple[Tensor, Tensor, Tensor, Tensor],
    rate: float,
    n: int,
    decay: float,
    config: OptimizerConfig,
) -> None:
    """Update number `n` of the first of weights, gradient, running mean and running square."""
    weights, gradient, mean, square = tensors
    beta1, beta2 = config.betas
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (square / (1 - beta2**n)).sqrt_().add_(config.eps)
    if decay:
        weights.mul_(1 - rate * decay)
    weights.addcdiv_(mean, scale, value=-rate / (1 - beta1**n))


class AdamSpan:
    """AdamW on all parameters of one kind; Kingma & Ba with decoupled decay (arXiv:1711.05101)."""

    def __init__(self, weights: FlatWeights, kind: str, config: OptimizerConfig) -> None:
        self.kind, self.config = kind, config
        self.weights, self.span = weights, weights.slice_of(kind)
        n, device = self.span.stop - self.span.start, weights.master.device
        self.mean = weights.crew.zeros((n,), torch.float32).to(device)
        self.square = weights.crew.zeros((n,), torch.float32).to(device)
        self.n_updates = weights.crew.zeros((), torch.int64)
        self.decay = config.weight_decay if kind == "matrix" else 0.0

    @property
    def own(self) -> slice:
        """The elements of the flat weights that this process updates."""
        part = self.weights.crew.cut(self.mean.numel())
        return slice(self.span.start + part.start, self.span.start + part.stop)

    def step(self, rate: float) -> None:
        """Update the master weights at `rate` times the peak learning rate."""
        if not self.mean.numel():
            return
        own, part = self.own, self.weights.crew.cut(self.mean.numel())
        master, gradient = self.weights.master[own], self.weights.gradient[own]
        update_adamw(
            (master, gradient, self.mean[part], self.square[part]),
            rate * self.config.learning_rate,
            int(self.n_updates) + 1,
            self.decay,
            self.config,
        )

    def count_update(self) -> None:
        """One more update is done."""
        self.n_updates += bool(self.mean.numel())

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on, by name: views, not copies."""
        return {
            f"adam.{self.kind}.mean": self.mean,
            f"adam.{self.kind}.square": self.square,
            f"adam.{self.kind}.n_updates": self.n_updates,
        }
