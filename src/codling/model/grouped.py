"""One matrix product per group of rows, for experts.

`grouped_matmul` runs `F.grouped_mm`. It is an operator of its own for torch.compile: torch 2.13
compiles the bare function only in bf16 with aligned strides, though the eager one takes any type.

Legend: A rows (sorted by group), N groups, I and O input and output width.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F


@torch.library.custom_op("codling::grouped_matmul", mutates_args=())
def grouped_matmul(x_AI: Tensor, weight_NOI: Tensor, ends_N: Tensor) -> Tensor:
    """[A, O]: rows ends[n-1] to ends[n] - 1 of `x` times weight[n]^T; `ends` is int32."""
    if x_AI.shape[0] == 0:
        return x_AI.new_empty(0, weight_NOI.shape[1])
    return F.grouped_mm(x_AI, weight_NOI.transpose(1, 2), offs=ends_N)


@grouped_matmul.register_fake
def _(x_AI: Tensor, weight_NOI: Tensor, _ends: Tensor) -> Tensor:
    return x_AI.new_empty(x_AI.shape[0], weight_NOI.shape[1])


@torch.library.custom_op("codling::grouped_outer", mutates_args=())
def _grouped_outer(grad_AO: Tensor, x_AI: Tensor, ends_N: Tensor) -> Tensor:
    """The gradient of the weights, [N, O, I]: per group, grad^T x."""
    if x_AI.shape[0] == 0:
        return x_AI.new_zeros(ends_N.shape[0], grad_AO.shape[1], x_AI.shape[1])
    return F.grouped_mm(grad_AO.t(), x_AI, offs=ends_N)


@_grouped_outer.register_fake
def _(grad_AO: Tensor, x_AI: Tensor, ends_N: Tensor) -> Tensor:
    return x_AI.new_empty(ends_N.shape[0], grad_AO.shape[1], x_AI.shape[1])


def _keep(
    ctx: FunctionCtx,
    inputs: tuple[Tensor, Tensor, Tensor],
    output: Tensor,  # noqa: ARG001
) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: FunctionCtx, grad_AO: Tensor) -> tuple[Tensor, Tensor, None]:
    x_AI, weight_NOI, ends_N = ctx.saved_tensors  # type: ignore[attr-defined]
    grad_AO = grad_AO.contiguous()
    grad_x = grouped_matmul(grad_AO, weight_NOI.transpose(1, 2), ends_N)
    return grad_x, _grouped_outer(grad_AO, x_AI, ends_N), None


grouped_matmul.register_autograd(_backward, setup_context=_keep)
