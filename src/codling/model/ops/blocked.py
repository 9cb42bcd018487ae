"""Causal attention for training on CPU: queries in blocks, each against the keys up to its end.

torch's CPU flash attention takes two fifths of an eager training step; these are plain products
that oneDNN runs near its peak and torch.compile surrounds with fused loops. About half of the
scores are never computed.

Not here: GPU (its flash attention is better) and anything with a cache (attention.py).

Legend: B batch, H heads, L length, D head width, Q block of queries, S keys up to the block's end.
"""

import torch
from torch import Tensor

_MIN_BLOCK, _MAX_BLOCK = 128, 512
"""Queries per block: a quarter of the length within these bounds; few blocks compile faster."""


def blocked_attention(q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, scale: float) -> Tensor:
    """softmax(scale x q k^T) v, causally: [B, H, L, D]; softmax in fp32."""
    blocks = []
    for start, end in query_blocks(q_BHLD.shape[2]):
        scores_BHQS = (q_BHLD[:, :, start:end] @ k_BHLD[:, :, :end].mT).float() * scale
        rows_Q = torch.arange(start, end, device=q_BHLD.device)
        hidden_QS = torch.arange(end, device=q_BHLD.device) > rows_Q[:, None]
        weights_BHQS = scores_BHQS.masked_fill(hidden_QS, float("-inf")).softmax(-1)
        blocks.append(weights_BHQS.to(v_BHLD.dtype) @ v_BHLD[:, :, :end])
    return torch.cat(blocks, dim=2)


def query_blocks(length: int) -> list[tuple[int, int]]:
    """The first query of each block and one past its last.

    >>> query_blocks(300)
    [(0, 128), (128, 256), (256, 300)]
    """
    size = min(max(length // 4, _MIN_BLOCK), _MAX_BLOCK)
    return [(start, min(start + size, length)) for start in range(0, length, size)]
