"""Muon: momentum with orthogonalised matrices.

Not here: vectors and embeddings (adamw.py).
"""

import math
from itertools import groupby

import torch
from torch import Tensor

from codling.train.config import OptimizerConfig
from codling.train.optim.flat import FlatWeights, ParameterSpan, stack_of

# Odd quintic whose iteration sends singular values in (0, 1] close to 1; from the Muon code.
_QUINTIC = (3.4445, -4.7750, 2.0315)


class MuonSpan:
    """Muon on the matrices of the layers, a stack of equal shapes at a time."""

    def __init__(self, weights: FlatWeights, config: OptimizerConfig) -> None:
        self.weights, self.config = weights, config
        self.span = weights.slice_of("matrix")
        n, device = self.span.stop - self.span.start, weights.master.device
        self.momentum = weights.crew.zeros((n,), torch.float32).to(device)
        matrices = [s for s in weights.spans if s.kind == "matrix"]
        self.shares = share_out(matrices, weights.crew.n)

    @property
    def own(self) -> slice:
        """The elements of the flat weights that this process updates."""
        spans = self.shares[self.weights.crew.rank]
        return slice(spans[0].start, spans[-1].end) if spans else slice(0, 0)

    def step(self, rate: float) -> None:
        """Update the master weights at `rate` times the peak learning rate."""
        own, first = self.own, self.span.start
        momentum, gradient = (
            self.momentum[own.start - first : own.stop - first],
            self.weights.gradient[own],
        )
        if not gradient.numel():
            return
        momentum.lerp_(gradient, 1 - self.config.muon_momentum)
        gradient.lerp_(momentum, self.config.muon_momentum)  # Nesterov's look ahead
        rate = rate * self.config.muon_learning_rate
        spans_here = self.shares[self.weights.crew.rank]
        for _, group in groupby(spans_here, key=lambda s: s.shape):
            spans = list(group)
            direction_NRC = stack_of(self.weights.gradient, spans)
            update_NRC = orthogonalize(direction_NRC.flatten(0, -3), self.config.muon_iterations)
            rows, columns = update_NRC.shape[-2:]
            scale = math.sqrt(max(1.0, rows / columns))
            master_NRC = stack_of(self.weights.master, spans)
            master_NRC.mul_(1 - rate * self.config.weight_decay)
            master_NRC.add_(update_NRC.view(direction_NRC.shape), alpha=-rate * scale)

    def count_update(self) -> None:
        """Nothing: an update is the same whatever its number."""

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on, by name: views, not copies."""
        return {"muon.momentum": self.momentum}


def share_out(spans: list[ParameterSpan], n: int) -> list[list[ParameterSpan]]:
    """Neighbours for each of `n` members, of about equal cost: elements times the shorter side."""
    costs = [s.shape.numel() * min(s.shape[-2:]) for s in spans]
    shares: list[list[ParameterSpan]] = [[] for _ in range(n)]
    done, total = 0, max(1, sum(costs))
    for span, cost in zip(spans, costs, strict=True):
        shares[min(n - 1, (2 * done + cost) * n // (2 * total))].append(span)
        done += cost
    return shares


def orthogonalize(matrices_NRC: Tensor, n_iterations: int = 5) -> Tensor:
    """About U V^T of each matrix U S V^T, singular values within roughly 0.7 to 1.2, in bf16."""
    a, b, c = _QUINTIC
    x = matrices_NRC.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x.float(), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(n_iterations):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x
