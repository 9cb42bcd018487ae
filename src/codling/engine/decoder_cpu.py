"""A model on the CPU as one compiled loop per step, in place of a call per operation.

Input: a model and its cache. Output: logits after new tokens of each sequence. Packed
matrices are read as they lie; in float32 and bfloat16 the model's own parameters become views of
memory that is read faster (decoder_parts.py), so nothing is held twice. The plain model stays the
reference and runs the prompts of floats.

Shapes: as in kernels/decode_cpu.py. Not here: the arithmetic, GPUs.
"""

import os
import time
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codling.core.team import Pace, Team
from codling.engine.decoder_parts import (
    Array,
    Tables,
    dense_parts,
    expert_parts,
    needs_experts_loop,
    new_rooms,
    to_array,
)
from codling.engine.kernels import decode_cpu as kernels
from codling.model.packed.linear import is_packed
from codling.model.transformer import Transformer

_BYTES_PER_THREAD = 4_000_000
"""A smaller model takes less time than it takes two threads to synchronise."""
_MAX_TOKENS, _MAX_PACKED = 16, 256
"""Tokens per step: floats are multiplied token by token, and more are faster with the plain model's
products; packed matrices are multiplied with many at once, and prompts run here too."""


def can_fuse(model: Transformer) -> bool:
    """Whether the compiled loop supports this model: float32 or bfloat16, on a CPU."""
    weight = model.norm.weight
    known = weight.dtype in (torch.float32, torch.bfloat16) and weight.device.type == "cpu"
    return known and os.name == "posix"


class FusedDecoder:
    """Matrices, scratch memory and threads for one model and one cache."""

    def __init__(
        self,
        model: Transformer,
        kinds: Sequence[Tensor],
        *,
        n_streams: int = 1,
        n_threads: int | None = None,
    ) -> None:
        """`kinds` are keys and values [N, B, K, S, D], or latents alone, and where they are bytes
        their scales, float32 [N, B, 1, S, P]."""
        config = model.config
        self._model = model
        self._max_length = kinds[0].shape[3]
        self.runs_prompts = is_packed(model) and not needs_experts_loop(config)
        """Whether prompts of any length are faster here, in chunks of `max_tokens`."""
        self.max_tokens = max(n_streams, _MAX_PACKED if self.runs_prompts else _MAX_TOKENS)
        """Tokens per step, of all chunks together."""
        self.max_wanted = max(n_streams, _MAX_TOKENS)
        """Those whose logits may be wanted."""
        model.rope.reserve(self._max_length)
        self._rope = (to_array(model.rope.cos.float()), to_array(model.rope.sin.float()))
        self._cache = _cache_arrays(kinds)
        tables = Tables(model)
        self._kept = tables.kept
        if needs_experts_loop(config):
            # Here, because compiled loops take a while to read, and most models do not need it.
            from codling.engine.kernels.decode_experts import decode_experts

            self._loop: Any = decode_experts
            self._read_parts = partial(expert_parts, model, tables)
        else:
            self._loop, self._read_parts = kernels.decode, partial(dense_parts, model, tables)
        self._parts = self._read_parts()
        self._team = Team(n_threads or _n_useful_threads(self._kept))
        rooms = new_rooms(config, self.max_tokens, self._team.n_threads, self._max_length)
        self._scratch, self._works, self._shared = rooms
        self._logits = np.zeros((self.max_wanted, config.vocab_size), dtype=np.float32)
        self._sync = np.zeros(16, dtype=np.int64)
        self._paces: dict[int, Pace] = {}
        self.step([[0]], [0], [0], [[0]])  # compiles at the first use, and touches all weights
        self._paces.clear()

    def takes(self, chunks: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> bool:
        """Whether `step` does so much at once."""
        n_tokens, n_wanted = sum(map(len, chunks)), sum(map(len, wanted))
        return n_tokens <= self.max_tokens and n_wanted <= self.max_wanted

    @torch.inference_mode()
    def step(
        self,
        chunks: Sequence[Sequence[int]],
        rows: Sequence[int],
        starts: Sequence[int],
        wanted: Sequence[Sequence[int]],
    ) -> Tensor:
        """Logits [W, V] after the tokens at the places `wanted[i]` of each chunk i; valid until the
        next step.

        Chunk i goes into cache row `rows[i]` from position `starts[i]` on; at most `max_tokens`
        tokens and `max_wanted` places in all.
        """
        before = accumulate(map(len, chunks), initial=0)
        places = [n + at for n, each in zip(before, wanted, strict=False) for at in each]
        flat = [
            (row, start + i)
            for chunk, row, start in zip(chunks, rows, starts, strict=True)
            for i in range(len(chunk))
        ]
        assert self.takes(chunks, wanted)
        columns = (*zip(*flat, strict=True), places)
        step = [np.array(values, dtype=np.int64) for values in columns]
        asked = np.zeros(len(flat), dtype=np.bool_)
        asked[places] = True
        tokens = torch.tensor([token for chunk in chunks for token in chunk])
        self._scratch[0][: len(flat)] = self._model.embed_tokens(tokens).float().numpy()
        shape, tables, weights = self._parts
        parts = (self._sync, shape, (*step, asked), tables, weights, self._rope)
        more = (self._cache, self._scratch, self._works, self._shared, self._logits)
        n_steady = min(len(flat), _MAX_TOKENS + 1)  # long chunks share what they learn
        pace = self._paces.setdefault(n_steady, Pace(self._team.n_threads))
        n_best = pace.choose()
        started = time.perf_counter()
        self._team.run(lambda thread, n: self._loop(thread, n, *parts, *more), n_best)
        pace.record(n_best, (time.perf_counter() - started) / len(flat))
        return torch.from_numpy(self._logits[: len(places)])

    def reread(self) -> None:
        """Take in norms, biases and routers that were changed; matrices are read where they lie."""
        self._parts = self._read_parts()

    def close(self) -> None:
        """End the helper threads."""
        self._team.close()


def _cache_arrays(kinds: Sequence[Tensor]) -> tuple[Array, Array, Array]:
    """Keys, values and scales [N, B, S, P]; of latents twice the same, and no scales for floats."""
    scales = np.zeros((0, 0, 0, 0), dtype=np.float32)
    if kinds[0].dtype == torch.int8:
        *kinds, last = kinds
        scales = to_array(last)[:, :, 0]
    return to_array(kinds[0]), to_array(kinds[-1]), scales


def _n_useful_threads(kept: list[Array]) -> int:
    """All of torch's threads, but only as many as have megabytes to read between two barriers."""
    n_bytes = sum(array.nbytes for array in kept)
    return max(1, min(torch.get_num_threads(), n_bytes // _BYTES_PER_THREAD))
