"""What a request adds to the logits: penalties for what was written already, and biases.

Input: a row of logits, the request's parameters, how often each token was written. Output: the row
with the changes, a new one; the row itself where nothing is asked for.

    frequency    as much off for each time that the answer has the token      (OpenAI's)
    presence     once off if it has it                                         (OpenAI's)
    repetition   positive logits divided, negative multiplied, if the prompt or the answer has it
                 (arXiv:1909.05858, section 4.1, as transformers and vLLM read it)
    bias         added to the named tokens; -100 bans, 100 forces              (OpenAI's)

Not here: the choice of a token (sampler.py).
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from codling.engine.request import SamplingParams

BAN = -100.0
"""A bias at or below it forbids the token."""


class Penalties:
    """The penalties and biases of one sequence."""

    def __init__(self, params: SamplingParams, prompt_ids: list[int]) -> None:
        self._params = params
        self._output: Counter[int] = Counter()
        self._seen = set(prompt_ids) if params.repetition_penalty != 1 else set()
        self._bias_ids = np.array([i for i, _ in params.logit_bias], np.int64)
        self._bias = np.array([b for _, b in params.logit_bias], np.float32)

    @classmethod
    def of(cls, params: SamplingParams, prompt_ids: list[int]) -> "Penalties | None":
        """Those of a request; None if it asks for none."""
        asks = params.frequency_penalty or params.presence_penalty or params.logit_bias
        return cls(params, prompt_ids) if asks or params.repetition_penalty != 1 else None

    def note(self, token_id: int) -> None:
        """Count a token of the answer."""
        self._output[token_id] += 1
        if self._params.repetition_penalty != 1:
            self._seen.add(token_id)

    def apply(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        """The row with the changes."""
        params, logits_V = self._params, logits_V.copy()
        if self._seen:
            ids = np.fromiter(self._seen, np.int64)
            kept, factor = logits_V[ids], np.float32(params.repetition_penalty)
            logits_V[ids] = np.where(kept > 0, kept / factor, kept * factor)
        if self._output and (params.frequency_penalty or params.presence_penalty):
            ids = np.fromiter(self._output, np.int64)
            counts = np.fromiter(self._output.values(), np.float32)
            logits_V[ids] -= params.frequency_penalty * counts + params.presence_penalty
        if len(self._bias_ids):
            # A token that is named twice (llama.cpp's pairs) gets both.
            np.add.at(logits_V, self._bias_ids, np.where(self._bias <= BAN, -np.inf, self._bias))
        return logits_V
