"""Every matrix of a block shared by several processes (tensor parallel, arXiv:1909.08053).

Input: a model, a mesh of one dimension. Output: the same model: queries, keys, values, gates and
ups are cut by their rows, so that a process has some heads and some columns of the MLP; outputs and
downs by their columns, whose products are summed over the processes. One sum a half of a block each
way; the rows of the batch are the same in all processes.

Whole in every process: embedding, head, norms, the latents' projections, routers and routed
experts.

Not here: embeddings cut by vocabulary, and activations cut by length between the matrices.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from codling.model.attention import Attention
from codling.model.mla import MLA
from codling.model.moe import MoE
from codling.model.transformer import Transformer

_BY_ROWS = ("q_proj", "k_proj", "v_proj", "q_b_proj", "kv_b_proj", "gate_proj", "up_proj")
_BY_COLUMNS = ("o_proj", "down_proj")


def cut_matrices(model: Transformer, mesh: DeviceMesh) -> None:
    """Cut the blocks' matrices among the processes of `mesh`; their heads must divide evenly."""
    for block in model.layers:
        attention, mlp = block.self_attn, block.mlp
        dense = mlp.shared_experts if isinstance(mlp, MoE) else mlp
        for part in (attention, dense):
            if isinstance(part, nn.Module):
                parallelize_module(part, mesh, _plan(part))
        assert isinstance(attention, Attention | MLA)
        attention.n_heads //= mesh.size()
        if isinstance(attention, MLA):
            attention.shared_key = SumGradient(mesh.get_group())
        elif isinstance(attention, Attention):
            attention.n_kv_heads //= mesh.size()


class SumGradient(nn.Module):
    """Nothing forwards; the gradient becomes the sum over the processes, which have some heads each
    of what all heads share."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """`x`, whole in every process."""
        same: Tensor = _SummedOverHeads.apply(x, self.group)  # type: ignore[no-untyped-call]
        return same


class _SummedOverHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        summed = grad.contiguous().clone()
        dist.all_reduce(summed, group=ctx.group)  # type: ignore[attr-defined]
        return summed, None


def _plan(part: nn.Module) -> dict[str, ParallelStyle]:
    names = [name for name, _ in part.named_children()]
    plan: dict[str, ParallelStyle] = {n: ColwiseParallel() for n in names if n in _BY_ROWS}
    return plan | {n: RowwiseParallel() for n in names if n in _BY_COLUMNS}
