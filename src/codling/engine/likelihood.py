"""Log-probabilities of several continuations of one text, for multiple choice.

Input: the ids of a text and of its continuations. Output: the sum of the log-probabilities of each
continuation's tokens. The text runs through the model once, without what the text before it already
had (solved examples are often the same); continuations of one token need nothing more, longer ones
run side by side behind copies of its keys and values.

Not here: generation (engine.py), and a whole text's log-probabilities (text.py).

Legend: N continuations, L tokens, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.model.cache import KVCache
from codling.model.transformer import Transformer

_GROW = 512
"""Slots by which the cache grows."""


class Likelihood:
    """A model, and the keys and values of the text that was last asked about."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._device = model.embed_tokens.weight.device
        self._cache: KVCache | None = None
        self._ids: list[int] = []

    @torch.inference_mode()
    def score(self, start: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of each of `options` after `start`; none may be empty."""
        longest = max(len(option) for option in options)
        cache = self._reserve(len(options), len(start) + longest)
        first_V = self._log_softmax(self._read(cache, start))
        if longest == 1:
            return [float(first_V[option[0]]) for option in options]
        rest_N = self._rest(cache, len(start), options)
        return [
            float(first_V[option[0]]) + rest for option, rest in zip(options, rest_N, strict=True)
        ]

    def _read(self, cache: KVCache, start: Sequence[int]) -> Tensor:
        """The hidden state of the last token of `start`; row 0 then holds all of them."""
        shared = _n_shared(self._ids, start[:-1])
        row = cache.rows(0, 1)
        row.lengths_B[0] = shared
        ids_1L = torch.tensor([list(start[shared:])], device=self._device)
        hidden_1LE = self._model(ids_1L, cache=row)
        self._ids = list(start)
        last_E: Tensor = hidden_1LE[0, -1]
        return last_E

    def _rest(self, cache: KVCache, n_start: int, options: Sequence[Sequence[int]]) -> list[float]:
        """What the tokens after the first of each continuation add."""
        longest = max(len(option) for option in options)
        for row in range(1, len(options)):
            cache.copy_row(0, row, n_start)
        rows = cache.rows(0, len(options))
        rows.lengths_B[:] = n_start
        # Padding on the right is seen by nobody.
        padded = [[*option[:-1], *[0] * (longest - len(option))] for option in options]
        ids_NL = torch.tensor(padded, device=self._device)
        hidden_NLE = self._model(ids_NL, cache=rows)
        sums = []
        for hidden_LE, option in zip(hidden_NLE, options, strict=True):
            n = len(option) - 1
            logprobs_LV = self._log_softmax(hidden_LE[:n])
            next_L = torch.tensor(list(option[1:]), device=logprobs_LV.device)
            sums.append(float(logprobs_LV.gather(1, next_L[:, None]).sum()) if n else 0.0)
        return sums

    def _log_softmax(self, hidden: Tensor) -> Tensor:
        return F.log_softmax(self._model.logits(hidden).float(), dim=-1)

    def _reserve(self, n_rows: int, length: int) -> KVCache:
        """A cache with room; a new one is empty."""
        cache = self._cache
        if cache is None or cache.n_rows < n_rows or cache.max_length < length:
            weight = self._model.embed_tokens.weight
            slots = -(-length // _GROW) * _GROW
            rows = max(n_rows, cache.n_rows if cache else 1)
            cache = KVCache.allocate(
                self._model.config, rows, slots, dtype=weight.dtype, device=self._device
            )
            self._cache, self._ids = cache, []
        return cache


def _n_shared(old: Sequence[int], new: Sequence[int]) -> int:
    """Tokens at the beginning that both have."""
    for place, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return place
    return min(len(old), len(new))
