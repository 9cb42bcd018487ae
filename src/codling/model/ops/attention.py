"""Attention over whole heads: one dispatch for every device.

Not here: projections and rotation (model/attention.py, model/mla.py).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.model.cache import Span
from codling.model.ops.blocked import blocked_attention
from codling.model.ops.flash import flash_attention


def attend(
    q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, span: Span | None, scale: float
) -> Tensor:
    """softmax(scale x q k^T) v over the slots that `span` shows, or causally: [B, H, L, D]."""
    n_groups = q_BHLD.shape[1] // k_BKSD.shape[1]
    bias = None if span is None else span.bias
    if n_groups > 1 and q_BHLD.shape[2] == 1 and span is not None:
        # One new token: the queries of a group become the rows of one product; no copy of the keys.
        q_BKGD = q_BHLD.view(q_BHLD.shape[0], -1, n_groups, q_BHLD.shape[3])
        out_BKGD = F.scaled_dot_product_attention(
            q_BKGD, k_BKSD, v_BKSD, attn_mask=bias, scale=scale
        )
        return out_BKGD.reshape(q_BHLD.shape)
    if span is None and q_BHLD.device.type == "cuda":
        return flash_attention(q_BHLD, k_BKSD, v_BKSD, scale)
    k_BHSD, v_BHSD = repeat_kv(k_BKSD, n_groups), repeat_kv(v_BKSD, n_groups)
    if span is None and q_BHLD.requires_grad and q_BHLD.device.type == "cpu":
        return blocked_attention(q_BHLD, k_BHSD, v_BHSD, scale)
    width = v_BHSD.shape[3]
    if width < q_BHLD.shape[3]:
        # The fused kernels want values as wide as keys.
        v_BHSD = F.pad(v_BHSD, (0, q_BHLD.shape[3] - width))
    out_BHLD = F.scaled_dot_product_attention(
        q_BHLD,
        k_BHSD,
        v_BHSD,
        attn_mask=bias,
        is_causal=span is None or span.is_causal,
        scale=scale,
    )
    return out_BHLD[..., :width]


def repeat_kv(x_BKSD: Tensor, n_groups: int) -> Tensor:
    """Every kv head `n_groups` times in a row: [B, H, S, D]."""
    return x_BKSD if n_groups == 1 else torch.repeat_interleave(x_BKSD, n_groups, dim=1)
