"""A view of a key/value cache for steps of one token per row, in which nothing depends on the host.

Input: a cache, how many of its first rows a step computes and how many slots it reads, and the
positions of the new tokens on the device. Output: what `Transformer.forward` asks of a cache, in
the same kernels on the same memory each time, so that a GPU can record a step once and replay it.

A row without a new token has the position of its last slot, which no query may see: the caller
keeps it free.

Legend: B rows, S slots, K kv heads, D width.
"""

import torch
from torch import Tensor

from codling.model.cache import KVCache, Span


class StaticCache(KVCache):
    """The first rows and slots of a cache; the lengths are in `positions_B1`."""

    def __init__(self, cache: KVCache, positions_B1: Tensor, n_visible: int) -> None:
        n_rows = len(positions_B1)
        stores = [tuple(tensor[:n_rows] for tensor in store) for store in cache.stores]
        super().__init__(stores, cache.lengths_B[:n_rows])
        device = positions_B1.device
        self._positions_B1, self._n_visible = positions_B1, n_visible
        self._rows_B1 = torch.arange(n_rows, device=device)[:, None]
        self._slots_S = torch.arange(n_visible, device=device)

    def span(self, length: int) -> Span:
        """What a step of one token per row touches."""
        assert length == 1, "a static step has one token per row"
        hidden_B11S = self._slots_S > self._positions_B1[:, :, None, None]
        bias_B11S = torch.zeros(hidden_B11S.shape, dtype=self.dtype, device=hidden_B11S.device)
        bias_B11S = bias_B11S.masked_fill(hidden_B11S, float("-inf"))
        return Span(1, self._n_visible, None, self._positions_B1, bias_B11S, is_causal=False)

    def write(self, layer: int, span: Span, *new: Tensor) -> tuple[Tensor, ...]:
        """Store the new tokens' tensors [B, K, 1, D]; returns the visible slots of each kind."""
        for store, tensor in zip(self.stores[layer], new, strict=True):
            store.transpose(1, 2)[self._rows_B1, span.positions_BL] = tensor.transpose(1, 2)
        return tuple(store[:, :, : span.n_visible] for store in self.stores[layer])
