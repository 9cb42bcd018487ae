"""The thread that steps the engine, and the streams that it feeds.

Input: sequences, from any thread. Output: a Stream for each. Requests join
between steps; a cancelled one leaves before the next step. An error in a step reaches every stream
that was waiting or running, and the worker goes on with an empty cache.

Not here: prompts and parameters (text.py), the step itself (engine.py).
"""

import threading
from collections import deque

from codling.core.errors import RequestError
from codling.engine.engine import Engine, Token
from codling.engine.request import FinishReason, TokenLogprob
from codling.engine.sequence import Sequence
from codling.engine.stream import Stream, Transcript
from codling.tokens.tokenizer import Tokenizer


class Worker:
    """Owns the engine: no other thread steps it."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._streams: dict[Sequence, Stream] = {}
        self._cancelled: deque[Sequence] = deque()
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="codling-engine", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> Stream:
        """Queue a sequence; BusyError if the queue is full."""
        params = sequence.params
        transcript = Transcript(self._tokenizer, params.stop, sequence.lead, params.marks)
        stream = Stream(len(sequence.prompt_ids), transcript, lambda _: self.cancel(sequence))
        with self._change:
            if self._closed:
                raise RequestError("the engine is closed; open it again")
            self._engine.add(sequence)
            self._streams[sequence] = stream
            self._change.notify()
        return stream

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence and its stream; before the next step its slot is free."""
        with self._change:
            self._cancelled.append(sequence)
            self._change.notify()

    def close(self) -> None:
        """Cancel what runs and end the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while self._wait():
            try:
                self._remove_cancelled()
                for token in self._engine.next_tokens():
                    self._deliver(token)
            except Exception as error:  # noqa: BLE001 -- raised where the streams are read
                self._fail(error)
        for stream in self._take_all():
            stream.put(stream.transcript.close("cancelled"))

    def _wait(self) -> bool:
        with self._change:
            while not (self._closed or self._cancelled or self._engine.busy):
                self._change.wait()
            return not self._closed

    def _remove_cancelled(self) -> None:
        while self._cancelled:
            sequence = self._cancelled.popleft()
            # Not a search of all: others are submitted meanwhile.
            stream = self._streams.get(sequence)
            if stream is not None:
                self._end(sequence, "cancelled")
                stream.put(stream.transcript.close("cancelled"))

    def _deliver(self, token: Token) -> None:
        sequence, stream = token.sequence, self._streams[token.sequence]
        if sequence.repeats and sequence.finish_reason is None:
            stream.transcript.skip(token.id)
            return
        delta = stream.transcript.push(
            token.id,
            self._logprob(token),
            sequence.finish_reason,
            silent=token.id in sequence.end_ids,
        )
        if delta.finish_reason is not None:
            self._end(sequence, delta.finish_reason)
        stream.n_cached_tokens = sequence.n_cached or 0
        if sequence.speculation is not None:
            stream.n_drafted_tokens = sequence.speculation.n_drafted
            stream.n_accepted_tokens = sequence.speculation.n_accepted
        if delta.finish_reason is not None and sequence.recall is not None:
            stream.origins = sequence.recall.origins()
        stream.put(delta)

    def _end(self, sequence: Sequence, reason: FinishReason) -> None:
        self._engine.finish(sequence, reason)
        with self._change:
            del self._streams[sequence]

    def _fail(self, error: Exception) -> None:
        for stream in self._take_all():
            stream.put(error)

    def _take_all(self) -> list[Stream]:
        with self._change:
            streams = list(self._streams.values())
            self._streams.clear()
            self._engine.scheduler.forget()
            return streams

    def _logprob(self, token: Token) -> TokenLogprob | None:
        if token.logprob is None:
            return None
        return token_logprob(self._tokenizer, token.id, token.logprob, token.top)


def token_logprob(
    tokenizer: Tokenizer, token_id: int, logprob: float, top: tuple[tuple[int, float], ...] = ()
) -> TokenLogprob:
    """The record of a token's probability, with its text and bytes."""
    raw = tokenizer.token_bytes(token_id)
    return TokenLogprob(
        token_id=token_id,
        text=raw.decode("utf-8", errors="replace"),
        bytes=raw,
        logprob=logprob,
        top=tuple(token_logprob(tokenizer, i, value) for i, value in top),
    )
