"""The key/value cache in bytes: int8, with a scale of its own for every head of every token.

What a forward pass reads is what was stored, its own new tokens included, so that a prompt computed
in pieces, or token by token, sees the same numbers. Of latent attention the latents and the rotated
key have a scale each, as one is normalised and the other is not.

Half the memory of bfloat16: D + 4 bytes per head in place of 2 D.

Not here: full precision (cache.py), the loop that reads bytes as they are (engine/kernels).

Legend: B rows, S slots, L new tokens, K kv heads, D head width, P scales per token.
"""

import torch
from torch import Tensor

from codling.model.cache import KVCache, Span
from codling.model.config import ModelConfig

_SMALLEST = 1e-37
"""A smaller scale has no inverse in float32; all of its numbers are 0."""


class RoundedCache(KVCache):
    """`stores[layer]` holds the codes of each kind, int8 as in KVCache, and then the scales of all
    kinds, float32 [B, P, S, 1]: those of every key head, then of every value head, or of the two
    parts of the latents."""

    def __init__(
        self,
        stores: list[tuple[Tensor, ...]],
        lengths_B: Tensor,
        parts: list[int],
        dtype: torch.dtype,
    ) -> None:
        """`parts` are the widths that have a scale each, and `dtype` what `write` gives."""
        super().__init__(stores, lengths_B)
        self.parts, self.dtype = parts, dtype

    def write(self, layer: int, span: Span, *new: Tensor) -> tuple[Tensor, ...]:
        """Round and store the new tokens' tensors [B, K, L, D]; returns the visible slots of each
        kind as they were rounded."""
        rounded = [round_parts(tensor, self.parts) for tensor in new]
        scales_BPL1 = torch.cat([scales for _, scales in rounded], 1).unsqueeze(-1)
        *codes, scales_BPS1 = super().write(
            layer, span, *(codes for codes, _ in rounded), scales_BPL1
        )
        return tuple(
            widen_parts(each, scales, self.parts).to(self.dtype)
            for each, scales in zip(
                codes, scales_BPS1.squeeze(-1).chunk(len(codes), 1), strict=True
            )
        )

    def with_rows(self, stores: list[tuple[Tensor, ...]], lengths_B: Tensor) -> "RoundedCache":
        """The same form on other memory."""
        return RoundedCache(stores, lengths_B, self.parts, self.dtype)


def scaled_parts(config: ModelConfig) -> list[int]:
    """The widths of a head, or of the latents, that have a scale each."""
    if config.mla is None:
        return [config.head_size]
    return [config.mla.kv_lora_rank, config.mla.qk_rope_head_dim]


def round_parts(x_BKLD: Tensor, parts: list[int]) -> tuple[Tensor, Tensor]:
    """int8 [B, K, L, D], and float32 scales [B, K x parts, L].

    >>> codes, scales = round_parts(torch.tensor([[[[127.0, -63.4, 0.0, 2.0]]]]), [3, 1])
    >>> codes.tolist(), [round(s, 4) for s in scales.flatten().tolist()]
    ([[[[127, -63, 0, 127]]]], [1.0, 0.0157])
    """
    codes, scales = [], []
    for part_BKLD in torch.split(x_BKLD.float(), parts, -1):
        scale_BKL = part_BKLD.abs().amax(-1) / 127
        inverse_BKL = torch.where(scale_BKL > _SMALLEST, 1 / scale_BKL, 0)
        codes.append((part_BKLD * inverse_BKL.unsqueeze(-1)).round().to(torch.int8))
        scales.append(scale_BKL)
    return torch.cat(codes, -1), torch.stack(scales, 2).flatten(1, 2)


def widen_parts(codes_BKSD: Tensor, scales_BPS: Tensor, parts: list[int]) -> Tensor:
    """The numbers that codes and scales stand for, float32 [B, K, S, D]."""
    n_heads = codes_BKSD.shape[1]
    scales_BKpS = scales_BPS.view(len(scales_BPS), n_heads, len(parts), -1)
    wide = [
        codes_BKSd * scales_BKpS[:, :, i].unsqueeze(-1)
        for i, codes_BKSd in enumerate(torch.split(codes_BKSD, parts, -1))
    ]
    return torch.cat(wide, -1) if len(wide) > 1 else wide[0]
