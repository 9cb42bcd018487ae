"""Where the tokens come from: our engine in this process, or another server behind us.

Input: token ids and sampling parameters. Output: an asynchronous stream of Deltas that can be
cancelled.

Not here: prompts (prompts.py), HTTP shapes, and the client of another server (upstream.py).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from codling.core.errors import SourceError
from codling.corpus.context import Cursor, CursorContext
from codling.engine.form import Form
from codling.engine.reach import CursorReach
from codling.engine.request import Delta, Mode, SamplingParams, TokenLogprob
from codling.serve.side_work import Check
from codling.tokens.chat import ChatFormat, Message
from codling.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codling.engine.memory.live import LiveRepository
    from codling.engine.text import TextEngine


class DeltaStream(Protocol):
    """One running completion; engine.stream.Stream is one."""

    n_cached_tokens: int
    """Prompt tokens that needed no computing; known from the first delta on."""
    n_drafted_tokens: int
    """Guessed tokens that the model has read so far."""
    n_accepted_tokens: int
    """Those of them that it chose."""

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
    reach: CursorReach
    """How long prompts at a cursor are."""
    can_heal: bool
    """Whether an answer can be held to begin with the end of its prompt (tokens/healing.py)."""

    @property
    def repository(self) -> "LiveRepository | None":
        """The repository that is followed."""
        ...

    def context_prompt(self, cursor: Cursor, wanted: int) -> list[int] | None:
        """The prompt at a cursor of the repository that is followed, with the files in front that
        its file depends on; None where none is followed or the file is not of it.

        It inserts where the model can, and else continues. `wanted`: tokens to be generated.
        """
        ...

    def explain_context(self, cursor: Cursor, wanted: int) -> CursorContext | None:
        """What `context_prompt` puts in front of the cursor and why; None where it gives none."""
        ...

    async def open(
        self, prompt_ids: Sequence[int], params: SamplingParams, mode: Mode
    ) -> DeltaStream:
        """Begin one completion; RequestError or ApiError if it cannot begin.

        `mode` decides which special tokens end it.
        """
        ...

    chat_format: ChatFormat
    """How dialogues become prompts."""

    def chat_prompt(
        self,
        messages: Sequence[Message],
        *,
        begun: str = "",
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """The prompt of a dialogue, up to where the assistant answers, which it may have begun;
        `tools` are told of by the template."""
        ...

    def prepare(self, form: Form, marks: Sequence[str] = ()) -> None:
        """Make ready for answers of a form; RequestError if it is unsound or cannot be had here.

        `marks`: special tokens that they may show. It may take seconds: call it on a thread.
        """
        ...

    def score(self, check: Check, ids: Sequence[int], top: int) -> Sequence[TokenLogprob | None]:
        """The log-probability of each token given those before it; None for the first.

        It computes for long: call it on a thread; `check` ends it.
        """
        ...

    def forget(self, path: str, repo: str | None) -> bool:
        """Nothing comes from this file of the memory any more; whether it was known.

        Raises RequestError if several repositories have it and `repo` is None.
        """
        ...

    async def close(self) -> None:
        """Stop everything and free the model."""
        ...


class LocalBackend:
    """Our engine, which steps in a thread of its own."""

    can_heal = True

    def __init__(
        self,
        engine: "TextEngine",
        name: str | None = None,
        repository: "LiveRepository | None" = None,
    ) -> None:
        """`repository` is closed with the engine."""
        self.engine = engine
        self._repository = repository
        self.name = name or engine.name
        self.tokenizer: Tokenizer = engine.tokenizer
        self.chat_format: ChatFormat = engine.chat_format
        self.max_length: int = engine.max_length
        self.reach: CursorReach = engine.reach

    def replace_engine(self, engine: "TextEngine") -> "TextEngine":
        """Requests from now on go to `engine`; gives the one before, for the caller to close."""
        before, self.engine = self.engine, engine
        self.chat_format = engine.chat_format  # an adapter may have been tuned with one of its own
        engine.memory = before.memory
        return before

    @property
    def repository(self) -> "LiveRepository | None":
        """See Backend."""
        return self._repository

    def context_prompt(self, cursor: Cursor, wanted: int) -> list[int] | None:
        """See Backend."""
        if self.repository is None or not self._is_inside(cursor.path):
            return None
        engine = self.engine
        return engine.repository_prompt(
            self.repository, cursor, insert=engine.can_insert, max_tokens=wanted
        )

    def explain_context(self, cursor: Cursor, wanted: int) -> CursorContext | None:
        """See Backend."""
        if self.repository is None or not self._is_inside(cursor.path):
            return None
        engine = self.engine
        return engine.repository_context(
            self.repository, cursor, insert=engine.can_insert, max_tokens=wanted
        )

    def _is_inside(self, path: str) -> bool:
        assert self.repository is not None
        try:
            self.repository.inside(path)
        except SourceError:
            return False
        return True

    async def open(
        self, prompt_ids: Sequence[int], params: SamplingParams, mode: Mode
    ) -> DeltaStream:
        """See Backend."""
        return self.engine.submit(prompt_ids, params, mode=mode)

    def chat_prompt(
        self,
        messages: Sequence[Message],
        *,
        begun: str = "",
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """See Backend."""
        return self.engine.chat_prompt(messages, begun=begun, tools=tools)

    def prepare(self, form: Form, marks: Sequence[str] = ()) -> None:
        """See Backend."""
        self.engine.prepare(form, marks)

    def score(self, check: Check, ids: Sequence[int], top: int) -> Sequence[TokenLogprob | None]:
        """See Backend."""
        return self.engine.score(ids, top=top, check=check)

    def forget(self, path: str, repo: str | None) -> bool:
        """See Backend."""
        if self.repository is not None:
            return self.repository.forget(path, repo)
        memory = self.engine.memory
        name = memory.find(path, repo) if memory is not None else None
        if memory is not None and name is not None:
            memory.forget(name)
        return name is not None

    async def close(self) -> None:
        """See Backend."""
        if self.repository is not None:
            await asyncio.to_thread(self.repository.close)
        await asyncio.to_thread(self.engine.close)
