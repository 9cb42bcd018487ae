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
    kept_TK: Tensor | None = None,
    is_training: bool,
) -> Tensor:
    """The sum of the chosen experts' outputs, each times its weight, [T, E].

    Assignments that are not kept are not computed and add nothing.
    """
    few = experts_TK.numel() <= gate_up_NFE.shape[0] // 2
    if few and x_TE.device.type == "cpu" and not is_training:
        # Most experts idle: a product per expert that is hit beats sorting.
        return apply_experts_plain(x_TE, experts_TK, weights_TK, gate_up_NFE, down_NEF, kept_TK)
    return apply_experts_sorted(x_TE, experts_TK, weights_TK, gate_up_NFE, down_NEF, kept_TK)


def apply_experts_sorted(  # noqa: PLR0913 -- as above
    x_TE: Tensor,
    experts_TK: Tensor,
    weights_TK: Tensor,
    gate_up_NFE: Tensor,
    down_NEF: Tensor,
    kept_TK: Tensor | None = None,
) -> Tensor:
    """Sort the assignments by expert, multiply group by group, put them back in order.

    What is not kept stands behind the last expert's rows, where no group reaches.
    """
    n_chosen, n_experts = experts_TK.shape[1], gate_up_NFE.shape[0]
    flat = experts_TK.flatten()
    if kept_TK is not None:
        flat = flat.masked_fill(~kept_TK.flatten(), n_experts)
    order = flat.argsort(stable=True)
    counts = flat.new_zeros(n_experts + 1).scatter_add_(0, flat, torch.ones_like(flat))
    ends = counts[:n_experts].cumsum(0).to(torch.int32)
    sorted_AE = x_TE[order // n_chosen]
    places = torch.arange(len(order), device=order.device)
    if kept_TK is not None:
        # Behind the last group a fused kernel leaves what was in memory, backwards too.
        beyond_A1 = (places >= ends[-1])[:, None]
        sorted_AE = sorted_AE.masked_fill(beyond_A1, 0.0)
    gate, up = grouped_matmul(sorted_AE, gate_up_NFE, ends).chunk(2, -1)
    out_AE: Tensor = grouped_matmul(F.silu(gate) * up, down_NEF, ends)
    if kept_TK is not None:
        out_AE = out_AE.masked_fill(beyond_A1, 0.0)
    back = torch.empty_like(order).scatter_(0, order, places)
    out_TKE = out_AE[back].view(*experts_TK.shape, -1)
    return (out_TKE * weights_TK.unsqueeze(-1).to(out_TKE.dtype)).sum(1)


def apply_experts_plain(  # noqa: PLR0913 -- as above
    x_TE: Tensor,
    experts_TK: Tensor,
    weights_TK: Tensor,
    gate_up_NFE: Tensor,
    down_NEF: Tensor,
    kept_TK: Tensor | None = None,
) -> Tensor:
    """The same, expert by expert: the reference."""
    out_TE = torch.zeros_like(x_TE)
    for expert in torch.unique(experts_TK).tolist():
        is_here_TK = experts_TK == expert
        rows, slots = (is_here_TK if kept_TK is None else is_here_TK & kept_TK).nonzero(
            as_tuple=True
        )
        gate, up = F.linear(x_TE[rows], gate_up_NFE[expert]).chunk(2, -1)
        out = F.linear(F.silu(gate) * up, down_NEF[expert])
        weights = weights_TK[rows, slots].unsqueeze(-1).to(out.dtype)
        out_TE = out_TE.index_add(0, rows, out * weights)
    return out_TE
