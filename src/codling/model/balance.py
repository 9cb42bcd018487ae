"""Keeping experts evenly used in training: three balance losses and a capacity, as pure functions.

Input: a layer's routing (scores, chosen experts). Output: a loss to add, or what is to be computed.
Source: DeepSeek-V2 (arXiv:2405.04434), sections 2.2.3 and 2.2.4:

    expert         a1 x sum_i f_i P_i      f_i = N / (K T) x tokens that chose expert i
                                           P_i = mean affinity to expert i
    device         a2 x sum_d f_d P_d      f_d mean of f, P_d sum of P over the experts of device d
    communication  a3 x sum_d f''_d P_d    f''_d = D / (M T) x tokens that are sent to device d

    capacity       a device computes `factor` x T K / D assignments of a token to an expert; those
                   of lowest affinity beyond that are dropped, but none of an exempt sequence

Each f counts and has no gradient; P carries it; each loss is its alpha at perfect balance. A loss
is computed per sequence and averaged over the batch; a capacity is that of all tokens computed at
once, on this process. The experts of a device are neighbours.

Not here: the routing itself (moe.py); adding losses up, which sequences are exempt, and the bias
that balances without a loss (train/experts.py).

Legend: B sequences, T tokens (of each, or in all), N experts, K experts per token, D devices, M
devices that a token goes to, A = T x K assignments.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Capacity(NamedTuple):
    """How much the experts of a device compute."""

    n_devices: int
    factor: float
    """1: as much as a device gets at perfect balance."""
    exempt_T: Tensor
    """Tokens of sequences of which nothing is dropped."""


Mean = Callable[[Tensor], Tensor]
"""The average over the parts of a sequence that several processes have."""


def _is_whole(x: Tensor) -> Tensor:
    return x


def expert_balance_loss(
    scores_BTN: Tensor, experts_BTK: Tensor, alpha: float, mean: Mean = _is_whole
) -> Tensor:
    """Scalar, `alpha` at perfect balance: pulls tokens towards experts that few have chosen.

    With `mean` it is this process's share of the loss: their average is that of the sequences.
    """
    load_BN = mean(_load(scores_BTN, experts_BTK))
    return alpha * (load_BN * scores_BTN.mean(1)).sum(-1).mean()


def device_balance_loss(
    scores_BTN: Tensor, experts_BTK: Tensor, n_devices: int, alpha: float, mean: Mean = _is_whole
) -> Tensor:
    """Scalar, `alpha` at perfect balance: devices compute equally much."""
    load_BN = mean(_load(scores_BTN, experts_BTK))
    load_BD = load_BN.view(len(load_BN), n_devices, -1).mean(-1)
    return alpha * (load_BD * _affinity_to_devices(scores_BTN, n_devices)).sum(-1).mean()


def communication_balance_loss(  # noqa: PLR0913 -- the routing, the devices, the strength
    scores_BTN: Tensor,
    experts_BTK: Tensor,
    n_devices: int,
    n_reached: int,
    alpha: float,
    mean: Mean = _is_whole,
) -> Tensor:
    """Scalar, `alpha` if every device is sent equally many tokens, each token to `n_reached`."""
    n_tokens, n_experts = scores_BTN.shape[1:]
    devices_BTK = experts_BTK // (n_experts // n_devices)
    is_sent_BTD = torch.zeros_like(scores_BTN[..., :n_devices]).scatter(2, devices_BTK, 1.0)
    sent_BD = mean(is_sent_BTD.sum(1) * n_devices / (n_reached * n_tokens))
    return alpha * (sent_BD * _affinity_to_devices(scores_BTN, n_devices)).sum(-1).mean()


def keep_within(
    capacity: Capacity, affinity_TK: Tensor, experts_TK: Tensor, n_experts: int
) -> Tensor:
    """Which assignments [T, K] are computed: on each device the best, up to its capacity.

    Those of exempt tokens come first, and stay even where they alone are more.
    """
    n_devices = capacity.n_devices
    budget = int(capacity.factor * experts_TK.numel() / n_devices)
    devices_A = (experts_TK // (n_experts // n_devices)).flatten()
    exempt_A = capacity.exempt_T[:, None].expand_as(experts_TK).flatten()
    order_A = (affinity_TK.flatten() + 2.0 * exempt_A).argsort(descending=True, stable=True)
    order_A = order_A[devices_A[order_A].argsort(stable=True)]
    counts_D = torch.zeros(n_devices, dtype=torch.int64, device=devices_A.device)
    counts_D = counts_D.scatter_add(0, devices_A, torch.ones_like(devices_A))
    starts_D = counts_D.cumsum(0) - counts_D
    ranks_A = torch.arange(len(order_A), device=order_A.device) - starts_D[devices_A[order_A]]
    kept_A = torch.zeros_like(exempt_A).scatter(0, order_A, ranks_A < budget)
    return (kept_A | exempt_A).view_as(experts_TK)


def count_assignments(experts: Tensor, n_experts: int) -> Tensor:
    """How often each expert was chosen, [N] in int64."""
    flat = experts.flatten()
    counts = torch.zeros(n_experts, dtype=torch.int64, device=flat.device)
    return counts.scatter_add_(0, flat, torch.ones_like(flat))


def _load(scores_BTN: Tensor, experts_BTK: Tensor) -> Tensor:
    """f: 1 for every expert at perfect balance, [B, N]."""
    n_batch, n_tokens, n_experts = scores_BTN.shape
    chosen = experts_BTK.flatten(1)
    counts = torch.zeros(n_batch, n_experts, dtype=scores_BTN.dtype, device=scores_BTN.device)
    counts = counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=scores_BTN.dtype))
    return counts * n_experts / (experts_BTK.shape[2] * n_tokens)


def _affinity_to_devices(scores_BTN: Tensor, n_devices: int) -> Tensor:
    """P of a device, the sum over its experts: [B, D]."""
    return scores_BTN.mean(1).view(len(scores_BTN), n_devices, -1).sum(-1)
