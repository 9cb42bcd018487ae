"""Decoding one token per row as a step that is always the same: on a GPU, one recording.

A step of a small model is hundreds of kernels of microseconds each, and starting them from Python
takes longer than running them. Here all that changes from step to step (tokens, positions) lies in
buffers that never move, rows and visible slots are rounded up to powers of two, and each such shape
is recorded once as a CUDA graph; a step then copies two short rows of numbers, replays, and reads
the logits. Latent attention takes its absorbed form, as always with one token per row. On a CPU the
same steps run unrecorded, which is how they are tested.

Input: one token per row, and where it stands. Output: logits. Not here: prompts and drafts, which
take the plain model (runner.py), and the CPU's own loop (decoder_cpu.py).

Legend: B rows, V vocabulary, W wanted logits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from codling.model.cache import KVCache
from codling.model.static_cache import StaticCache
from codling.model.transformer import Transformer

_FEWEST_SLOTS = 256
"""Recordings of shorter caches would save nothing."""


class StaticStep:
    """The steps of a model on a cache whose rows have one slot more than requests may fill."""

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        """The cache's last slot of each row is taken for rows without a new token."""
        self._model, self._cache = model, cache
        device = cache.stores[0][0].device
        self._n_slots = cache.max_length - 1
        model.rope.reserve(cache.max_length + 1)  # later its tables would move
        self._tokens_B1 = torch.zeros(cache.n_rows, 1, dtype=torch.int64, device=device)
        self._positions_B1 = torch.zeros_like(self._tokens_B1)
        self._steps: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self._memory: Any = None  # of torch, unnamed

    def takes(self, chunks: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> bool:
        """Whether every row has one token whose logits are wanted."""
        return all(map(_is_single, chunks)) and all(map(_is_single, wanted))

    def step(
        self, chunks: Sequence[Sequence[int]], rows: Sequence[int], starts: Sequence[int]
    ) -> Tensor:
        """Write each token at its row's start; gives fp32 logits on the CPU, [W, V], as asked."""
        tokens, positions = [0] * self._cache.n_rows, [self._n_slots] * self._cache.n_rows
        for (token,), row, start in zip(chunks, rows, starts, strict=True):
            tokens[row], positions[row] = token, start
        self._tokens_B1.copy_(torch.tensor(tokens)[:, None])
        self._positions_B1.copy_(torch.tensor(positions)[:, None])
        n_rows = _round_up(max(rows) + 1, 1, self._cache.n_rows)
        n_visible = _round_up(max(starts) + 1, _FEWEST_SLOTS, self._n_slots)
        logits_BV = self._prepare(n_rows, n_visible)()
        return logits_BV[torch.tensor(rows, device=logits_BV.device)].float().cpu()

    def _prepare(self, n_rows: int, n_visible: int) -> Callable[[], Tensor]:
        """The step of a shape, made at its first use."""
        if (n_rows, n_visible) not in self._steps:
            tokens_B1 = self._tokens_B1[:n_rows]
            view = StaticCache(self._cache, self._positions_B1[:n_rows], n_visible)

            def compute() -> Tensor:
                return self._model.logits(self._model(tokens_B1, cache=view)[:, 0])

            is_gpu = tokens_B1.device.type == "cuda"
            self._steps[n_rows, n_visible] = self._record(compute) if is_gpu else compute
        return self._steps[n_rows, n_visible]

    def _record(self, compute: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """What gives the same result by replaying; all recordings share their scratch memory."""
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # libraries set themselves up at the first calls
            compute()
            compute()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            result = compute()
        self._memory = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


def _is_single(items: Sequence[int]) -> bool:
    return len(items) == 1


def _round_up(n: int, fewest: int, most: int) -> int:
    """The next power of two from `fewest` on, or `most`."""
    return min(max(fewest, 1 << (n - 1).bit_length()), most)
