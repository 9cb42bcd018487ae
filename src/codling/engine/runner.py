"""The model call: batches of token chunks in, logits of the sequences that wait for a token out.

Input: batches of the scheduler. Output: logits. The cache's rows are the scheduler's slots. Prompts
run through the plain model, which works on rows that lie side by side, so a batch with gaps is run
in pieces (the scheduler keeps running slots together). A few tokens on the CPU run through the
compiled loop of decoder_cpu.py where it supports the model.

Shapes: B rows of a piece, L padded chunk length, E hidden size, V vocabulary, W tokens after which
logits are wanted. Not here: which tokens to run (scheduler.py), what a row of the cache is
(model/cache.py).
"""

from itertools import groupby

import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.engine.decoder_cpu import FusedDecoder, can_fuse, stacked_cache
from codling.engine.scheduler import Batch
from codling.engine.slots import Copy, Move, Swap
from codling.model.cache import KVCache
from codling.model.packed.convert import pack_model
from codling.model.packed.linear import is_packed
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer

_MAX_DECODED = 256
"""Tokens of all sequences together in a pass of the plain model, those of their drafts included."""


class Runner:
    """A model, its cache, and the device they are on."""

    def __init__(
        self,
        model: Transformer,
        *,
        n_slots: int,
        max_length: int,
        fuse: bool = False,
        bits: Bits | None = None,
    ) -> None:
        """Allocate a cache of `n_slots` rows of `max_length` tokens in the model's type.

        `fuse` uses the compiled loop where it can, and takes over the model's weights: only for a
        model that nobody trains. `bits` rounds its matrices, in place.
        """
        weight = model.norm.weight
        self.model = model.eval()
        self.device = weight.device
        self.n_slots = n_slots
        self.max_length = max_length
        self.fused: FusedDecoder | None = None
        fuse = fuse and can_fuse(model)
        if bits is not None and not is_packed(model):
            if self.device.type != "cpu":
                raise ConfigError(
                    "int8 and int4 are for CPUs; take another --precision, such as bfloat16"
                )
            pack_model(model, bits)
        if fuse:
            self.cache, keys, values = stacked_cache(
                model.config, n_slots, max_length, weight.dtype
            )
            self.fused = FusedDecoder(model, keys, values)
        else:
            self.cache = KVCache.allocate(
                model.config, n_slots, max_length, weight.dtype, self.device
            )
        self._views: dict[tuple[int, int], KVCache] = {}

    @property
    def max_decoded(self) -> int:
        """How many tokens, drafts included, a pass takes before another way would be faster."""
        return self.fused.max_tokens if self.fused else _MAX_DECODED

    def apply(self, move: Move) -> None:
        """Copy or swap rows of the cache."""
        match move:
            case Copy(source, target, n_tokens):
                self.cache.copy_row(source, target, n_tokens)
            case Swap(a, b, n_a, n_b):
                self.cache.swap_rows(a, b, n_a, n_b)

    def run(self, batch: Batch) -> Tensor:
        """Feed each chunk into its row; gives logits for batch.wanted, fp32 on the CPU, [W, V].

        They are valid until the next run.
        """
        if self.fused is not None and sum(map(len, batch.chunks)) <= self.fused.max_tokens:
            return self.fused.step(batch.chunks, batch.rows, batch.starts, batch.wanted)
        order = sorted(range(len(batch.chunks)), key=lambda i: batch.rows[i])
        hidden: dict[int, Tensor] = {}
        # Rows that lie side by side have the same distance from their place in the order.
        for _, piece in groupby(enumerate(order), key=lambda pair: batch.rows[pair[1]] - pair[0]):
            members = [i for _, i in piece]
            hidden |= zip(members, self._forward(batch, members), strict=True)
        hidden_WE = torch.cat([hidden[i] for i in range(len(order))])
        if not len(hidden_WE):
            return torch.empty(0, self.model.config.vocab_size)
        return self.model.logits(hidden_WE).float().cpu()

    def close(self) -> None:
        """End the threads of the compiled loop."""
        if self.fused is not None:
            self.fused.close()

    def _forward(self, batch: Batch, members: list[int]) -> list[Tensor]:
        """The hidden states [W, E] after each member's wanted tokens."""
        chunks = [batch.chunks[i] for i in members]
        n_longest = max(map(len, chunks))
        tokens_BL = torch.tensor([c + [0] * (n_longest - len(c)) for c in chunks])
        first = batch.rows[members[0]]
        view = self._rows(first, first + len(members))
        view.lengths_B = torch.tensor([batch.starts[i] for i in members])
        hidden_BLE: Tensor = self.model(tokens_BL.to(self.device), cache=view)
        spans = (batch.wanted[i] for i in members)
        return [
            hidden_LE[span[0] : span[-1] + 1] if span else hidden_LE[:0]
            for hidden_LE, span in zip(hidden_BLE, spans, strict=True)
        ]

    def _rows(self, start: int, stop: int) -> KVCache:
        """The rows as a cache on the same memory; kept, since slicing every layer takes time."""
        if (start, stop) not in self._views:
            self._views[start, stop] = self.cache.rows(start, stop)
        return self._views[start, stop]
