"""DeepSeekMoE: routed experts beside shared ones (arXiv:2401.06066; routing of arXiv:2405.04434).

    scores  = softmax(W_g x), in fp32
    chosen  = the K best experts; group-limited: only of the groups whose best expert is best
    out     = sum over chosen of (scaling x score x expert(x)) + shared(x)

A group is what one device holds, so a token goes to `topk_group` devices at most. Every token
reaches all its experts, whatever the load, unless training gives a Capacity.

Not here: how the experts are computed (ops/experts.py), balance losses and which assignments a
capacity drops (balance.py).

Legend: T tokens, E hidden width, N experts, K experts per token, F width of an expert.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codling.model.balance import Capacity, keep_within
from codling.model.config import ModelConfig, MoEConfig
from codling.model.mlp import MLP
from codling.model.ops.experts import apply_experts


class Routing(NamedTuple):
    """Where the tokens of a layer go."""

    scores_TN: Tensor
    """Affinity to every expert, fp32, sums to 1."""
    experts_TK: Tensor
    """The chosen experts."""
    weights_TK: Tensor
    """What each chosen expert's output is multiplied by, fp32."""
    kept_TK: Tensor | None = None
    """False for what goes beyond a capacity and is not computed; None: all is."""


class RoutingLog:
    """The routings of the layers that a batch went through, in their order.

    An object of its own: FSDP gives modules copies of the lists that it is given.
    """

    def __init__(self) -> None:
        self.routings: list[Routing] = []


class Router(nn.Module):
    """Chooses experts by affinity."""

    def __init__(self, hidden_size: int, moe: MoEConfig) -> None:
        super().__init__()
        self.moe = moe
        self.weight = nn.Parameter(torch.empty(moe.n_routed_experts, hidden_size))
        if moe.selection_bias:
            # DeepSeek-V3's name. No gradient moves it: train/experts.py does.
            bias_N = torch.empty(moe.n_routed_experts)
            self.e_score_correction_bias = nn.Parameter(bias_N, requires_grad=False)

    def forward(self, x_TE: Tensor) -> Routing:
        """The routing of every token."""
        scores_TN = F.linear(x_TE.float(), self.weight.float()).softmax(-1)
        return route(scores_TN, self.moe, getattr(self, "e_score_correction_bias", None))


def route(scores_TN: Tensor, moe: MoEConfig, bias_N: Tensor | None = None) -> Routing:
    """Choose by affinity: the K best experts, or the K best of the best groups.

    `bias_N` is added for the choice alone.
    """
    eligible_TN = scores_TN if bias_N is None else scores_TN.detach() + bias_N
    if moe.topk_method == "group_limited_greedy":
        grouped = eligible_TN.view(-1, moe.n_group, moe.n_routed_experts // moe.n_group)
        best_groups = grouped.amax(-1).topk(moe.topk_group, dim=-1, sorted=False).indices
        kept = torch.zeros_like(grouped[..., 0]).scatter(1, best_groups, 1.0)
        if bias_N is None:
            eligible_TN = (grouped * kept.unsqueeze(-1)).view_as(scores_TN)
        else:  # what is biased may be below zero
            eligible_TN = grouped.masked_fill(kept.unsqueeze(-1) == 0, -1e9).view_as(scores_TN)
    weights_TK, experts_TK = eligible_TN.topk(moe.n_experts_per_token, dim=-1, sorted=False)
    if bias_N is not None:
        weights_TK = scores_TN.gather(1, experts_TK)
    if moe.norm_topk_prob and moe.n_experts_per_token > 1:
        weights_TK = weights_TK / (weights_TK.sum(-1, keepdim=True) + 1e-20)
    else:
        weights_TK = weights_TK * moe.routed_scaling_factor
    return Routing(scores_TN, experts_TK, weights_TK)


class Experts(nn.Module):
    """The weights of all routed experts of a layer, each a gated MLP."""

    def __init__(self, hidden_size: int, moe: MoEConfig) -> None:
        super().__init__()
        n, width = moe.n_routed_experts, moe.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(n, 2 * width, hidden_size))
        self.down_proj = nn.Parameter(torch.empty(n, hidden_size, width))

    def forward(self, x_TE: Tensor, routing: Routing) -> Tensor:
        """The weighted sum of the chosen experts' outputs, [T, E]."""
        return apply_experts(
            x_TE,
            routing.experts_TK,
            routing.weights_TK,
            self.gate_up_proj,
            self.down_proj,
            kept_TK=routing.kept_TK,
            is_training=self.training,
        )


class MoE(nn.Module):
    """Routed and shared experts in place of a dense MLP."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.moe is not None
        self.moe = config.moe
        self.gate = Router(config.hidden_size, self.moe)
        self.experts: nn.Module = Experts(config.hidden_size, self.moe)
        self.shared_experts: MLP | None = None
        if self.moe.n_shared_experts:
            width = self.moe.n_shared_experts * self.moe.moe_intermediate_size
            self.shared_experts = MLP(config.hidden_size, width)

    def forward(
        self,
        x: Tensor,
        log: RoutingLog | None = None,
        capacity: Capacity | None = None,
    ) -> Tensor:
        """Same shape as `x` [..., E]; this layer's routing is appended to `log`, if given.

        What goes beyond `capacity` is left out.
        """
        x_TE = x.reshape(-1, x.shape[-1])
        routing: Routing = self.gate(x_TE)
        if capacity is not None:
            affinity_TK = routing.scores_TN.detach().gather(1, routing.experts_TK)
            n_experts = self.moe.n_routed_experts
            kept_TK = keep_within(capacity, affinity_TK, routing.experts_TK, n_experts)
            routing = routing._replace(kept_TK=kept_TK)
        if log is not None:
            log.routings.append(routing)
        out_TE: Tensor = self.experts(x_TE, routing)
        if self.shared_experts is not None:
            out_TE = out_TE + self.shared_experts(x_TE)
        return out_TE.view_as(x)
