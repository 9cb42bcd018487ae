"""Attention over whole heads: `attend` chooses how, for every device.

Legend: B batch, L new tokens, S visible slots, H query heads, K kv heads, G = H/K, D head width.

Not here: projections and rotation (model/attention.py, model/mla.py).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.model.cache import Span
from codling.model.ops.blocked import blocked_attention
from codling.model.ops.flash import flash_attention
from codling.model.shared_window import SharedWindow, attend_shared


def attend(
    q_BHLD: Tensor,
    k_BKSD: Tensor,
    v_BKSD: Tensor,
    span: Span | SharedWindow | None,
    scale: float,
) -> Tensor:
    """softmax(scale x q k^T) v over the slots that `span` shows, or causally: [B, H, L, D]."""
    n_groups = q_BHLD.shape[1] // k_BKSD.shape[1]
    if isinstance(span, SharedWindow):
        k_BHSD, v_BHSD = repeat_kv(k_BKSD, n_groups), repeat_kv(v_BKSD, n_groups)
        return attend_shared(q_BHLD, k_BHSD, v_BHSD, span, scale)
    if n_groups > 1 and q_BHLD.shape[2] == 1 and span is not None:
        return _attend_by_group(q_BHLD, k_BKSD, v_BKSD, span, scale)
    if span is None and q_BHLD.device.type == "cuda":
        return flash_attention(q_BHLD, k_BKSD, v_BKSD, span, scale)
    k_BHSD, v_BHSD = repeat_kv(k_BKSD, n_groups), repeat_kv(v_BKSD, n_groups)
    if span is None and q_BHLD.requires_grad and q_BHLD.device.type == "cpu":
        return blocked_attention(q_BHLD, k_BHSD, v_BHSD, scale)
    return flash_attention(q_BHLD, k_BHSD, v_BHSD, span, scale)


def attend_plain(
    q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, span: Span | None, scale: float
) -> Tensor:
    """The same by its definition, all scores at once: the reference."""
    n_groups = q_BHLD.shape[1] // k_BKSD.shape[1]
    k_BHSD, v_BHSD = repeat_kv(k_BKSD, n_groups), repeat_kv(v_BKSD, n_groups)
    scores_BHLS = (q_BHLD @ k_BHSD.mT).float() * scale
    if span is None or span.is_causal:
        hidden_LS = torch.ones_like(scores_BHLS[0, 0], dtype=torch.bool).triu(1)
        scores_BHLS = scores_BHLS.masked_fill(hidden_LS, float("-inf"))
    elif span.bias is not None:
        scores_BHLS = scores_BHLS + span.bias
    return scores_BHLS.softmax(-1).to(v_BHSD.dtype) @ v_BHSD


def repeat_kv(x_BKSD: Tensor, n_groups: int) -> Tensor:
    """Every kv head `n_groups` times in a row: [B, H, S, D]."""
    return x_BKSD if n_groups == 1 else torch.repeat_interleave(x_BKSD, n_groups, dim=1)


def _attend_by_group(
    q_BH1D: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, span: Span, scale: float
) -> Tensor:
    """One new token: the queries of a group become the rows of one product; no copy of the keys."""
    q_BKGD = q_BH1D.view(k_BKSD.shape[0], k_BKSD.shape[1], -1, q_BH1D.shape[3])
    out_BKGD = F.scaled_dot_product_attention(
        q_BKGD, k_BKSD, v_BKSD, attn_mask=span.bias, scale=scale
    )
    return out_BKGD.reshape(*q_BH1D.shape[:3], -1)
