"""The key/value cache: per layer one slot per position and row; slot index == position.

A forward pass writes the keys and values of row b's i-th new token at slot lengths[b] + i; a query
at position p sees the slots 0 to p. So right padding, stale slots and slots not yet written are
never seen, and the caller moves the lengths on by the number of real tokens only:

    cache = KVCache.allocate(config, n_rows=2, max_length=4096)
    hidden = model(right_padded_prompts, cache=cache)
    cache.advance(prompt_lengths)

Latent attention stores [kv_lora | rope] per token and nothing else. The lengths live on the host,
whatever the device, because every step decides by them.

Not here: which request owns which row (engine/).

Legend: B rows, S slots, L new tokens, K kv heads, D head width, C latent width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from codling.model.config import ModelConfig


@dataclass(frozen=True)
class Span:
    """Where the new tokens of one forward pass go, and what they see."""

    length: int
    """New tokens per row, L."""
    n_visible: int
    """Slots that some query sees; the others need not be read."""
    start: int | None
    """The first position, if it is the same in all rows."""
    positions_BL: Tensor
    """Position of every new token, on the cache's device."""
    bias: Tensor | None
    """Added to the scores: -inf where a query does not see a slot, [B, 1, L, n_visible] in the type
    of the cache; None if every query sees all, or `is_causal` says what it sees."""
    is_causal: bool
    """The rows are empty so far: plain causal attention among the new tokens."""


def separate_documents(documents_BL: Tensor, dtype: torch.dtype) -> Span:
    """What tokens of several documents in a row see without a cache: those before them in their own
    document, and themselves."""
    places_L = torch.arange(documents_BL.shape[1], device=documents_BL.device)
    is_own_BLL = documents_BL[:, :, None] == documents_BL[:, None, :]
    return _show(is_own_BLL, places_L.expand_as(documents_BL), 0, dtype)


def share_beginnings(branches_BL: Tensor, positions_BL: Tensor, dtype: torch.dtype) -> Span:
    """What tokens see where texts with one beginning stand in a row without a cache: of those
    before them the beginning, branch 0, and their own branch. Every branch's positions go on where
    the beginning ends."""
    is_own_BLL = branches_BL[:, :, None] == branches_BL[:, None, :]
    return _show(is_own_BLL | (branches_BL[:, None, :] == 0), positions_BL, None, dtype)


def _show(may_see_BLL: Tensor, positions_BL: Tensor, start: int | None, dtype: torch.dtype) -> Span:
    """No token sees one that stands after it."""
    L = may_see_BLL.shape[1]
    bias_BLL = torch.zeros(may_see_BLL.shape, dtype=dtype, device=may_see_BLL.device)
    bias_B1LL = bias_BLL.masked_fill(~may_see_BLL.tril(), float("-inf")).unsqueeze(1)
    return Span(L, L, start, positions_BL, bias_B1LL, is_causal=False)


