"""Attention with one key/value head per query head (MHA), per group (GQA) or for all (MQA).

Legend: B batch, L new tokens, S visible slots, H query heads, K kv heads, G = H/K, D head width.

Not here: latent attention (mla.py), and how keys and values are stored (cache.py).
"""

import torch
from torch import Tensor, nn

from codling.model.cache import KVCache, Span
from codling.model.config import ModelConfig
from codling.model.norm import RMSNorm
from codling.model.ops.attention import attend
from codling.model.rope import Rotation, rotate_halves
from codling.model.shared_window import SharedWindow


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
        self.has_qk_norm = config.qk_norm
        if config.qk_norm:
            self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
            self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(
        self,
        x_BLE: Tensor,
        rotation: Rotation,
        cache: KVCache | None = None,
        span: Span | SharedWindow | None = None,
    ) -> Tensor:
        """[B, L, hidden]."""
        q_BHLD, k_BKLD = self._heads(self.q_proj(x_BLE)), self._heads(self.k_proj(x_BLE))
        if self.has_qk_norm:
            q_BHLD, k_BKLD = self.q_norm(q_BHLD), self.k_norm(k_BKLD)
        q_BHLD, k_BKLD = rotate_halves(q_BHLD, rotation), rotate_halves(k_BKLD, rotation)
        v_BKLD = self._heads(self.v_proj(x_BLE))
        if isinstance(span, SharedWindow):
            both_BKSD = span.gather(torch.cat((k_BKLD, v_BKLD), -1))[:, :, : span.end]
            k_BKLD, v_BKLD = both_BKSD.chunk(2, -1)
        if cache is None or span is None or isinstance(span, SharedWindow):
            out_BHLD = attend(q_BHLD, k_BKLD, v_BKLD, span, self.scale)
        else:
            k_BKSD, v_BKSD = cache.write(self.layer, span, k_BKLD, v_BKLD)
            out_BHLD = attend(q_BHLD, k_BKSD, v_BKSD, span, self.scale)
        out: Tensor = self.o_proj(out_BHLD.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)
