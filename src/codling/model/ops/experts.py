"""Routed experts: `apply_experts` chooses between sorting all assignments and a product per expert.

Legend: T tokens, E hidden width, N experts, K experts per token, F width of an expert, A = T x K
assignments.

Not here: which experts a token goes to, and their weights (model/moe.py).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.model.ops.grouped import grouped_matmul


def apply_experts(  # noqa: PLR0913 -- where tokens go, and two matrices per expert
    x_TE: Tensor,
    experts_TK: Tensor,
    weights_TK: Tensor,
    gate_up_NFE: Tensor,
    down_NEF: Tensor,
    *,
    is_training: bool,
) -> Tensor:
    """The sum of the chosen experts' outputs, each times its weight, [T, E]."""
    few = experts_TK.numel() <= gate_up_NFE.shape[0] // 2
    if few and x_TE.device.type == "cpu" and not is_training:
        # Most experts idle: a product per expert that is hit beats sorting.
        return apply_experts_plain(x_TE, experts_TK, weights_TK, gate_up_NFE, down_NEF)
    return apply_experts_sorted(x_TE, experts_TK, weights_TK, gate_up_NFE, down_NEF)


def apply_experts_sorted(
    x_TE: Tensor, experts_TK: Tensor, weights_TK: Tensor, gate_up_NFE: Tensor, down_NEF: Tensor
) -> Tensor:
    """Sort the assignments by expert, multiply group by group, put them back in order."""
    n_chosen = experts_TK.shape[1]
    flat = experts_TK.flatten()
    order = flat.argsort(stable=True)
    counts = flat.new_zeros(gate_up_NFE.shape[0]).scatter_add_(0, flat, torch.ones_like(flat))
    ends = counts.cumsum(0).to(torch.int32)
    sorted_AE = x_TE[order // n_chosen]
    gate, up = grouped_matmul(sorted_AE, gate_up_NFE, ends).chunk(2, -1)
    out_AE: Tensor = grouped_matmul(F.silu(gate) * up, down_NEF, ends)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    out_TKE = out_AE[back].view(*experts_TK.shape, -1)
    return (out_TKE * weights_TK.unsqueeze(-1).to(out_TKE.dtype)).sum(1)


def apply_experts_plain(
    x_TE: Tensor, experts_TK: Tensor, weights_TK: Tensor, gate_up_NFE: Tensor, down_NEF: Tensor
) -> Tensor:
    """The same, expert by expert: the reference."""
    out_TE = torch.zeros_like(x_TE)
    for expert in torch.unique(experts_TK).tolist():
        rows, slots = (experts_TK == expert).nonzero(as_tuple=True)
        gate, up = F.linear(x_TE[rows], gate_up_NFE[expert]).chunk(2, -1)
        out = F.linear(F.silu(gate) * up, down_NEF[expert])
        weights = weights_TK[rows, slots].unsqueeze(-1).to(out.dtype)
        out_TE = out_TE.index_add(0, rows, out * weights)
    return out_TE
