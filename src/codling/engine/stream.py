"""From generated tokens to text: stop strings, whole characters, and the stream for the caller.

Input: token ids, one at a time, from the engine. Output: deltas. A stop string may begin in one
token and end in another, so text that could still become one is held back; the tokenizer's stream
decoder holds back the bytes of an unfinished character.

    LeadFilter   text in, text out, without the blanks that the prompt's end has already
    StopFilter   text in, text out, up to the first stop string
    Transcript   one request's tokens in, deltas out
    Stream       the caller's end: an iterable of deltas, fed by the engine's thread

Not here: which tokens end a completion (sequence.py), and the thread (worker.py).
"""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from codling.engine.request import Completion, Delta, FinishReason, Origin, TokenLogprob
from codling.tokens.tokenizer import StreamDecoder, Tokenizer


class LeadFilter:
    """Takes what its caller has off the beginning of an answer: `lead`, or fewer blanks.

    >>> lead = LeadFilter("    ")
    >>> lead.push("  "), lead.push("      if x"), lead.push("    ")
    ('', '    if x', '    ')
    """

    def __init__(self, lead: str) -> None:
        self._lead = lead
        self._held = ""

    def push(self, text: str) -> str:
        """The text without the lead, as far as it is certain."""
        if not self._lead:
            return text
        self._held += text
        has_text = self._held.lstrip(" \t")
        is_short = len(self._held) < len(self._lead) and self._lead.startswith(self._held)
        if is_short or (not has_text and not self._held.startswith(self._lead)):
            return ""
        begins = self._held.startswith(self._lead)
        text = self._held.removeprefix(self._lead) if begins else has_text
        self._lead = self._held = ""
        return text


class StopFilter:
    """Passes text on until one of the stop strings occurs in it.

    >>> stops = StopFilter(["\\n\\n"])
    >>> stops.push("a\\n"), stops.push("b\\n"), stops.push("\\nc"), stops.has_stopped
    ('a', '\\nb', '', True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.has_stopped = False
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> str:
        """The text that is now certain to lie before any stop string."""
        if not self._stops or self.has_stopped:
            return "" if self.has_stopped else text
        self._held += text
        ends = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.has_stopped = True
            return self._release(min(ends))
        return self._release(len(self._held) - self._n_doubtful())

    def flush(self) -> str:
        """The text held back, when no more will come."""
        return "" if self.has_stopped else self._release(len(self._held))

    def _release(self, n: int) -> str:
        text, self._held = self._held[:n], self._held[n:]
        return text

    def _n_doubtful(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = min(len(self._held), max(len(stop) for stop in self._stops) - 1)
        for n in range(longest, 0, -1):
            if any(stop.startswith(self._held[-n:]) for stop in self._stops):
                return n
        return 0


class Transcript:
    """The text of one request, as its tokens come in."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Sequence[str],
        lead: str = "",
        marks: Sequence[str] = (),
    ) -> None:
        """`lead` is left out where the text begins with it; `marks` are shown as text."""
        self._decoder = StreamDecoder(tokenizer, continues=True, shown=marks)
        self._stops = StopFilter(stops)
        self._lead = LeadFilter(lead)

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string has occurred."""
        return self._stops.has_stopped

    def push(
        self,
        token_id: int,
        logprob: TokenLogprob | None,
        ended: FinishReason | None,
        *,
        silent: bool,
    ) -> Delta:
        """The delta for one more token; `silent` for an end token, which has no text."""
        text = "" if silent else self._stops.push(self._lead.push(self._decoder.push(token_id)))
        reason: FinishReason | None = "stop" if self.has_stopped else ended
        if reason is not None:
            text += self._stops.flush()
        return Delta(
            text=text,
            token_ids=(token_id,),
            logprobs=() if logprob is None else (logprob,),
            finish_reason=reason,
        )

    def skip(self, token_id: int) -> None:
        """Take a token of the lead, which gives no text."""
        self._lead.push(self._decoder.push(token_id))

    def close(self, reason: FinishReason) -> Delta:
        """The last delta of a request that ends without a further token."""
        return Delta(text=self._stops.flush(), finish_reason=reason)


class Stream:
    """One running request, read as an iterable of deltas: `for` in a thread, `async for` in a loop.

    Read it once. Leaving the loop early cancels the request. An error in the engine is raised where
    the stream is read.
    """

    def __init__(
        self, n_prompt_tokens: int, transcript: Transcript, cancel: Callable[["Stream"], None]
    ) -> None:
        self.n_prompt_tokens = n_prompt_tokens
        self.transcript = transcript
        """Makes the deltas; only the engine's thread uses it."""
        self.n_cached_tokens = 0
        """Prompt tokens that needed no computing; known from the first delta on."""
        self.n_drafted_tokens = 0
        """Guessed tokens that the model has read so far (speculate.py)."""
        self.n_accepted_tokens = 0
        """Those of them that it chose."""
        self.origins: tuple[Origin, ...] = ()
        """Lines of the repository that the answer repeats; known with the last delta."""
        self.finish_reason: FinishReason | None = None
        self._cancel = cancel
        self._queue: queue.SimpleQueue[Delta | Exception] = queue.SimpleQueue()
        self._wake: Callable[[], object] | None = None

    def cancel(self) -> None:
        """End the request; its slot is free before the engine's next step. Safe at any time."""
        self._cancel(self)

    def __iter__(self) -> Iterator[Delta]:
        try:
            while self.finish_reason is None:
                yield self._take(self._queue.get())
        finally:
            if self.finish_reason is None:
                self.cancel()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(ready.set)
        try:
            while self.finish_reason is None:
                ready.clear()
                while self.finish_reason is None and not self._queue.empty():
                    yield self._take(self._queue.get())
                if self.finish_reason is None:
                    await ready.wait()
        finally:
            self._wake = None
            if self.finish_reason is None:
                self.cancel()

    def result(self) -> Completion:
        """Read the stream to its end and give everything at once."""
        deltas = list(self)
        assert self.finish_reason is not None
        return Completion(
            text="".join(d.text for d in deltas),
            token_ids=tuple(i for d in deltas for i in d.token_ids),
            logprobs=tuple(entry for d in deltas for entry in d.logprobs),
            finish_reason=self.finish_reason,
            n_prompt_tokens=self.n_prompt_tokens,
            n_cached_tokens=self.n_cached_tokens,
            n_drafted_tokens=self.n_drafted_tokens,
            n_accepted_tokens=self.n_accepted_tokens,
            origins=self.origins,
        )

    def put(self, item: Delta | Exception) -> None:
        """Called by the engine's thread: the next delta, or the error that ends the stream."""
        self._queue.put(item)
        if wake := self._wake:
            try:
                wake()
            except RuntimeError:  # the reader's event loop is closed: nobody reads any more
                self.cancel()

    def _take(self, item: Delta | Exception) -> Delta:
        if isinstance(item, Exception):
            self.finish_reason = "cancelled"
            raise item
        self.finish_reason = item.finish_reason
        return item
