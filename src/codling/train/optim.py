"""Optimisers over flat weights: AdamW, and Muon for the matrices.

Input: a model and its gradients. Output: new weights. All parameters live in one flat tensor in the
dtype of the products (bf16) beside an fp32 master copy, so that an update is a few long passes over
memory and the state on disk is a handful of tensors.

    FlatWeights   the parameters as views of one tensor, with master copy and summed gradients
    Optimizer     one update: clip, AdamW and Muon, weight decay; refuses non-finite gradients

Muon (Keller Jordan, 2024): momentum, orthogonalised by a Newton-Schulz iteration, so that every
update has singular values near 1, times the rate and sqrt(max(1, rows / columns)). It takes the
matrices of the layers; embeddings, head, norms and biases always take AdamW, as does everything if
`OptimizerConfig.name` is "adamw".

Not here: the learning rate over time (schedule.py) and the loop (trainer.py).
"""

import math
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from codling.train.config import OptimizerConfig

# Odd quintic whose iteration sends singular values in (0, 1] close to 1; from the Muon code.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ALIGN = 64
"""Elements; every parameter starts on a cache line of its own."""


@dataclass(frozen=True)
class Slot:
    """One parameter's place in the flat tensors."""

    name: str
    shape: torch.Size
    start: int
    kind: str
    """ "matrix" (of a layer), "table" (embedding, head) or "vector" (norms, biases)."""

    @property
    def end(self) -> int:
        """One past the last element."""
        return self.start + self.shape.numel()


def view(flat: Tensor, slot: Slot) -> Tensor:
    """A parameter inside one of the flat tensors."""
    return flat[slot.start : slot.end].view(slot.shape)


class FlatWeights:
    """The parameters of a model as views of one flat tensor, with an fp32 master copy.

    After construction the model's parameters are in `dtype` and share memory with `working`.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        named = [(kind_of(n, p, model), n, p) for n, p in model.named_parameters()]
        # Matrices of one shape lie side by side: Muon treats them as one stack.
        named.sort(key=lambda each: (each[0], tuple(each[2].shape)))
        self.slots: list[Slot] = []
        start = 0
        for kind, name, parameter in named:
            self.slots.append(Slot(name, parameter.shape, start, kind))
            start = -(-self.slots[-1].end // _ALIGN) * _ALIGN
        device = named[0][2].device
        self.master = torch.zeros(start, dtype=torch.float32, device=device)
        self.working = torch.zeros(start, dtype=dtype, device=device)
        self.gradient = torch.zeros(start, dtype=torch.float32, device=device)
        self._parameters = [parameter for _, _, parameter in named]
        for slot, parameter in zip(self.slots, self._parameters, strict=True):
            view(self.master, slot).copy_(parameter.detach())
            parameter.data = view(self.working, slot)
        self.publish()

    def add_gradients(self, *, first: bool) -> None:
        """Add the parameters' gradients to the fp32 sum (or begin the sum) and drop them."""
        for slot, parameter in zip(self.slots, self._parameters, strict=True):
            total = view(self.gradient, slot)
            if parameter.grad is None:
                total.mul_(0.0 if first else 1.0)
            elif first:
                total.copy_(parameter.grad)
            else:
                total.add_(parameter.grad)
            parameter.grad = None

    def publish(self) -> None:
        """Round the master copy into the weights that the model computes with."""
        self.working.copy_(self.master)

    def restore_master(self) -> None:
        """Make the model's parameters fp32 again, with the exact master weights."""
        for slot, parameter in zip(self.slots, self._parameters, strict=True):
            parameter.data = view(self.master, slot)

    def span(self, kind: str) -> slice:
        """The elements of all parameters of a kind; they are contiguous."""
        chosen = [s for s in self.slots if s.kind == kind]
        return slice(chosen[0].start, chosen[-1].end) if chosen else slice(0, 0)


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

    def step(self, rate: float, *, n_summed: int = 1) -> float:
        """One update at `rate` times the peak learning rates; returns the gradient's norm.

        The gradient is the mean of `n_summed` summed ones. If its norm is not finite, nothing
        changes.
        """
        gradient = self.weights.gradient
        norm = float(torch.linalg.vector_norm(gradient)) / n_summed
        if not math.isfinite(norm):
            return norm
        gradient.mul_(min(1.0, self.config.clip_norm / max(norm, 1e-12)) / n_summed)
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


