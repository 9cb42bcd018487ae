"""The model call: batches of token chunks in, logits of the sequences that wait for a token out.

Input: batches of the scheduler. Output: logits. The cache's rows are the scheduler's slots. Prompts
run through the plain model, which works on rows that lie side by side, so a batch with gaps is run
in pieces. On the CPU all run through the compiled loop of decoder_cpu.py where it supports the
model; on a GPU single tokens run as a recorded step (static_step.py).

Shapes: B rows of a piece, L padded chunk length, E hidden size, V vocabulary, W tokens after which
logits are wanted. Not here: which tokens to run (scheduler.py), what a row of the cache is
(model/cache.py).
"""

from itertools import groupby

import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.engine.config import CacheForm
from codling.engine.decoder_cpu import FusedDecoder, can_fuse
from codling.engine.reserved import (
    CacheShape,
    ReservedTensor,
    can_reserve,
    reserve_cache,
    tokens_per_page,
)
from codling.engine.scheduler import Batch
from codling.engine.slots import Copy, Move, Release, Swap
from codling.engine.static_step import StaticStep
from codling.model.cache import KVCache
from codling.model.packed.convert import pack_model
from codling.model.packed.linear import is_packed
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer

_N_KEPT = 64
"""Rows beyond those of running requests, which keep the texts of editors that wait for a key."""
_MAX_DECODED, _MAX_FED = 256, 1024
"""Tokens of all sequences together in a pass of the plain model, those of their drafts included."""


class Runner:
    """A model, its cache, and the device they are on."""

    def __init__(  # noqa: PLR0913 -- the model, and the limits
        self,
        model: Transformer,
        *,
        n_slots: int,
        max_length: int,
        n_tokens: int | None = None,
        fuse: bool = False,
        bits: Bits | None = None,
        form: CacheForm = "auto",
    ) -> None:
        """A cache for `n_slots` requests at a time of `max_length` tokens, in the model's type.

        On a CPU they hold `n_tokens` in all, None meaning as many as all could; on a GPU each has
        the memory of its longest. `fuse` uses the compiled loop where it can, and takes over the
        model's weights: only for a model that nobody trains. `bits` rounds its matrices, in place.
        `form` is that of keys and values.
        """
        weight = model.norm.weight
        self.model = model.eval()
        self.device = weight.device
        fuse = fuse and can_fuse(model)
        if bits is not None and not is_packed(model):
            if self.device.type != "cpu":
                raise ConfigError(
                    "int8 and int4 are for CPUs; take another --precision, such as bfloat16"
                )
            pack_model(model, bits)
        if form == "int8" and not can_reserve(self.device):
            raise ConfigError("--cache int8 is for CPUs of Linux and macOS; leave it at auto")
        dtype = torch.int8 if form == "int8" else weight.dtype
        self.shape = self._choose_shape(n_slots, max_length, n_tokens, dtype, fuse=fuse)
        self._reserved: list[ReservedTensor] = []
        self.static: StaticStep | None = None
        if can_reserve(self.device):
            self.cache, self._reserved = reserve_cache(
                model.config, self.shape.n_rows, max_length, weight.dtype, form
            )
        else:
            self.cache = KVCache.allocate(
                model.config, n_slots, max_length + 1, weight.dtype, self.device
            )
            self.static = StaticStep(model, self.cache)
        self.fused: FusedDecoder | None = None
        if fuse:
            kinds = [each.tensor for each in self._reserved]
            self.fused = FusedDecoder(model, kinds, n_streams=n_slots)
        self._views: dict[tuple[int, int], KVCache] = {}

    def _choose_shape(
        self,
        n_slots: int,
        max_length: int,
        n_tokens: int | None,
        dtype: torch.dtype,
        *,
        fuse: bool,
    ) -> CacheShape:
        if not can_reserve(self.device):
            return CacheShape.of_whole_rows(n_slots, max_length)
        page = tokens_per_page(self.model.config, dtype)
        n_longest = -(-max_length // page)
        n_pages = n_slots * n_longest if n_tokens is None else max(n_tokens // page, n_longest)
        # The loop reads rows wherever they lie; the plain model wants them side by side, and would
        # have to move kept ones out of the way.
        return CacheShape(
            n_rows=n_slots + (_N_KEPT if fuse else 0),
            n_streams=n_slots,
            max_length=max_length,
            n_pages=n_pages,
            page=page,
            keeps_side_by_side=not fuse,
        )

    @property
    def max_decoded(self) -> int:
        """How many tokens, drafts included, a pass takes before another way would be faster."""
        return self.fused.max_wanted if self.fused else _MAX_DECODED

    @property
    def max_fed(self) -> int:
        """How many tokens of prompts a pass takes best."""
        fused = self.fused
        return fused.max_tokens if fused is not None and fused.runs_prompts else _MAX_FED

    def apply(self, move: Move) -> None:
        """Copy or swap rows of the cache, or give memory of a row back."""
        match move:
            case Copy(source, target, n_tokens):
                self.cache.copy_row(source, target, n_tokens)
            case Swap(a, b, n_a, n_b):
                self.cache.swap_rows(a, b, n_a, n_b)
            case Release(row, start, stop):
                for each in self._reserved:
                    each.release(row, start, stop)

    def run(self, batch: Batch) -> Tensor:
        """Feed each chunk into its row; gives logits for batch.wanted, fp32 on the CPU, [W, V].

        They are valid until the next run.
        """
        if self.fused is not None and self.fused.takes(batch.chunks, batch.wanted):
            return self.fused.step(batch.chunks, batch.rows, batch.starts, batch.wanted)
        if self.fused is not None and len(batch.chunks) > 1 and is_packed(self.model):
            # Rounded activations tell apart what adds in another order, so the way that a chunk is
            # computed may not depend on its company.
            return torch.cat([self.run(each).clone() for each in batch.split()])
        if self.static is not None and self.static.takes(batch.chunks, batch.wanted):
            return self.static.step(batch.chunks, batch.rows, batch.starts)
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

    def reread(self) -> None:
        """Take in weights that were changed in their place."""
        if self.fused is not None:
            self.fused.reread()

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
