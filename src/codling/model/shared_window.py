"""Windows that several processes share: what one of them computes, and what its tokens see.

A window of S tokens is cut into 2N equal pieces for N processes; process r has the pieces r and
2N - 1 - r. Later tokens see more, so an early piece beside a late one makes the work even (zigzag;
Llama 3, arXiv:2407.21783, section 3.3.2). Keys and values, or the latents of MLA, are gathered from
all processes, and a piece's queries meet those up to its end.

Not here: how they are gathered (train/parallel/context.py).

Legend: B batch, H heads, K kv heads, L own tokens, S tokens of the window, D head width, Q block of
queries.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 512
"""Queries whose scores are made at a time."""


@dataclass(frozen=True)
class SharedWindow:
    """What this process has of its windows."""

    starts: tuple[int, int]
    """Positions at which its two pieces begin."""
    length: int
    """Tokens of a piece."""
    gather: Callable[[Tensor], Tensor]
    """Own [B, K, L, D] to those of the whole window in their order, [B, K, S, D]."""
    documents_BS: Tensor | None = None
    """Number of every token's document; other documents are not seen."""

    @property
    def end(self) -> int:
        """How much of the window this process's tokens see."""
        return self.starts[1] + self.length

    def positions(self, device: torch.device) -> Tensor:
        """Of its tokens, [L]."""
        steps = torch.arange(self.length, device=device)
        return torch.cat([start + steps for start in self.starts])

    def own(self, whole_BS: Tensor) -> Tensor:
        """Its part of what there is for every token: [B, L]."""
        pieces = [whole_BS[:, start : start + self.length] for start in self.starts]
        return torch.cat(pieces, 1)


def attend_shared(
    q_BHLD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, window: SharedWindow, scale: float
) -> Tensor:
    """softmax(scale x q k^T) v, causally and within documents, for this process's tokens."""
    first, last = window.starts
    pieces = zip((first, last), torch.split(q_BHLD, window.length, 2), strict=True)
    attend = _attend_piece
    if q_BHLD.device.type == "cuda" and window.documents_BS is None:
        attend = _attend_piece_fused
    return torch.cat([attend(q, k_BHSD, v_BHSD, start, window, scale) for start, q in pieces], 2)


def _attend_piece_fused(  # noqa: PLR0913 -- the operands, and where they stand
    q_BHLD: Tensor,
    k_BHSD: Tensor,
    v_BHSD: Tensor,
    start: int,
    window: SharedWindow,
    scale: float,
) -> Tensor:
    """By torch's flash attention: the last query sees all keys up to the piece's end."""
    # Here, because it loads torch's compiler: 1.5 s and 70 MB that no other program has to pay.
    from torch.nn.attention.bias import causal_lower_right

    end, width = start + window.length, v_BHSD.shape[3]
    v_BHSD = F.pad(v_BHSD, (0, q_BHLD.shape[3] - width))
    bias = causal_lower_right(window.length, end)
    out_BHLD = F.scaled_dot_product_attention(
        q_BHLD, k_BHSD[:, :, :end], v_BHSD[:, :, :end], attn_mask=bias, scale=scale
    )
    return out_BHLD[..., :width]


def _attend_piece(  # noqa: PLR0913 -- as above
    q_BHLD: Tensor,
    k_BHSD: Tensor,
    v_BHSD: Tensor,
    start: int,
    window: SharedWindow,
    scale: float,
) -> Tensor:
    blocks = []
    for at in range(0, window.length, _BLOCK):
        q_BHQD = q_BHLD[:, :, at : at + _BLOCK]
        begin, end = start + at, start + at + q_BHQD.shape[2]
        scores_BHQS = (q_BHQD @ k_BHSD[:, :, :end].mT).float() * scale
        places_S = torch.arange(end, device=q_BHLD.device)
        hidden_BQS = (places_S > places_S[begin:, None])[None]
        if (documents_BS := window.documents_BS) is not None:
            own_BQ = documents_BS[:, begin:end]
            hidden_BQS = hidden_BQS | (own_BQ[:, :, None] != documents_BS[:, None, :end])
        scores_BHQS = scores_BHQS.masked_fill(hidden_BQS[:, None], float("-inf"))
        blocks.append(scores_BHQS.softmax(-1).to(v_BHSD.dtype) @ v_BHSD[:, :, :end])
    return torch.cat(blocks, 2)
