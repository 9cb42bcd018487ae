"""One request's completions, generated together and read as one stream of events.

Input: choices, each a prompt as token ids with its sampling parameters. Output: their Deltas in the
order in which they arise, or the finished choices; counts and times on the way. However a run
ends (finished, client gone, superseded, server stopping), nothing of it goes on being computed.

Not here: HTTP and JSON (sse.py, completions.py, chat.py, infill.py).
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from codling.engine.request import BusyError, Delta, Mode, SamplingParams, TokenLogprob
from codling.serve.backend import Backend, DeltaStream
from codling.serve.errors import ApiError, overload_error
from codling.serve.metrics import Metrics
from codling.serve.outcomes import About
from codling.serve.overlap import OverlapFilter
from codling.serve.show import ShowFilter, without_logprobs


@dataclass(kw_only=True)
class Choice:
    """One completion that a request asks for: what it is made from, and how far it has come."""

    prompt_index: int = 0
    """Which of the request's prompts this is; its choices share it."""
    prompt_ids: list[int]
    params: SamplingParams
    mode: Mode = "complete"
    suffix: str = ""
    """The text after the cursor, of an insertion that may not repeat it."""
    min_logprob: float | None = None
    """An insertion whose first line is less likely stays away (show.py)."""
    shows_logprobs: bool = True
    """Whether the client asked for the log-probabilities too."""
    stream: DeltaStream | None = field(default=None, init=False)
    """Where its deltas come from, once it has begun."""
    text: str = field(default="", init=False)
    logprobs: list[TokenLogprob] = field(default_factory=list, init=False)
    n_tokens: int = field(default=0, init=False)
    finish_reason: str | None = field(default=None, init=False)


