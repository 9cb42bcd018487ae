"""Where the tokens come from: our engine in this process, or another server behind us.

Input: token ids and sampling parameters. Output: an asynchronous stream of Deltas that can be
cancelled.

Not here: prompts (prompts.py), HTTP shapes, and the client of another server (upstream.py).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from codling.engine.request import Delta, Mode, SamplingParams, TokenLogprob
from codling.serve.side_work import Check
from codling.tokens.chat import Message
from codling.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codling.engine.text import TextEngine


class DeltaStream(Protocol):
    """One running completion; engine.stream.Stream is one."""

    n_cached_tokens: int
    """Prompt tokens that needed no computing; known from the first delta on."""

    def __aiter__(self) -> AsyncIterator[Delta]:
        """The deltas, once; the last has a finish_reason."""
        ...

    def cancel(self) -> None:
        """End it now, at any time."""
        ...


@runtime_checkable
class Backend(Protocol):
    """What the endpoints need to know of a model."""

    name: str
    tokenizer: Tokenizer
    max_length: int
    """Prompt plus completion, in tokens."""
    gives_logprobs: bool

    async def open(
        self, prompt_ids: Sequence[int], params: SamplingParams, mode: Mode
    ) -> DeltaStream:
        """Begin one completion; RequestError or ApiError if it cannot begin.

        `mode` decides which special tokens end it.
        """
        ...

    def chat_prompt(self, messages: Sequence[Message], *, begun: str = "") -> list[int]:
        """The prompt of a dialogue, up to where the assistant answers, which it may have begun."""
        ...

    def score(self, check: Check, ids: Sequence[int], top: int) -> Sequence[TokenLogprob | None]:
        """The log-probability of each token given those before it; None for the first.

        It computes for long: call it on a thread; `check` ends it.
        """
        ...

    async def close(self) -> None:
        """Stop everything and free the model."""
        ...


class LocalBackend:
    """Our engine, which steps in a thread of its own."""

    gives_logprobs = True

    def __init__(self, engine: "TextEngine", name: str | None = None) -> None:
        self.engine = engine
        self.name = name or engine.name
        self.tokenizer: Tokenizer = engine.tokenizer
        self.max_length: int = engine.max_length

    async def open(
        self, prompt_ids: Sequence[int], params: SamplingParams, mode: Mode
    ) -> DeltaStream:
        """See Backend."""
        return self.engine.submit(prompt_ids, params, mode=mode)

    def chat_prompt(self, messages: Sequence[Message], *, begun: str = "") -> list[int]:
        """See Backend."""
        return self.engine.chat_prompt(messages, begun=begun)

    def score(self, check: Check, ids: Sequence[int], top: int) -> Sequence[TokenLogprob | None]:
        """See Backend."""
        return self.engine.score(ids, top=top, check=check)

    async def close(self) -> None:
        """See Backend."""
        await asyncio.to_thread(self.engine.close)
