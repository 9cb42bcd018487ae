"""Routed experts spread over processes: tokens travel to their experts and back (all-to-all).

Input: a model, a mesh of one dimension. Output: the same model: each process holds n / N of every
layer's experts whole. A forward pass sorts a process's assignments by expert, sends each process
those of its experts, computes what it was sent, and sends the outputs back; gradients take the same
way (GShard, arXiv:2006.16668).

Every process computes other rows, so the gradient of an expert is the sum over all rows; the
optimiser divides it (optim/sharded_optimizer.py).

Not here: which experts a token goes to (model/moe.py).

Legend: A assignments of a token to an expert that are sent, R that are received, E hidden width.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.nn import functional as F

from codling.model.moe import Experts, MoE, Routing
from codling.model.ops.grouped import grouped_matmul
from codling.model.transformer import Transformer


def spread_experts(model: Transformer, mesh: DeviceMesh) -> set[nn.Parameter]:
    """Spread the experts of every layer over the processes of `mesh`; their parameters."""
    spread: set[nn.Parameter] = set()
    for block in model.layers:
        if isinstance(block.mlp, MoE):
            experts = block.mlp.experts
            assert isinstance(experts, Experts)
            block.mlp.experts = SpreadExperts(experts, mesh)
            spread |= set(block.mlp.experts.parameters())
    return spread


class SpreadExperts(nn.Module):
    """The experts of this process, and the way to the others'."""

    def __init__(self, experts: Experts, mesh: DeviceMesh) -> None:
        super().__init__()
        self.group, self.n_ranks = mesh.get_group(), mesh.size()
        self.gate_up_proj = _own_part(experts.gate_up_proj, mesh)
        self.down_proj = _own_part(experts.down_proj, mesh)

    def forward(self, x_TE: Tensor, routing: Routing) -> Tensor:
        """The weighted sum of the chosen experts' outputs, [T, E], wherever they are."""
        n_own = len(_own(self.gate_up_proj))
        n_experts, n_chosen = n_own * self.n_ranks, routing.experts_TK.shape[1]
        flat = routing.experts_TK.flatten()
        kept_TK = routing.kept_TK
        if kept_TK is not None:
            flat = flat.masked_fill(~kept_TK.flatten(), n_experts)
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=n_experts + 1)[:n_experts]
        n_sent = int(counts.sum())
        sorted_AE = x_TE[order[:n_sent] // n_chosen]
        out_AE = self._visit(sorted_AE, counts.view(self.n_ranks, n_own))
        # What was dropped gives zeros, behind the others as in `order`.
        out_AE = F.pad(out_AE, (0, 0, 0, len(order) - n_sent))
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)).to(order))
        out_TKE = out_AE[back].view(*routing.experts_TK.shape, -1)
        return (out_TKE * routing.weights_TK.unsqueeze(-1).to(out_TKE.dtype)).sum(1)

    def _visit(self, sorted_AE: Tensor, counts_RN: Tensor) -> Tensor:
        """What the experts make of rows that are sorted by expert: to their processes and back."""
        theirs_RN = torch.empty_like(counts_RN)
        dist.all_to_all_single(theirs_RN, counts_RN, group=self.group)
        sent, received = counts_RN.sum(1).tolist(), theirs_RN.sum(1).tolist()
        arrived_RE = _RowsByAllToAll.apply(sorted_AE, sent, received, self.group)  # type: ignore[no-untyped-call]
        # They came sorted by sender and then by expert; experts want theirs side by side.
        experts = torch.arange(theirs_RN.shape[1], device=theirs_RN.device).repeat(self.n_ranks)
        order = torch.repeat_interleave(experts, theirs_RN.flatten()).argsort(stable=True)
        ends = theirs_RN.sum(0).cumsum(0).to(torch.int32)
        gate_up, down = (_own(p).to(sorted_AE.dtype) for p in (self.gate_up_proj, self.down_proj))
        gate, up = grouped_matmul(arrived_RE[order], gate_up, ends).chunk(2, -1)
        out_RE = grouped_matmul(F.silu(gate) * up, down, ends)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)).to(order))
        returned: Tensor = _RowsByAllToAll.apply(out_RE[back], received, sent, self.group)  # type: ignore[no-untyped-call]
        return returned


class _RowsByAllToAll(torch.autograd.Function):
    """Rows to other processes, `sent` to each, `received` from each; gradients go back."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        rows: Tensor,
        sent: list[int],
        received: list[int],
        group: dist.ProcessGroup,
    ) -> Tensor:
        ctx.way = (received, sent, group)  # type: ignore[attr-defined]
        return _send(rows, sent, received, group)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _send(grad, *ctx.way), None, None, None  # type: ignore[attr-defined]


def _send(rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    out = rows.new_empty(sum(received), rows.shape[1])
    dist.all_to_all_single(out, rows.contiguous(), received, sent, group=group)
    return out


def _own(parameter: nn.Parameter) -> Tensor:
    assert isinstance(parameter, DTensor)
    return parameter.to_local()


def _own_part(whole: nn.Parameter, mesh: DeviceMesh) -> nn.Parameter:
    own = whole.detach().chunk(mesh.size())[mesh.get_local_rank()].clone()
    return nn.Parameter(DTensor.from_local(own, mesh, [Shard(0)], run_check=False))