class _AdamSpan:
    """AdamW on all parameters of one kind; Kingma & Ba with decoupled decay (arXiv:1711.05101)."""

    def __init__(self, weights: FlatWeights, kind: str, config: OptimizerConfig) -> None:
        self.kind, self.config = kind, config
        span = weights.span(kind)
        self.master, self.gradient = weights.master[span], weights.gradient[span]
        self.mean = torch.zeros_like(self.master)
        self.square = torch.zeros_like(self.master)
        self.n_updates = torch.zeros((), dtype=torch.int64)
        self.decay = config.weight_decay if kind == "matrix" else 0.0

    def step(self, rate: float) -> None:
        if not self.master.numel():
            return
        beta1, beta2 = self.config.betas
        self.n_updates += 1
        n = int(self.n_updates)
        rate = rate * self.config.learning_rate
        self.mean.lerp_(self.gradient, 1 - beta1)
        self.square.mul_(beta2).addcmul_(self.gradient, self.gradient, value=1 - beta2)
        scale = (self.square / (1 - beta2**n)).sqrt_().add_(self.config.eps)
        if self.decay:
            self.master.mul_(1 - rate * self.decay)
        self.master.addcdiv_(self.mean, scale, value=-rate / (1 - beta1**n))

    def state(self) -> dict[str, Tensor]:
        return {
            f"adam.{self.kind}.mean": self.mean,
            f"adam.{self.kind}.square": self.square,
            f"adam.{self.kind}.n_updates": self.n_updates,
        }


class _MuonSpan:
    """Muon on the matrices of the layers, a stack of equal shapes at a time."""

    def __init__(self, weights: FlatWeights, config: OptimizerConfig) -> None:
        self.weights, self.config = weights, config
        span = weights.span("matrix")
        self.momentum = torch.zeros_like(weights.master[span])
        self.span = span
        matrices = [s for s in weights.slots if s.kind == "matrix"]
        self.stacks = [list(group) for _, group in groupby(matrices, key=lambda s: s.shape)]

    def step(self, rate: float) -> None:
        momentum, gradient = self.momentum, self.weights.gradient[self.span]
        momentum.lerp_(gradient, 1 - self.config.muon_momentum)
        gradient.lerp_(momentum, self.config.muon_momentum)  # Nesterov's look ahead
        rate = rate * self.config.muon_learning_rate
        for slots in self.stacks:
            direction_NRC = torch.stack([view(self.weights.gradient, s) for s in slots])
            update_NRC = orthogonalize(direction_NRC.flatten(0, -3), self.config.muon_iterations)
            rows, columns = update_NRC.shape[-2:]
            scale = math.sqrt(max(1.0, rows / columns))
            for slot, update in zip(slots, update_NRC.view(direction_NRC.shape), strict=True):
                master = view(self.weights.master, slot)
                master.mul_(1 - rate * self.config.weight_decay)
                master.add_(update, alpha=-rate * scale)

    def state(self) -> dict[str, Tensor]:
        return {"muon.momentum": self.momentum}


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


def kind_of(name: str, parameter: Tensor, model: nn.Module) -> str:
    """Which optimiser a parameter takes: "matrix", "table" or "vector"."""
    if parameter.ndim < 2:
        return "vector"
    module = model.get_submodule(name.rpartition(".")[0])
    is_table = isinstance(module, nn.Embedding) or name.endswith(("lm_head.weight", "head.weight"))
    return "table" if is_table else "matrix"
