"""Keeping experts evenly used in training: balance losses and token dropping as pure functions.

Input: a layer's routing (scores, chosen experts). Output: a loss to add, or which assignments stay.
Sources: DeepSeek-V2 (arXiv:2405.04434), section 2.2.3 (losses) and 2.2.4 (dropping).

    expert         a1 x sum_i f_i P_i      f_i  = N / (K T) x tokens that chose expert i
                                           P_i  = mean affinity to expert i
    device         a2 x sum_d f'_d P'_d    f'_d = mean of f, P'_d = sum of P over d's experts
    communication  a3 x sum_d f''_d P'_d   f''_d = D / (M T) x tokens sent to device d

f counts and has no gradient; P carries it. A loss is computed per sequence and averaged over the
batch.

Not here: the routing itself (moe.py), and adding losses up (train/).

Legend: B sequences, T tokens each, N experts, K experts per token, D devices (groups of experts).
"""

import torch
from torch import Tensor


def expert_balance_loss(scores_BTN: Tensor, experts_BTK: Tensor, alpha: float) -> Tensor:
    """Scalar, `alpha` at perfect balance: pulls tokens towards experts that few have chosen."""
    return alpha * (_load(scores_BTN, experts_BTK) * scores_BTN.mean(1)).sum(-1).mean()


def device_balance_loss(
    scores_BTN: Tensor, experts_BTK: Tensor, n_devices: int, alpha: float
) -> Tensor:
    """The same over devices that hold N / D consecutive experts each."""
    load_BD = _by_device(_load(scores_BTN, experts_BTK), n_devices).mean(-1)
    affinity_BD = _by_device(scores_BTN.mean(1), n_devices).sum(-1)
    return alpha * (load_BD * affinity_BD).sum(-1).mean()


def communication_balance_loss(
    scores_BTN: Tensor, experts_BTK: Tensor, n_devices: int, max_devices: int, alpha: float
) -> Tensor:
    """Evens out how many tokens each device receives; a token is sent to at most `max_devices`."""
    n_tokens, n_experts = scores_BTN.shape[1:]
    devices_BTK = experts_BTK // (n_experts // n_devices)
    sent_BTD = torch.zeros(
        *scores_BTN.shape[:2], n_devices, dtype=scores_BTN.dtype, device=scores_BTN.device
    ).scatter_(2, devices_BTK, 1.0)
    received_BD = sent_BTD.sum(1) * n_devices / (max_devices * n_tokens)
    affinity_BD = _by_device(scores_BTN.mean(1), n_devices).sum(-1)
    return alpha * (received_BD * affinity_BD).sum(-1).mean()


def keep_by_affinity(
    scores_TN: Tensor,
    experts_TK: Tensor,
    n_devices: int,
    capacity_factor: float = 1.0,
    protected_T: Tensor | None = None,
) -> Tensor:
    """Which assignments stay when no device may take more than its share: bool [T, K].

    A device takes capacity_factor x T K / D assignments; of more, those with the lowest affinity
    go. Tokens marked in `protected_T` (about a tenth of the sequences in the paper) are never
    dropped and are counted first. Evaluation drops nothing: do not call this then.
    """
    n_experts = scores_TN.shape[1]
    capacity = int(capacity_factor * experts_TK.numel() / n_devices)
    affinity_A = scores_TN.gather(1, experts_TK).flatten()
    guarded_A = torch.zeros_like(affinity_A, dtype=torch.bool)
    if protected_T is not None:
        guarded_A = protected_T.unsqueeze(1).expand_as(experts_TK).flatten()
    devices_A = (experts_TK // (n_experts // n_devices)).flatten()
    # Affinities lie in [0, 1]: guarded assignments rank before all others.
    order = (affinity_A + 2.0 * guarded_A).argsort(descending=True, stable=True)
    chosen_AD = torch.nn.functional.one_hot(devices_A[order], n_devices)
    rank_A = chosen_AD.cumsum(0).gather(1, devices_A[order].unsqueeze(1)).squeeze(1)
    kept_A = torch.empty_like(guarded_A).scatter_(0, order, rank_A <= capacity)
    return (kept_A | guarded_A).view_as(experts_TK)


def _load(scores_BTN: Tensor, experts_BTK: Tensor) -> Tensor:
    """f: 1 for every expert at perfect balance, [B, N]."""
    n_batch, n_tokens, n_experts = scores_BTN.shape
    chosen = experts_BTK.flatten(1)
    counts = torch.zeros(n_batch, n_experts, dtype=scores_BTN.dtype, device=scores_BTN.device)
    counts = counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=scores_BTN.dtype))
    return counts * n_experts / (experts_BTK.shape[2] * n_tokens)


def _by_device(x_BN: Tensor, n_devices: int) -> Tensor:
    return x_BN.unflatten(1, (n_devices, -1))  # type: ignore[no-untyped-call, no-any-return]
