"""Causal attention for training on a GPU: torch's flash attention, kv heads not copied.

Not here: CPU (blocked.py), and anything with a cache (attention.py).

Legend: B batch, H heads, K kv heads, L length, D head width.
"""

from torch import Tensor
from torch.nn import functional as F


def flash_attention(q_BHLD: Tensor, k_BKLD: Tensor, v_BKLD: Tensor, scale: float) -> Tensor:
    """softmax(scale x q k^T) v, causally: [B, H, L, D of v]; every kv head serves H / K heads."""
    width = v_BKLD.shape[3]
    if width < q_BHLD.shape[3]:
        # The fused kernels want values as wide as keys.
        v_BKLD = F.pad(v_BKLD, (0, q_BHLD.shape[3] - width))
    out_BHLD = F.scaled_dot_product_attention(
        q_BHLD,
        k_BKLD,
        v_BKLD,
        is_causal=True,
        scale=scale,
        enable_gqa=q_BHLD.shape[1] != k_BKLD.shape[1],
    )
    return out_BHLD[..., :width]
