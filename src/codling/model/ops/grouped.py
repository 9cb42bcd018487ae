"""One matrix product per group of rows, for experts.

`grouped_matmul` runs `F.grouped_mm` where type and strides suit it, else one product per group. For
torch.compile it is an operator of its own: torch 2.13 compiles the bare function only in bf16,
though the eager one takes any type.

Legend: A rows (sorted by group), N groups, I and O input and output width.

Not here: which rows go to which expert (moe.py).
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F


def grouped_matmul(x_AI: Tensor, weight_NOI: Tensor, ends_N: Tensor) -> Tensor:
    """[A, O]: rows ends[n-1] to ends[n] - 1 of `x` times weight[n]^T; `ends` is int32.

    Rows behind the last end are undefined.
    """
    if torch.compiler.is_compiling():
        out: Tensor = _operator(x_AI, weight_NOI, ends_N)
        return out
    return _product(x_AI, weight_NOI, ends_N)


def grouped_matmul_plain(x_AI: Tensor, weight_NOI: Tensor, ends_N: Tensor) -> Tensor:
    """The same, group by group: the reference; rows behind the last group give 0."""
    *parts, beyond = torch.tensor_split(x_AI, ends_N.long().cpu())
    products = [rows @ weight.t() for rows, weight in zip(parts, weight_NOI, strict=True)]
    return torch.cat([*products, beyond.new_zeros(len(beyond), weight_NOI.shape[1])])


def _product(x_AI: Tensor, weight_NOI: Tensor, ends_N: Tensor) -> Tensor:
    if x_AI.shape[0] and _suits_kernel(x_AI, weight_NOI):
        return F.grouped_mm(x_AI, weight_NOI.transpose(1, 2), offs=ends_N)
    return grouped_matmul_plain(x_AI, weight_NOI, ends_N)


def _suits_kernel(*tensors: Tensor) -> bool:
    """Whether the fused kernel takes these: no fp64, and strides that are multiples of 16 bytes."""
    if any(t.dtype == torch.float64 for t in tensors):
        return False
    return all(s == 1 or s * t.element_size() % 16 == 0 for t in tensors for s in t.stride())


@torch.library.custom_op("codling::grouped_matmul", mutates_args=())
def _operator(x_AI: Tensor, weight_NOI: Tensor, ends_N: Tensor) -> Tensor:
    return _product(x_AI, weight_NOI, ends_N)


@_operator.register_fake
def _(x_AI: Tensor, weight_NOI: Tensor, _ends: Tensor) -> Tensor:
    return x_AI.new_empty(x_AI.shape[0], weight_NOI.shape[1])


@torch.library.custom_op("codling::grouped_outer", mutates_args=())
def _outer(grad_AO: Tensor, x_AI: Tensor, ends_N: Tensor) -> Tensor:
    """The gradient of the weights, [N, O, I]: per group, grad^T x."""
    if x_AI.shape[0] and _suits_kernel(grad_AO, x_AI):
        return F.grouped_mm(grad_AO.t(), x_AI, offs=ends_N)
    cuts = ends_N.long().cpu()
    grads, rows = torch.tensor_split(grad_AO, cuts)[:-1], torch.tensor_split(x_AI, cuts)[:-1]
    return torch.stack([g.t() @ r for g, r in zip(grads, rows, strict=True)])


@_outer.register_fake
def _(grad_AO: Tensor, x_AI: Tensor, ends_N: Tensor) -> Tensor:
    return x_AI.new_empty(ends_N.shape[0], grad_AO.shape[1], x_AI.shape[1])


def _keep(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _backward(ctx: FunctionCtx, grad_AO: Tensor) -> tuple[Tensor, Tensor, None]:
    x_AI, weight_NOI, ends_N = ctx.saved_tensors  # type: ignore[attr-defined]
    grad_AO = grad_AO.contiguous()
    grad_x = _operator(grad_AO, weight_NOI.transpose(1, 2).contiguous(), ends_N)
    return grad_x, _outer(grad_AO, x_AI, ends_N), None


_operator.register_autograd(_backward, setup_context=_keep)
