"""All trained weights of a model as one flat array per kind, with an fp32 master copy.

Parameters that need no gradient stay where they are, in the type of the products.

Not here: the update rules (adamw.py, muon.py).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codling.train.crew import Crew

_EXACT = "e_score_correction_bias"
"""Moved by steps too small for bf16 (train/experts.py)."""
_ALIGN = 64
"""Elements; every parameter starts on a cache line of its own."""


@dataclass(frozen=True)
class ParameterSpan:
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


def view(flat: Tensor, span: ParameterSpan) -> Tensor:
    """A parameter inside one of the flat tensors."""
    return flat[span.start : span.end].view(span.shape)


def stack_of(flat: Tensor, spans: list[ParameterSpan]) -> Tensor:
    """Neighbours of one shape inside one of the flat tensors, seen as one tensor."""
    first = view(flat, spans[0])
    stride = spans[1].start - spans[0].start if len(spans) > 1 else first.numel()
    shape = (len(spans), *first.shape)
    return first.as_strided(shape, (stride, *first.stride()), first.storage_offset())


class FlatWeights:
    """The trained parameters of a model as views of one flat tensor, with an fp32 master copy.

    After construction all parameters are in `dtype`, but for the biases of routers; the trained
    ones share memory with `working`.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, crew: Crew | None = None) -> None:
        self.crew = crew or Crew()
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad and not name.endswith(_EXACT):
                parameter.data = parameter.data.to(dtype)
        trained = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
        named = [(kind_of(n, p, model), n, p) for n, p in trained]
        # Matrices of one shape lie side by side: Muon treats them as one stack.
        named.sort(key=lambda each: (each[0], tuple(each[2].shape)))
        self.spans: list[ParameterSpan] = []
        start = 0
        for kind, name, parameter in named:
            self.spans.append(ParameterSpan(name, parameter.shape, start, kind))
            start = -(-self.spans[-1].end // _ALIGN) * _ALIGN
        device = named[0][2].device
        self.master = self.crew.zeros((start,), torch.float32).to(device)
        self.working = self.crew.zeros((start,), dtype).to(device)
        self.gradients = self.crew.zeros((self.crew.n, start), torch.float32).to(device)
        """A member's own in each row; their mean in the first."""
        self.gradient = self.gradients[0]
        self._parameters = [parameter for _, _, parameter in named]
        for span, parameter in zip(self.spans, self._parameters, strict=True):
            view(self.master, span).copy_(parameter.detach())
            parameter.data = view(self.working, span)
        self.publish()

    def add_gradients(self, *, first: bool) -> None:
        """Add the parameters' gradients to the fp32 sum (or begin the sum) and drop them."""
        own = self.gradients[self.crew.rank]
        for span, parameter in zip(self.spans, self._parameters, strict=True):
            total = view(own, span)
            if parameter.grad is None:
                if first:
                    total.zero_()  # and not times 0: it may hold what is not finite
            elif first:
                total.copy_(parameter.grad)
            else:
                total.add_(parameter.grad)
            parameter.grad = None

    def average(self, loss: Tensor) -> Tensor:
        """Average the members' gradients into `gradient`; returns the average loss.

        Each member takes the mean of its part of the elements, in the order of the members.
        """
        crew = self.crew
        crew.losses[crew.rank] = loss
        crew.meet()
        own = crew.cut(self.gradient.numel())
        mean = self.gradient[own]
        for other in self.gradients[1:]:
            mean.add_(other[own])
        mean.div_(crew.n)
        crew.squares[crew.rank] = torch.linalg.vector_norm(mean).double().square()
        mean_loss = crew.losses.mean()
        crew.meet()
        return mean_loss

    def norm(self) -> Tensor:
        """Of `gradient`, after `average` where there are several members."""
        if self.crew.n == 1:
            norm: Tensor = torch.linalg.vector_norm(self.gradient)
            return norm
        return self.crew.squares.sum().sqrt().float()

    def publish(self, part: slice = slice(None)) -> None:
        """Round the master copy into the weights that the model computes with."""
        self.working[part].copy_(self.master[part])

    def restore_master(self) -> None:
        """Make the trained parameters fp32 again, with the exact master weights."""
        for span, parameter in zip(self.spans, self._parameters, strict=True):
            parameter.data = view(self.master, span)

    def slice_of(self, kind: str) -> slice:
        """The elements of all parameters of a kind; they are contiguous."""
        chosen = [s for s in self.spans if s.kind == kind]
        return slice(chosen[0].start, chosen[-1].end) if chosen else slice(0, 0)


def kind_of(name: str, parameter: Tensor, model: nn.Module) -> str:
    """Which optimiser a parameter takes: "matrix", "table" or "vector"."""
    if parameter.ndim < 2:
        return "vector"
    module = model.get_submodule(name.rpartition(".")[0])
    is_table = isinstance(module, nn.Embedding) or name.endswith(("lm_head.weight", "head.weight"))
    return "table" if is_table else "matrix"
