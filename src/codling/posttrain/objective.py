"""GRPO's objective: from rewards to advantages, and from log-probabilities to the loss of tokens.

Input: rewards by prompt and answer; log-probabilities of an answer's tokens under the model, the
one that it was when it answered, the sampler, and a reference. Output: advantages, losses per
token, and the share of the whole loss that a micro-batch has. Settings are named as in TRL's
GRPOConfig. With r the ratio of a token's probability now and then, A the answer's advantage:

    - min(r A, clip(r, 1 - epsilon, 1 + epsilon_high) A) + beta (exp(d) - d - 1),  d = log ref/now

    grpo      every answer averages over its own tokens first (arXiv:2402.03300)
    dapo      all tokens of the step weigh the same (arXiv:2503.14476)
    dr_grpo   the same over answers times their longest possible length (arXiv:2503.20783)
    cispo     the ratio is clipped and weighs log p, so that no token loses its gradient

Not here: log-probabilities themselves (learner.py), rewards (rewards.py).

Legend: P prompts, G answers of each, B answers, T tokens of an answer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from codling.posttrain.config import ObjectiveConfig

_TINY = 1e-4
"""Added to a standard deviation, as in TRL."""


@dataclass(frozen=True)
class Logprobs:
    """Of an answer's tokens, [B, T] each."""

    now: Tensor
    then: Tensor
    sampler: Tensor | None = None
    reference: Tensor | None = None


@dataclass(frozen=True)
class TokenLosses:
    """Losses per token, and what is told of them; [B, T]."""

    loss: Tensor
    divergence: Tensor
    clipped: Tensor


def advantages(rewards_PG: Tensor, objective: ObjectiveConfig) -> Tensor:
    """How much better each answer is than its group, [P, G]; nan rewards count neither way.

    >>> advantages(torch.tensor([[1.0, 0.0]]), ObjectiveConfig()).tolist()
    [[0.5, -0.5]]
    """
    centred_PG = rewards_PG - rewards_PG.nanmean(1, keepdim=True)
    if objective.scale_rewards == "group":
        centred_PG = centred_PG / (_spread(rewards_PG, 1) + _TINY)
    if objective.scale_rewards == "batch":
        centred_PG = centred_PG / (_spread(rewards_PG.reshape(1, -1), 1) + _TINY)
    return centred_PG.nan_to_num(0.0)


def find_equal_groups(rewards_PG: Tensor) -> Tensor:
    """Which groups have no contrast, [P]: all their rewards are the same."""
    high = rewards_PG.nan_to_num(-torch.inf).amax(1)
    low = rewards_PG.nan_to_num(torch.inf).amin(1)
    return ~(high > low)


def punish_length(n_tokens: int, most: int, cache: int) -> float:
    """What an answer's length costs: DAPO's soft over-long penalty (arXiv:2503.14476, eq. 13).

    >>> [punish_length(n, 100, 20) for n in (80, 90, 100)]
    [0.0, -0.5, -1.0]
    """
    return -min(1.0, (n_tokens - (most - cache)) / cache) if n_tokens > most - cache else 0.0


def weigh_tokens(
    logprobs: Logprobs, advantages_B: Tensor, mask_BT: Tensor, objective: ObjectiveConfig
) -> TokenLosses:
    """The loss of every token, not yet averaged."""
    log_ratio_BT = logprobs.now - logprobs.then
    if objective.importance_sampling_level == "sequence":
        log_ratio_BT = _mean_of_answer(log_ratio_BT, mask_BT)
    ratio_BT = log_ratio_BT.exp()
    advantages_B1 = advantages_B[:, None]
    if objective.loss_type == "cispo":
        weight_BT = ratio_BT.clamp(max=objective.high).detach()
        loss_BT = -weight_BT * advantages_B1 * logprobs.now
        clipped_BT = (ratio_BT > objective.high) & (advantages_B1 > 0)
    else:
        low, high = 1 - objective.epsilon, 1 + objective.high
        bounded_BT = ratio_BT if objective.delta is None else ratio_BT.clamp(max=objective.delta)
        held_BT = ratio_BT.clamp(low, high)
        loss_BT = -torch.minimum(bounded_BT * advantages_B1, held_BT * advantages_B1)
        clipped_BT = ((ratio_BT < low) & (advantages_B1 < 0)) | (
            (ratio_BT > high) & (advantages_B1 > 0)
        )
    if objective.importance_sampling_correction and logprobs.sampler is not None:
        loss_BT = loss_BT * correct_sampling(logprobs.then, logprobs.sampler, mask_BT, objective)
    divergence_BT = torch.zeros_like(logprobs.now)
    if logprobs.reference is not None:
        d_BT = logprobs.reference - logprobs.now
        divergence_BT = d_BT.exp() - d_BT - 1
        weight = ratio_BT if objective.use_bias_correction_kl else 1.0
        loss_BT = loss_BT + objective.beta * divergence_BT * weight
    return TokenLosses(loss_BT, divergence_BT.detach(), clipped_BT)


def correct_sampling(
    then_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor, objective: ObjectiveConfig
) -> Tensor:
    """The weights that make the sampler's tokens the learner's, bounded: [B, T] or [B, 1]."""
    difference_BT = (then_BT - sampler_BT).detach() * mask_BT
    level, _, bound = objective.importance_sampling_mode.partition("_")
    if level == "sequence":
        difference_BT = difference_BT.sum(1, keepdim=True)
    weight_BT, most = difference_BT.exp(), objective.importance_sampling_clip_max
    return weight_BT.clamp(max=most) if bound == "truncate" else weight_BT * (weight_BT <= most)


def average(
    loss_BT: Tensor, mask_BT: Tensor, objective: ObjectiveConfig, totals: "StepTotals"
) -> Tensor:
    """The part of the step's loss that these answers have; all parts together are the loss."""
    if objective.loss_type == "grpo":
        means_B = (loss_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)
        return means_B.sum() / totals.n_answers
    total = (loss_BT * mask_BT).sum()
    if objective.loss_type == "dr_grpo":
        return total / (totals.n_answers * totals.max_completion_length)
    return total / max(1, totals.n_tokens)


@dataclass(frozen=True)
class StepTotals:
    """What a step's averages are over."""

    n_answers: int
    n_tokens: int
    max_completion_length: int


def _mean_of_answer(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return (values_BT * mask_BT).sum(1, keepdim=True) / mask_BT.sum(1, keepdim=True).clamp(min=1)


def _spread(values_PG: Tensor, dim: int) -> Tensor:
    """The sample standard deviation of what is not nan; 0 for one value."""
    known_PG = ~values_PG.isnan()
    centred_PG = (values_PG - values_PG.nanmean(dim, keepdim=True)).nan_to_num(0.0)
    n_P1 = known_PG.sum(dim, keepdim=True)
    return (centred_PG.square().sum(dim, keepdim=True) / (n_P1 - 1).clamp(min=1)).sqrt()
