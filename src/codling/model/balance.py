"""Keeping experts evenly used in training: the balance loss over experts, as a pure function.

Input: a layer's routing (scores, chosen experts). Output: a loss to add.
Source: DeepSeek-V2 (arXiv:2405.04434), section 2.2.3:

    a1 x sum_i f_i P_i    f_i = N / (K T) x tokens that chose expert i
                          P_i = mean affinity to expert i

f counts and has no gradient; P carries it. A loss is computed per sequence and averaged over the
batch.

Not here: the routing itself (moe.py), adding losses up (train/), and what experts on several
devices need besides: losses over devices, and dropped tokens.

Legend: B sequences, T tokens each, N experts, K experts per token.
"""

import torch
from torch import Tensor


def expert_balance_loss(scores_BTN: Tensor, experts_BTK: Tensor, alpha: float) -> Tensor:
    """Scalar, `alpha` at perfect balance: pulls tokens towards experts that few have chosen."""
    return alpha * (_load(scores_BTN, experts_BTK) * scores_BTN.mean(1)).sum(-1).mean()


def _load(scores_BTN: Tensor, experts_BTK: Tensor) -> Tensor:
    """f: 1 for every expert at perfect balance, [B, N]."""
    n_batch, n_tokens, n_experts = scores_BTN.shape
    chosen = experts_BTK.flatten(1)
    counts = torch.zeros(n_batch, n_experts, dtype=scores_BTN.dtype, device=scores_BTN.device)
    counts = counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=scores_BTN.dtype))
    return counts * n_experts / (experts_BTK.shape[2] * n_tokens)
