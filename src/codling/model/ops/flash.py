"""Attention by torch's fused kernels, flash attention on a GPU; kv heads are not copied.

Not here: training on a CPU (blocked.py), and which way is taken (attention.py).

Legend: B batch, H heads, K kv heads, L new tokens, S visible slots, D head width.
"""

from torch import Tensor
from torch.nn import functional as F

from codling.model.cache import Span


def flash_attention(
    q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, span: Span | None, scale: float
) -> Tensor:
    """softmax(scale x q k^T) v over the slots that `span` shows, or causally: [B, H, L, D of v].

    Every kv head serves H / K heads.
    """
    width = v_BKSD.shape[3]
    if width < q_BHLD.shape[3]:
        # The fused kernels want values as wide as keys.
        v_BKSD = F.pad(v_BKSD, (0, q_BHLD.shape[3] - width))
    out_BHLD = F.scaled_dot_product_attention(
        q_BHLD,
        k_BKSD,
        v_BKSD,
        attn_mask=None if span is None else span.bias,
        is_causal=span is None or span.is_causal,
        scale=scale,
        enable_gqa=q_BHLD.shape[1] != k_BKSD.shape[1],
    )
    return out_BHLD[..., :width]
