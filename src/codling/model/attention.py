"""Attention with one key/value head per query head (MHA), per group (GQA) or for all (MQA).

Legend: B batch, L new tokens, S visible slots, H query heads, K kv heads, G = H/K, D head width.

Not here: latent attention (mla.py), and how keys and values are stored (cache.py).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codling.model.blocked import blocked_attention
from codling.model.cache import KVCache, Span
from codling.model.config import ModelConfig
from codling.model.rope import Rotation, rotate_halves


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_heads, self.n_kv_heads = config.n_heads, config.kv_heads
        self.head_dim, self.scale = config.head_size, config.softmax_scale
        hidden, bias = config.hidden_size, config.attention_bias
        self.q_proj = nn.Linear(hidden, self.n_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, self.n_kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(hidden, self.n_kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.n_heads * self.head_dim, hidden, bias=False)

    def forward(
        self,
        x_BLE: Tensor,
        rotation: Rotation,
        cache: KVCache | None = None,
        span: Span | None = None,
    ) -> Tensor:
        """[B, L, hidden]."""
        q_BHLD = rotate_halves(self._heads(self.q_proj(x_BLE)), rotation)
        k_BKLD = rotate_halves(self._heads(self.k_proj(x_BLE)), rotation)
        v_BKLD = self._heads(self.v_proj(x_BLE))
        if cache is None or span is None:
            out_BHLD = attend(q_BHLD, k_BKLD, v_BKLD, None, self.scale)
        else:
            k_BKSD, v_BKSD = cache.write(self.layer, span, k_BKLD, v_BKLD)
            out_BHLD = attend(q_BHLD, k_BKSD, v_BKSD, span, self.scale)
        out: Tensor = self.o_proj(out_BHLD.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)


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
