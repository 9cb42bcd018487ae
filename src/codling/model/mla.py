"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1 and appendix C).

For the hidden state h of a token:

    c_Q       = norm(W_DQ h)                 q_C, q_R = W_UQ c_Q per head   (no q_lora: W_Q h)
    c_KV, k_R = W_DKV h, c_KV normalised     k_C, v   = W_UKV c_KV per head
    scores    = scale x (q_C . k_C + RoPE(q_R) . RoPE(k_R)),   k_R shared by all heads
    u         = W_O [softmax(scores) v]

Only c_KV and RoPE(k_R) are cached: kv_lora_rank + qk_rope_head_dim numbers per token and layer.

Expanded form (training, prefill): make k_C and v of all visible tokens, then attend as usual.
Absorbed form (decode): as q_C . (W_UK c) = (W_UK^T q_C) . c, the queries move into the latent space
and attend to the latents themselves, one key and value for all heads; W_UV turns the result into
values. Its scores cost more per pair of tokens but nothing is expanded: it wins for few new tokens.

Legend: B batch, L new tokens, S visible slots, H heads, N width of the part without positions,
R rotated width, V value width, C kv_lora_rank, E hidden width.
"""

import torch
from torch import Tensor, nn

from codling.model.cache import KVCache, Span
from codling.model.config import ModelConfig
from codling.model.norm import RMSNorm
from codling.model.ops.attention import attend
from codling.model.ops.batched import batched_matmul
from codling.model.rope import Rotation, rotate_interleaved
from codling.model.shared_window import SharedWindow

_LATENT_EPS = 1e-6
"""The norms of the latents have an eps of their own, whatever rms_norm_eps says."""


class MLA(nn.Module):
    """Causal self-attention over compressed keys and values."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        assert config.mla is not None
        mla, hidden, heads = config.mla, config.hidden_size, config.n_heads
        self.layer, self.scale, self.mla, self.n_heads = layer, config.softmax_scale, mla, heads
        if mla.q_lora_rank is None:
            self.q_proj = nn.Linear(hidden, heads * mla.qk_head_dim, bias=False)
        else:
            self.q_a_proj = nn.Linear(hidden, mla.q_lora_rank, bias=False)
            self.q_a_layernorm = RMSNorm(mla.q_lora_rank, _LATENT_EPS)
            self.q_b_proj = nn.Linear(mla.q_lora_rank, heads * mla.qk_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(
            hidden, mla.kv_lora_rank + mla.qk_rope_head_dim, bias=False
        )
        self.kv_a_layernorm = RMSNorm(mla.kv_lora_rank, _LATENT_EPS)
        self.kv_b_proj = nn.Linear(
            mla.kv_lora_rank, heads * (mla.qk_nope_head_dim + mla.v_head_dim), bias=False
        )
        self.o_proj = nn.Linear(heads * mla.v_head_dim, hidden, bias=False)
        self.shared_key: nn.Module = nn.Identity()
        """What the rotated key, which all heads share, goes through (train/parallel/tensor.py)."""

    def forward(
        self,
        x_BLE: Tensor,
        rotation: Rotation,
        cache: KVCache | None = None,
        span: Span | SharedWindow | None = None,
    ) -> Tensor:
        """[B, L, E]."""
        q_BHLN, q_BHLR = self._queries(x_BLE, rotation)
        latents_B1SC = self._latents(x_BLE, rotation)
        if isinstance(span, SharedWindow):
            # The latents travel, not the keys and values that are made of them.
            whole_BSC = span.gather(latents_B1SC).squeeze(1)[:, : span.end]
            return self._project(self._attend_expanded(q_BHLN, q_BHLR, whole_BSC, span))
        if cache is not None and span is not None:
            (latents_B1SC,) = cache.write(self.layer, span, latents_B1SC)
        is_decoding = cache is not None and span is not None and not span.is_causal
        if is_decoding and span is not None and span.length < self.absorb_below:
            out_BHLV = self._attend_absorbed(q_BHLN, q_BHLR, latents_B1SC.squeeze(1), span.bias)
        else:
            out_BHLV = self._attend_expanded(q_BHLN, q_BHLR, latents_B1SC.squeeze(1), span)
        return self._project(out_BHLV)

    @property
    def absorb_below(self) -> int:
        """From this many new tokens on, expanding costs less than attending in the latent space.

        Per visible token and head, expanding takes C (N + V) multiplications; the absorbed form
        takes (C + R) + C for each new token instead of (N + R) + V.
        """
        mla = self.mla
        expanding = mla.kv_lora_rank * (mla.qk_nope_head_dim + mla.v_head_dim)
        extra = 2 * mla.kv_lora_rank - mla.qk_nope_head_dim - mla.v_head_dim
        return expanding // extra if extra > 0 else 1_000_000_000

    def _project(self, out_BHLV: Tensor) -> Tensor:
        # Contiguous: oneDNN takes 500 times as long for a bf16 input that lies transposed.
        out: Tensor = self.o_proj(out_BHLV.transpose(1, 2).flatten(2).contiguous())
        return out

    def _queries(self, x_BLE: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """q_C [B, H, L, N] and the rotated q_R [B, H, L, R]."""
        if self.mla.q_lora_rank is None:
            q = self.q_proj(x_BLE)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x_BLE)))
        q_BHLD = q.view(*q.shape[:-1], self.n_heads, -1).transpose(1, 2)
        widths = [self.mla.qk_nope_head_dim, self.mla.qk_rope_head_dim]
        q_BHLN, q_BHLR = torch.split(q_BHLD, widths, -1)
        return q_BHLN, rotate_interleaved(q_BHLR, rotation)

    def _latents(self, x_BLE: Tensor, rotation: Rotation) -> Tensor:
        """What is cached: [c_KV | RoPE(k_R)], [B, 1, L, C + R]."""
        c_BLC, k_BLR = self.kv_a_proj_with_mqa(x_BLE).split(
            [self.mla.kv_lora_rank, self.mla.qk_rope_head_dim], -1
        )
        k_B1LR = rotate_interleaved(k_BLR.unsqueeze(1), rotation)
        return torch.cat((self.kv_a_layernorm(c_BLC).unsqueeze(1), k_B1LR), dim=-1)

    def _attend_expanded(
        self, q_BHLN: Tensor, q_BHLR: Tensor, latents_BSC: Tensor, span: Span | SharedWindow | None
    ) -> Tensor:
        """softmax(scale x [q_C | q_R] [k_C | k_R]^T) v: [B, H, L, V]."""
        mla = self.mla
        c_BSC, k_BSR = torch.split(latents_BSC, [mla.kv_lora_rank, mla.qk_rope_head_dim], -1)
        kv = self.kv_b_proj(c_BSC)
        kv_BHSD = kv.view(*kv.shape[:-1], self.n_heads, -1).transpose(1, 2)
        k_BHSN, v_BHSV = kv_BHSD.split([mla.qk_nope_head_dim, mla.v_head_dim], -1)
        k_BHSR = self.shared_key(k_BSR).unsqueeze(1).expand(-1, self.n_heads, -1, -1)
        q_BHLD = torch.cat((q_BHLN, q_BHLR), dim=-1)
        k_BHSD = torch.cat((k_BHSN, k_BHSR), dim=-1)
        return attend(q_BHLD, k_BHSD, v_BHSV, span, self.scale)

    def _attend_absorbed(
        self, q_BHLN: Tensor, q_BHLR: Tensor, latents_BSC: Tensor, bias: Tensor | None
    ) -> Tensor:
        """The same as `_attend_expanded`, computed in the latent space: [B, H, L, V]."""
        B, H, L, _ = q_BHLN.shape
        rows = self.kv_b_proj.weight.view(H, -1, self.mla.kv_lora_rank)
        w_uk_HNC, w_uv_HVC = torch.split(rows, [self.mla.qk_nope_head_dim, self.mla.v_head_dim], 1)
        # Heads lead, so that the products are batched over heads and no weight is copied per row.
        q_HTN = q_BHLN.transpose(0, 1).reshape(H, B * L, -1)
        q_BHLC = torch.bmm(q_HTN, w_uk_HNC).view(H, B, L, -1).transpose(0, 1)
        q_BTC = torch.cat((q_BHLC, q_BHLR), dim=-1).reshape(B, H * L, -1)
        scores_BHLS = batched_matmul(q_BTC, latents_BSC.transpose(1, 2)).view(B, H, L, -1)
        scores_BHLS = scores_BHLS * self.scale
        if bias is not None:
            scores_BHLS = scores_BHLS + bias
        weights_BHLS = scores_BHLS.softmax(-1, dtype=torch.float32).to(q_BHLN.dtype)
        c_BSC = latents_BSC[..., : self.mla.kv_lora_rank]
        mixed_BTC = batched_matmul(weights_BHLS.view(B, H * L, -1), c_BSC)
        mixed_HCT = mixed_BTC.view(B, H, L, -1).permute(1, 3, 0, 2).reshape(H, -1, B * L)
        # This order, because oneDNN is slow at bf16 batches whose second matrix is transposed.
        out_HVT = torch.bmm(w_uv_HVC, mixed_HCT)
        return out_HVT.view(H, -1, B, L).permute(2, 0, 3, 1)
