"""What a caller asks of the engine and what comes back: parameters, deltas, completions.

Input: nothing. Output: the frozen records that engine/text.py takes and gives. Torch-free, so that
the command line and the server's schema may import it.

Not here: the state of a request while it runs (sequence.py) and its stream (stream.py).
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from codling.core.errors import RequestError
from codling.engine.form import Form

FinishReason = Literal["stop", "length", "cancelled"]
"""Why a completion ended: a stop token or string, the token limit, or its caller."""
Mode = Literal["complete", "insert", "chat"]
"""What a prompt is for; it decides which special tokens end the completion."""
MAX_TOP_LOGPROBS = 64


class BusyError(RequestError):
    """The waiting queue is full: the request is valid, but must be sent again later."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next tokens are chosen and when to stop. RequestError if a value is invalid."""

    max_tokens: int = 128
    """Tokens to generate at most."""
    temperature: float = 0.0
    """0 takes the likeliest token (greedy); 1 samples from the model's distribution."""
    top_p: float = 1.0
    """Sample from the likeliest tokens that together have this probability."""
    top_k: int = 0
    """Sample from this many likeliest tokens; 0 means all."""
    seed: int | None = None
    """The same seed gives the same tokens, in float32 on the CPU whatever else runs in the batch;
    None draws one."""
    stop: tuple[str, ...] = ()
    """The text ends before the first of these strings."""
    stop_token_ids: tuple[int, ...] = ()
    """Further tokens that end the completion, besides the model's own."""
    logprobs: int | None = None
    """Give each token's log-probability and those of this many likeliest alternatives."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for each time that the answer has it (penalties.py)."""
    presence_penalty: float = 0.0
    """Taken off once if the answer has the token."""
    repetition_penalty: float = 1.0
    """Divides the logits of what the prompt or the answer has; 1 changes nothing."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token, what is added to its logit); -100 or less forbids it."""
    form: Form | None = None
    """What the answer must look like (structured.py); it is whole also where `max_tokens` ends it,
    and longer than that if nothing shorter has the form."""
    marks: tuple[str, ...] = ()
    """Special tokens that the answer may show as text, such as those around a tool's call."""
    stop_loops: bool = False
    """End an answer that repeats the same few tokens without end (loops.py)."""
    drawn_logprobs: bool = False
    """Log-probabilities are those after the temperature, which learning from samples needs."""
    ignore_eos: bool = False
    """Run to `max_tokens` even past the model's end tokens (for measurements)."""

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 1, "max_tokens", "at least 1")
        _require(0 <= self.temperature < float("inf"), "temperature", "0 or more")
        _require(0 < self.top_p <= 1, "top_p", "above 0 and at most 1")
        _require(self.top_k >= 0, "top_k", "0 (all) or more")
        _require("" not in self.stop, "stop", "strings that are not empty")
        in_range = self.logprobs is None or 0 <= self.logprobs <= MAX_TOP_LOGPROBS
        _require(self.repetition_penalty > 0, "repetition_penalty", "above 0")
        _require(in_range, "logprobs", f"from 0 to {MAX_TOP_LOGPROBS}")

    def choices(self, n: int) -> list["SamplingParams"]:
        """Parameters for `n` choices of one prompt: with a seed, choice i is sampled with seed + i.

        >>> [p.seed for p in SamplingParams(seed=7).choices(3)]
        [7, 8, 9]
        """
        _require(n >= 1, "n", "at least 1")
        if self.seed is None:
            return [self] * n
        return [dataclasses.replace(self, seed=self.seed + i) for i in range(n)]


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """One token with its natural log-probability under the model, before temperature and top-p."""

    token_id: int
    text: str
    """The token alone; a piece of a character is U+FFFD, a special token as its name."""
    bytes: bytes
    """The token's exact bytes; those of a completion join to its text."""
    logprob: float
    top: tuple["TokenLogprob", ...] = ()
    """The likeliest alternatives, best first (their own `top` is empty)."""


@dataclass(frozen=True)
class Origin:
    """A line of the repository that a suggestion repeats (engine/memory)."""

    path: str
    repo: str
    license: str
    line: int
    """Counted from 1."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What a stream gives at a time: whole characters, and the tokens taken since the last delta.

    Text that could become a stop string, or half a character, waits for a later delta, so `text`
    may be empty. The last delta, and only it, has a `finish_reason`.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A finished completion.

    `token_ids` hold what the model produced, its end token or the tokens of the stop string
    included; `text` ends before them.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    finish_reason: FinishReason
    n_prompt_tokens: int
    n_cached_tokens: int = 0
    """Prompt tokens whose keys and values were reused from an earlier or a running request."""
    n_drafted_tokens: int = 0
    """Guessed tokens that the model read on the way (engine/speculate.py)."""
    n_accepted_tokens: int = 0
    """Those of them that it chose: each saved a pass."""
    origins: tuple[Origin, ...] = ()
    """Lines of the repository that the answer repeats (engine/memory)."""


def _require(fits: bool, param: str, wanted: str) -> None:
    if not fits:
        raise RequestError(f"{param} must be {wanted}", param=param)
