"""Routed experts in training: losses and capacity added up, biases moved, load counted.

Input: a model, its ExpertsConfig, the routings of each micro-batch. Output: a loss to add; after an
update the load for the metrics, over all layers and processes:

    balance_loss   what `loss` added, nats
    expert_load    tokens of the busiest expert, as a multiple of an even share
    idle_experts   experts without a token
    dropped        share of the assignments that were dropped

Which sequences are exempt from dropping depends on their tokens alone, so that a resumed run, or
one on other processes, exempts the same.

Not here: the formulas (model/balance.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.model.balance import (
    Capacity,
    Mean,
    communication_balance_loss,
    count_assignments,
    device_balance_loss,
    expert_balance_loss,
)
from codling.model.moe import MoE, Router, Routing
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig
from codling.train.parallel.ranks import Ranks

_BUCKETS = 10_000
_KEPT = 0.98
"""Share of the running mean of the load that stays from update to update."""


class ExpertBalance:
    """The balance of one model's experts over a run."""

    def __init__(self, model: Transformer, config: ExpertsConfig, mean: Mean | None = None) -> None:
        """`mean`: over the processes that share a window."""
        self.mean: Mean = mean or (lambda x: x)
        moe = model.config.moe
        assert moe is not None
        self.config, self.moe = config, moe
        self.n_devices = config.n_devices or moe.n_group
        check_experts(config, model)
        limited = moe.topk_method == "group_limited_greedy" and self.n_devices == moe.n_group
        most = min(moe.n_experts_per_token, self.n_devices)
        self.n_reached = min(most, moe.topk_group) if limited else most
        shape = model.config
        layers = [layer for layer in range(shape.n_layers) if shape.is_moe_layer(layer)]
        self.rows = {layer: row for row, layer in enumerate(layers)}
        """Layers with experts, of the whole model, and where each is counted."""
        self.gates: dict[int, Router] = {
            self.rows[int(name)]: block.mlp.gate
            for name, block in model.layers.named_children()
            if isinstance(block.mlp, MoE)
        }
        """Of the layers that this process has, by their row."""
        device = next(model.parameters()).device
        self._counts_LN = torch.zeros(
            len(layers), moe.n_routed_experts, dtype=torch.int64, device=device
        )
        self._dropped = torch.zeros(2, dtype=torch.int64, device=device)
        """Assignments that were dropped, and all."""
        self._losses = torch.zeros(2, dtype=torch.float64, device=device)
        """Sum of the losses, and their number."""
        self._mean_LN = torch.zeros(len(layers), moe.n_routed_experts, device=device)

    def limit(self, inputs_BL: Tensor, n_own: int | None = None) -> Capacity | None:
        """The capacity of one micro-batch, of whose rows `n_own` tokens are computed here (all, if
        not given); None where nothing is dropped."""
        if not self.config.capacity:
            return None
        exempt_B = choose_exempt(inputs_BL, self.config.exempt_share)
        exempt_T = exempt_B[:, None].expand(-1, n_own or inputs_BL.shape[1]).flatten()
        return Capacity(self.n_devices, self.config.capacity, exempt_T)

    def loss(
        self, routings: list[Routing], shape: torch.Size, layers: Sequence[int] | None = None
    ) -> Tensor:
        """The balance losses of all layers, or of some, for inputs of `shape` [B, L]; the load is
        counted."""
        chosen = [self.rows[layer] for layer in (self.rows if layers is None else layers)]
        self._count(routings, chosen)
        config, mean, total = self.config, self.mean, routings[0].scores_TN.new_zeros(())
        for routing in routings:
            scores, experts = (t.view(*shape, -1) for t in (routing.scores_TN, routing.experts_TK))
            if config.expert_alpha:
                total = total + expert_balance_loss(scores, experts, config.expert_alpha, mean)
            if config.device_alpha:
                total = total + device_balance_loss(
                    scores, experts, self.n_devices, config.device_alpha, mean
                )
            if config.communication_alpha:
                total = total + communication_balance_loss(
                    scores,
                    experts,
                    self.n_devices,
                    self.n_reached,
                    config.communication_alpha,
                    mean,
                )
        share = total.new_full((), len(chosen) / len(self.rows)).double()
        self._losses += torch.stack([total.detach().double(), share])
        return total

    @torch.no_grad()
    def end_update(self, ranks: Ranks, *, moves: bool) -> dict[str, Tensor]:
        """What an update's tokens were spread like; `moves`: the biases follow."""
        tallies = (self._counts_LN, self._dropped, self._losses)
        # Counts are whole numbers, which fp64 sums exactly.
        packed = ranks.sum(torch.cat([each.flatten().double() for each in tallies]))
        counts, dropped, losses = torch.split(packed, [self._counts_LN.numel(), 2, 2])
        counts_LN = counts.view_as(self._counts_LN)
        self.forget_micro_batches()
        load_LN = counts_LN / counts_LN.mean(1, keepdim=True).clamp(min=1)
        if moves:
            self._mean_LN.mul_(_KEPT).add_(load_LN, alpha=1 - _KEPT)
            self._move_biases(load_LN)
        found = {
            "balance_loss": losses[0] / losses[1].clamp(min=1),
            "expert_load": load_LN.max(),
            "idle_experts": (counts_LN == 0).sum(),
        }
        if self.config.capacity:
            found["dropped"] = dropped[0] / dropped[1].clamp(min=1)
        return found

    def load(self) -> list[list[float]]:
        """The running mean of every layer's load, 1 for an even share; empty before any update."""
        total_L = self._mean_LN.mean(1, keepdim=True)
        if not bool((total_L > 0).all()):
            return []
        rows: list[list[float]] = (self._mean_LN / total_L).tolist()
        return [[round(value, 4) for value in row] for row in rows]

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on, by name: views, not copies."""
        biases = {
            f"experts.bias.{row}": gate.e_score_correction_bias.data
            for row, gate in self.gates.items()
            if self.moe.selection_bias
        }
        return {"experts.load": self._mean_LN, **biases}

    def forget_micro_batches(self) -> None:
        """Count nothing of what was computed since the last update."""
        for each in (self._counts_LN, self._dropped, self._losses):
            each.zero_()

    def _count(self, routings: list[Routing], rows: list[int]) -> None:
        for row, routing in zip(rows, routings, strict=True):
            self._counts_LN[row] += count_assignments(routing.experts_TK, self.moe.n_routed_experts)
            if routing.kept_TK is not None:
                self._dropped[0] += (~routing.kept_TK).sum()
                self._dropped[1] += routing.kept_TK.numel()

    def _move_biases(self, load_LN: Tensor) -> None:
        if not self.config.bias_step:
            return
        for row, gate in self.gates.items():
            step_N = torch.sign(1 - load_LN[row]).float()
            gate.e_score_correction_bias.add_(step_N, alpha=self.config.bias_step)


def check_experts(config: ExpertsConfig, model: Transformer) -> None:
    """Raise ConfigError if the settings do not fit the model's experts."""
    moe = model.config.moe
    assert moe is not None
    n_devices = config.n_devices or moe.n_group
    if moe.n_routed_experts % n_devices:
        raise ConfigError(
            f"experts: {moe.n_routed_experts} experts do not divide among {n_devices} devices; "
            "change experts.n_devices"
        )
    if config.bias_step and not moe.selection_bias:
        raise ConfigError(
            "experts.bias_step moves biases that the model does not have; set "
            "model.moe.selection_bias = true"
        )


def choose_exempt(tokens_BL: Tensor, share: float) -> Tensor:
    """Which sequences keep all their assignments, [B]: about `share` of all that there are."""
    # Knuth's multiplicative hash of every token with its place, summed; int64 wraps around.
    places_L = torch.arange(1, tokens_BL.shape[1] + 1, device=tokens_BL.device)
    mixed_BL = (tokens_BL + 1) * places_L * 2_654_435_761
    sums_B = (mixed_BL ^ (mixed_BL >> 15)).sum(1)
    return ((sums_B >> 7) % _BUCKETS).abs() < share * _BUCKETS
