"""The model call: batches of token chunks in, logits of the sequences that wait for a token out.

Input: batches of the scheduler. Output: logits. The cache's rows are the scheduler's slots. Prompts
run through the plain model, which works on rows that lie side by side, so a batch with gaps is run
in pieces (the scheduler keeps running slots together). A few tokens on the CPU run through the
compiled loop of decoder_cpu.py where it supports the model.

Shapes: B rows of a piece, L padded chunk length, E hidden size, V vocabulary, R sequences that need
logits. Not here: which tokens to run (scheduler.py), what a row of the cache is (model/cache.py).
"""

from itertools import groupby

import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.engine.decoder_cpu import FusedDecoder, can_fuse, stacked_cache
from codling.engine.scheduler import Batch
from codling.engine.slots import Copy, Move, Swap
from codling.model.cache import KVCache
from codling.model.transformer import Transformer


class Runner:
    """A model, its cache, and the device they are on."""

    def __init__(
        self,
        model: Transformer,
        *,
        n_slots: int,
        max_length: int,
        fuse: bool = False,
        int8: bool = False,
    ) -> None:
        """Allocate a cache of `n_slots` rows of `max_length` tokens in the model's type.

        `fuse` uses the compiled loop where it can, and takes over the model's weights: only for a
        model that nobody trains. `int8` rounds the weights that it decodes with.
        """
        weight = model.embed_tokens.weight
        self.model = model.eval()
        self.device = weight.device
        self.n_slots = n_slots
        self.max_length = max_length
        self.fused: FusedDecoder | None = None
        fuse = fuse and can_fuse(model)
        if int8 and not fuse:
            raise ConfigError(
                "int8 is for dense models on Linux CPUs; take another --precision, such as bfloat16"
            )
        if fuse:
            self.cache, keys, values = stacked_cache(
                model.config, n_slots, max_length, weight.dtype
            )
            self.fused = FusedDecoder(model, keys, values, int8=int8)
        else:
            self.cache = KVCache.allocate(
                model.config, n_slots, max_length, weight.dtype, self.device
            )
        self._views: dict[tuple[int, int], KVCache] = {}

    def apply(self, move: Move) -> None:
        """Copy or swap rows of the cache."""
        match move:
            case Copy(source, target, n_tokens):
                self.cache.copy_row(source, target, n_tokens)
            case Swap(a, b, n_a, n_b):
                self.cache.swap_rows(a, b, n_a, n_b)

    def run(self, batch: Batch) -> Tensor:
        """Feed each chunk into its row; gives logits for batch.ready, fp32 on the CPU, [R, V]."""
        if self.fused is not None and sum(map(len, batch.chunks)) <= self.fused.max_tokens:
            return self.fused.step(batch.chunks, batch.rows, batch.starts)[batch.ready]
        order = sorted(range(len(batch.chunks)), key=lambda i: batch.rows[i])
        hidden: dict[int, Tensor] = {}
        # Rows that lie side by side have the same distance from their place in the order.
        for _, piece in groupby(enumerate(order), key=lambda pair: batch.rows[pair[1]] - pair[0]):
            members = [i for _, i in piece]
            hidden |= zip(members, self._forward(batch, members), strict=True)
        if not batch.ready:
            return torch.empty(0, self.model.config.vocab_size)
        hidden_RE = torch.stack([hidden[i] for i in batch.ready])
        return self.model.logits(hidden_RE).float().cpu()

    def close(self) -> None:
        """End the threads of the compiled loop."""
        if self.fused is not None:
            self.fused.close()

    def _forward(self, batch: Batch, members: list[int]) -> Tensor:
        """The hidden state [B, E] after each member's last token."""
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
