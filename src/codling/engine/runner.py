"""The model call: batches of token chunks in, hidden states of each row's last token out.

Input: batches of the scheduler. Output: logits. The cache's rows are the scheduler's slots;
the model works on rows that lie side by side, so a batch with gaps is run in pieces (the scheduler
keeps running slots together).

Shapes: B rows of a piece, L padded chunk length, E hidden size, V vocabulary, R rows that need
logits. Not here: which tokens to run (scheduler.py), what a row of the cache is (model/cache.py).
"""

from itertools import groupby

import torch
from torch import Tensor

from codling.engine.scheduler import Batch, Copy, Move, Swap
from codling.model.cache import KVCache
from codling.model.transformer import Transformer


class Runner:
    """A model, its cache, and the device they are on."""

    def __init__(
        self, model: Transformer, *, n_slots: int, max_length: int, dtype: torch.dtype | None = None
    ) -> None:
        """Allocate a cache of `n_slots` rows of `max_length` tokens; `dtype` None: the model's."""
        weight = model.embed_tokens.weight
        self.model = model.eval()
        self.device = weight.device
        self.n_slots = n_slots
        self.max_length = max_length
        self.cache = KVCache.allocate(
            model.config, n_slots, max_length, dtype or weight.dtype, self.device
        )
        self._views: dict[tuple[int, int], KVCache] = {}

    def apply(self, move: Move) -> None:
        """Copy or swap rows of the cache."""
        stores = (tensor for layer in self.cache.stores for tensor in layer)
        match move:
            case Copy(source, target, n):
                for t in stores:
                    t[target, :, :n] = t[source, :, :n]
            case Swap(a, b, n_a, n_b):
                for t in stores:
                    kept = t[a, :, :n_a].clone()
                    t[a, :, :n_b] = t[b, :, :n_b]
                    t[b, :, :n_a] = kept

    def run(self, batch: Batch) -> list[Tensor]:
        """Feed each row's chunk into its slot; gives the hidden state [E] of its last token."""
        order = sorted(range(len(batch.chunks)), key=lambda i: batch.rows[i])
        pieces = groupby(enumerate(order), key=lambda pair: batch.rows[pair[1]] - pair[0])
        hidden: list[Tensor] = [torch.empty(0)] * len(order)
        for _, piece in pieces:
            members = [i for _, i in piece]
            for i, state_E in zip(members, self._forward(batch, members), strict=True):
                hidden[i] = state_E
        return hidden

    def logits(self, hidden: list[Tensor]) -> Tensor:
        """Scores over the vocabulary for R hidden states, fp32 on the CPU, [R, V]."""
        return self.model.logits(torch.stack(hidden)).float().cpu()

    def _forward(self, batch: Batch, members: list[int]) -> Tensor:
        chunks = [batch.chunks[i] for i in members]
        n_longest = max(map(len, chunks))
        tokens_BL = torch.tensor([c + [0] * (n_longest - len(c)) for c in chunks])
        first = batch.rows[members[0]]
        view = self._rows(first, first + len(members))
        view.lengths_B = torch.tensor([batch.starts[i] for i in members])
        hidden_BLE: Tensor = self.model(tokens_BL.to(self.device), cache=view)
        if n_longest == 1:
            return hidden_BLE[:, 0]
        last_B = torch.tensor([len(c) - 1 for c in chunks], device=self.device)
        return hidden_BLE[torch.arange(len(chunks), device=self.device), last_B]

    def _rows(self, start: int, stop: int) -> KVCache:
        """The rows as a cache on the same memory; kept, since slicing every layer takes time."""
        if (start, stop) not in self._views:
            self._views[start, stop] = self.cache.rows(start, stop)
        return self._views[start, stop]