class Run:
    """The choices of one request while they are made. Read `events()` once."""

    def __init__(self, choices: Iterable[Choice], metrics: Metrics) -> None:
        self.choices = list(choices)
        self.about: About | None = None
        """What was asked; None for runs that are not logged."""
        self.metrics = metrics
        self.id = uuid.uuid4().hex
        self.created = time.time()
        self.started = time.perf_counter()
        self.first_text_at: float | None = None
        self._queue: asyncio.Queue[tuple[int, Delta] | BaseException] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, backend: Backend) -> None:
        """Begin all completions; if one cannot begin, none goes on."""
        try:
            for choice in self.choices:
                choice.stream = await backend.open(choice.prompt_ids, choice.params, choice.mode)
        except BusyError as error:
            self.cancel("busy")
            raise overload_error(str(error)) from None
        except BaseException:
            self.cancel("error")
            raise
        self.metrics.prompt_tokens.inc(self.n_prompt_tokens)

    async def events(self, keep_alive: float) -> AsyncGenerator[tuple[int, Delta] | None, None]:
        """Each choice's deltas as they come; None when nothing came for `keep_alive` seconds."""
        self._tasks = tasks = [
            asyncio.create_task(self._pump(index, choice.stream))
            for index, choice in enumerate(self.choices)
            if choice.stream is not None
        ]
        self.metrics.running.inc(len(tasks))
        reason = "client"
        try:
            while any(choice.finish_reason is None for choice in self.choices):
                item = await _next(self._queue, keep_alive)
                if isinstance(item, BaseException):
                    reason = "superseded" if _is_superseded(item) else "error"
                    raise item
                if item is not None:
                    self._note(*item)
                yield item
            reason = ""
        finally:
            for task in tasks:
                task.cancel()
            self.cancel(reason)
            self.metrics.running.dec(len(tasks))
            self.metrics.cached_tokens.inc(self.n_cached_tokens)
            self.metrics.drafted_tokens.inc(self.n_drafted_tokens)
            self.metrics.accepted_tokens.inc(self.n_accepted_tokens)
            # Not gather: if the request's own task is cancelled here, that would cancel these a
            # second time, while they close what they hold (an upstream's connection).
            await asyncio.wait(tasks)

    async def finish(self) -> list[Choice]:
        """Read everything; the finished choices."""
        async for _ in self.events(keep_alive=3600.0):
            pass
        return self.choices

    def supersede(self) -> None:
        """End the run because the same session has asked again."""
        self._queue.put_nowait(
            ApiError(
                499,
                "a newer request of the same session has replaced this one",
                type="cancelled",
                code="request_superseded",
            )
        )

    def stop(self) -> None:
        """End the run because the server is stopping."""
        message = "the server is shutting down"
        self._queue.put_nowait(ApiError(503, message, type="server_error", code="shutting_down"))

    def cancel(self, reason: str) -> None:
        """Stop computing what is not finished."""
        for choice in self.choices:
            if choice.stream is not None and choice.finish_reason is None:
                choice.stream.cancel()
                self.metrics.cancelled.labels(reason=reason or "other").inc()

    async def _pump(self, index: int, stream: DeltaStream) -> None:
        choice = self.choices[index]
        overlap, show = OverlapFilter(choice.suffix), ShowFilter(choice.min_logprob)
        try:
            async for made in stream:
                for delta in show.push(made):
                    text, reason = overlap.push(delta.text), delta.finish_reason
                    if overlap.stopped:
                        reason = "stop"
                    elif reason is not None:
                        text += overlap.flush()
                    kept = delta if choice.shows_logprobs else without_logprobs(delta)
                    self._queue.put_nowait((index, replace(kept, text=text, finish_reason=reason)))
                    if overlap.stopped or show.stopped:
                        stream.cancel()
                        return
        except Exception as error:  # noqa: BLE001 - it is raised where the events are read
            self._queue.put_nowait(error)

    def _note(self, index: int, delta: Delta) -> None:
        choice = self.choices[index]
        if delta.text and self.first_text_at is None:
            self.first_text_at = time.perf_counter()
            self.metrics.first_token_seconds.observe(self.first_text_at - self.started)
        choice.text += delta.text
        choice.n_tokens += len(delta.token_ids)
        choice.logprobs.extend(delta.logprobs)
        choice.finish_reason = delta.finish_reason
        self.metrics.generated_tokens.inc(len(delta.token_ids))
        if delta.finish_reason == "cancelled":
            raise ApiError(
                503, "the completion was cancelled", type="server_error", code="cancelled"
            )

    @property
    def n_prompt_tokens(self) -> int:
        """Prompt tokens of the request; a prompt counts once however many choices it has."""
        return sum({c.prompt_index: len(c.prompt_ids) for c in self.choices}.values())

    @property
    def n_cached_tokens(self) -> int:
        """Prompt tokens that needed no computing, of the first choice of each prompt."""
        seen: dict[int, int] = {}
        for choice in self.choices:
            if choice.stream is not None:
                seen.setdefault(choice.prompt_index, choice.stream.n_cached_tokens)
        return sum(seen.values())

    @property
    def n_drafted_tokens(self) -> int:
        """Guessed tokens that the model has read."""
        return sum(c.stream.n_drafted_tokens for c in self.choices if c.stream is not None)

    @property
    def n_accepted_tokens(self) -> int:
        """Those of them that it chose."""
        return sum(c.stream.n_accepted_tokens for c in self.choices if c.stream is not None)

    @property
    def n_generated_tokens(self) -> int:
        """Tokens generated so far."""
        return sum(choice.n_tokens for choice in self.choices)

    def usage(self) -> dict[str, Any]:
        """OpenAI's token counts, with DeepSeek's names for the cached part of the prompt."""
        n_prompt, n_cached, n_new = (
            self.n_prompt_tokens,
            self.n_cached_tokens,
            self.n_generated_tokens,
        )
        return {
            "prompt_tokens": n_prompt,
            "completion_tokens": n_new,
            "total_tokens": n_prompt + n_new,
            "prompt_tokens_details": {"cached_tokens": n_cached},
            "prompt_cache_hit_tokens": n_cached,
            "prompt_cache_miss_tokens": n_prompt - n_cached,
        }


async def _next(
    queue: "asyncio.Queue[tuple[int, Delta] | BaseException]", seconds: float
) -> tuple[int, Delta] | BaseException | None:
    """The next item, or None if none comes in time."""
    with suppress(asyncio.QueueEmpty):
        return queue.get_nowait()
    waiting = asyncio.ensure_future(queue.get())
    try:
        done, _ = await asyncio.wait({waiting}, timeout=seconds)
    except BaseException:
        waiting.cancel()
        raise
    if done:
        return waiting.result()
    waiting.cancel()
    return None


def _is_superseded(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == "request_superseded"