class KVCache:
    """Keys and values of all layers for a fixed number of rows.

    `stores[layer]` holds one tensor per kind: (keys, values), each [B, K, S, D], or for latent
    attention (latents,), [B, 1, S, C].
    """

    def __init__(self, stores: list[tuple[Tensor, ...]], lengths_B: Tensor) -> None:
        self.stores = stores
        self.lengths_B = lengths_B
        self.dtype = stores[0][0].dtype
        """The type of what `write` gives."""

    @classmethod
    def allocate(
        cls,
        config: ModelConfig,
        n_rows: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "KVCache":
        """An empty cache with room for `max_length` tokens in each row."""
        if config.mla is None:
            n_kinds, heads, width = 2, config.kv_heads, config.head_size
        else:
            n_kinds, heads, width = 1, 1, config.mla.kv_lora_rank + config.mla.qk_rope_head_dim
        shape = (n_rows, heads, max_length, width)
        # Zeros, not garbage: masked slots still enter sums with weight 0, and 0 x NaN is NaN.
        stores = [
            tuple(torch.zeros(shape, dtype=dtype, device=device) for _ in range(n_kinds))
            for _ in range(config.n_layers)
        ]
        return cls(stores, torch.zeros(n_rows, dtype=torch.int64, device="cpu"))

    @property
    def n_rows(self) -> int:
        """Number of rows, B."""
        return self.lengths_B.shape[0]

    @property
    def max_length(self) -> int:
        """Slots per row, S."""
        return self.stores[0][0].shape[2]

    @property
    def n_bytes(self) -> int:
        """Memory that the slots take."""
        return sum(t.numel() * t.element_size() for store in self.stores for t in store)

    def span(self, length: int) -> Span:
        """What a forward pass over `length` new tokens per row touches."""
        lengths = self.lengths_B.tolist()
        first, last = min(lengths), max(lengths)
        assert first + length <= self.max_length, "the caller makes sure that there is room"
        store = self.stores[0][0]
        device = store.device
        steps = torch.arange(length, device=device)
        positions_BL = self.lengths_B.to(device)[:, None] + steps
        n_visible = min(last + length, self.max_length)
        same = first == last
        bias = None
        if not (same and (first == 0 or length == 1)):
            hidden = torch.arange(n_visible, device=device) > positions_BL[..., None]
            bias = torch.zeros(hidden.shape, dtype=self.dtype, device=device)
            bias = bias.masked_fill_(hidden, float("-inf")).unsqueeze(1)
        return Span(
            length=length,
            n_visible=n_visible,
            start=first if same else None,
            positions_BL=positions_BL,
            bias=bias,
            is_causal=same and first == 0 and length > 1,
        )

    def write(self, layer: int, span: Span, *new: Tensor) -> tuple[Tensor, ...]:
        """Store the new tokens' tensors [B, K, L, D]; returns the visible slots of each kind."""
        for store, tensor in zip(self.stores[layer], new, strict=True):
            if span.start is not None:
                store[:, :, span.start : span.start + span.length] = tensor
            else:
                self._scatter(store, span, tensor)
        return tuple(store[:, :, : span.n_visible] for store in self.stores[layer])

    def _scatter(self, store: Tensor, span: Span, new_BKLD: Tensor) -> None:
        rows_BL = torch.arange(self.n_rows, device=store.device)[:, None].expand_as(
            span.positions_BL
        )
        positions_BL, new_BLKD = span.positions_BL, new_BKLD.transpose(1, 2)
        if span.length > 1:
            # Padding of a row that is nearly full may point beyond its last slot.
            fits = positions_BL < self.max_length
            rows_BL, positions_BL, new_BLKD = rows_BL[fits], positions_BL[fits], new_BLKD[fits]
        store.transpose(1, 2)[rows_BL, positions_BL] = new_BLKD

    def advance(self, n_new_B: Tensor | int) -> None:
        """Count the real tokens of the last forward pass: one number per row, or one for all."""
        self.lengths_B = self.lengths_B + n_new_B

    def rows(self, start: int, stop: int) -> "KVCache":
        """Rows start to stop - 1 as a cache on the same memory; only its lengths are its own."""
        stores = [tuple(t[start:stop] for t in store) for store in self.stores]
        return self.with_rows(stores, self.lengths_B[start:stop].clone())

    def with_rows(self, stores: list[tuple[Tensor, ...]], lengths_B: Tensor) -> "KVCache":
        """A cache of the same form on other memory."""
        return KVCache(stores, lengths_B)

    def copy_row(self, source: int, target: int, n_tokens: int) -> None:
        """The first `n_tokens` of row `source` become what row `target` holds."""
        for tensor in (tensor for store in self.stores for tensor in store):
            tensor[target, :, :n_tokens] = tensor[source, :, :n_tokens]
        self.lengths_B[target] = n_tokens

    def swap_rows(self, a: int, b: int, n_a: int, n_b: int) -> None:
        """Row `a`, of `n_a` tokens, and row `b`, of `n_b`, change places."""
        for tensor in (tensor for store in self.stores for tensor in store):
            kept = tensor[a, :, :n_a].clone()
            tensor[a, :, :n_b] = tensor[b, :, :n_b]
            tensor[b, :, :n_a] = kept
        self.lengths_B[a], self.lengths_B[b] = n_b, n_a
