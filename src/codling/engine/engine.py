"""The engine: `step()` is schedule, run, postprocess.

Input: sequences of token ids. Output: generated tokens, step by step, for all running sequences at
once. Sequences join and leave between steps. Single-threaded: one caller steps it.

Not here: text, stop strings, threads (text.py, stream.py).
"""

import time
from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codling.engine.request import BusyError, FinishReason
from codling.engine.runner import Runner
from codling.engine.sampler import Drawn, choose, draw_together, top_logprobs
from codling.engine.scheduler import Batch, Scheduler
from codling.engine.sequence import Sequence
from codling.engine.speculate import MAX_DRAFT, Odds, Price


@dataclass(frozen=True)
class Token:
    """One generated token of one sequence."""

    sequence: Sequence
    id: int
    logprob: float | None = None
    """Natural log-probability under the model; None unless the request asks for it."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest (id, log-probability) at this place."""


class Engine:
    """Runs sequences on one model and one cache."""

    def __init__(self, runner: Runner, *, max_waiting: int = 256) -> None:
        self.runner = runner
        self.scheduler = Scheduler(runner.shape, budget=runner.max_fed)
        self.max_waiting = max_waiting
        self.odds, self.price = Odds(), Price()
        """Of drafts: how often they are right, and what they cost."""

    @property
    def busy(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; BusyError if too many wait already."""
        if len(self.scheduler.waiting) >= self.max_waiting:
            raise BusyError(
                f"{self.max_waiting} requests are waiting already; try again in a moment"
            )
        self.scheduler.add(sequence)

    def finish(self, sequence: Sequence, reason: FinishReason) -> None:
        """End a sequence from outside (stop string, cancelled request); its slot is free now."""
        sequence.finish_reason = reason
        self.scheduler.remove(sequence)

    def step(self) -> list[Token]:
        """Compute one chunk of waiting prompts, and of every running sequence one token or more."""
        return list(self.next_tokens())

    @torch.inference_mode()
    def next_tokens(self) -> Iterator[Token]:
        """A step whose tokens are given as they are chosen; read it to its end.

        A sequence that is finished when it has been given a token takes no more.
        """
        self.scheduler.admit()
        for batch in self.scheduler.schedule():
            yield from self._run(self._add_drafts(batch) if batch.is_decoding else batch)

    def _add_drafts(self, batch: Batch) -> Batch:
        """The batch with the tokens that are worth a try, as many as the runner takes."""
        n_sequences = len(batch.sequences)
        price, room = self.price.of(n_sequences), self.runner.max_decoded - n_sequences
        drafts: list[list[int]] = []
        for n_asked, sequence in enumerate(batch.sequences):
            n = min(MAX_DRAFT, room // (n_sequences - n_asked))
            n = min(n, sequence.n_left(self.scheduler.max_length) - 1)
            speculation = sequence.speculation
            if speculation and n > 0 and not self.scheduler.make_room(sequence, 1 + n):
                n = 0
            draft = speculation.plan(sequence.tokens, n, price) if speculation else []
            if sequence.constraint is not None:
                draft = sequence.constraint.trim(draft)
            drafts.append(draft)
            room -= len(drafts[-1])
        return batch.extend(drafts)

    def _run(self, batch: Batch) -> Iterator[Token]:
        _begin_masks(batch)
        for move in self.scheduler.take_moves():
            self.runner.apply(move)
        started = time.perf_counter()
        logits_WV = self.runner.run(batch)
        if batch.is_decoding or any(batch.n_drafted):
            seconds = time.perf_counter() - started
            self.price.record(len(batch.sequences), sum(batch.n_drafted), seconds)
        self.scheduler.record(batch)
        ready = [(s, n) for s, n in zip(batch.sequences, batch.wanted, strict=True) if n]
        drawn = _draw_plain([s for s, wanted in ready for _ in wanted], logits_WV)
        rows = iter(logits_WV)
        for sequence, wanted in ready:
            logits = [next(rows) for _ in wanted]
            yield from self._take(sequence, logits, drawn.get(sequence))

    def _take(
        self, sequence: Sequence, logits_WV: Many[Tensor], drawn: Drawn | None
    ) -> Iterator[Token]:
        """The tokens that the sequence takes: those of its draft that are chosen, and one more."""
        for logits_V in logits_WV:
            token = self._append(sequence, drawn) if drawn else self._choose(sequence, logits_V)
            yield token
            goes_on = sequence.speculation is not None and sequence.speculation.judge(token.id)
            if sequence.finish_reason is not None:
                return
            if not goes_on:
                break
        self.scheduler.cut(sequence)

    def _choose(self, sequence: Sequence, logits_V: Tensor) -> Token:
        if sequence.recall is not None:
            sequence.recall.mix(logits_V.numpy())
        token_id = self._settle(sequence, choose(_adjust(logits_V, sequence), sequence))
        logprob: float | None = None
        top: list[tuple[int, float]] = []
        if sequence.params.logprobs is not None:
            heat = sequence.params.temperature if sequence.params.drawn_logprobs else 1.0
            scaled_V = logits_V if heat in (0, 1) else logits_V / heat
            logprob, top = top_logprobs(scaled_V, token_id, sequence.params.logprobs)
        if sequence.recall is not None:
            sequence.recall.accept(token_id)
        return self._append(sequence, Drawn(token_id, logprob), tuple(top))

    def _append(
        self, sequence: Sequence, drawn: Drawn, top: tuple[tuple[int, float], ...] = ()
    ) -> Token:
        sequence.append(drawn.id, self.scheduler.max_length)
        if sequence.finish_reason:
            self.scheduler.remove(sequence)
        is_asked = sequence.params.logprobs is not None
        return Token(sequence, drawn.id, drawn.logprob if is_asked else None, top)

    def _settle(self, sequence: Sequence, token_id: int) -> int:
        """The token that was chosen, or the one that an answer with a form needs to become
        whole."""
        if sequence.constraint is None:
            return token_id
        n_left = sequence.n_left(self.scheduler.max_length) - 1
        return sequence.constraint.settle(token_id, n_left, must_end=sequence.is_looping)


def _draw_plain(sequences: Many[Sequence], logits_WV: Tensor) -> dict[Sequence, Drawn]:
    """The tokens of those sequences whose tokens are drawn by temperature alone, all at once."""
    places = [i for i, each in enumerate(sequences) if _is_plain(each)]
    if not places:
        return {}
    chosen = [sequences[i] for i in places]
    rows_WV = logits_WV if len(places) == len(logits_WV) else logits_WV[places]
    return dict(zip(chosen, draw_together(rows_WV, chosen), strict=True))


def _is_plain(sequence: Sequence) -> bool:
    """Whether the model's logits and a temperature decide alone, and no alternatives are asked."""
    params = sequence.params
    asks = params.logprobs is None or (params.logprobs == 0 and params.drawn_logprobs)
    parts = (sequence.recall, sequence.penalties, sequence.constraint, sequence.speculation)
    is_free = not any(each is not None for each in (*parts, sequence.healing))
    return is_free and asks and params.temperature > 0 and params.top_p >= 1 and not params.top_k


def _begin_masks(batch: Batch) -> None:
    """Let the forms of answers say what may come next while the model computes."""
    for i in batch.ready:
        constraint = batch.sequences[i].constraint
        if constraint is not None and not constraint.is_closing:
            n_drafted = batch.n_drafted[i]
            constraint.begin(batch.chunks[i][len(batch.chunks[i]) - n_drafted :])


def _adjust(logits_V: Tensor, sequence: Sequence) -> Tensor:
    """The row from which a token is chosen: with penalties and biases; of an answer that must begin
    with a text, or has a form, only tokens that agree with it. A ban of all these gives way."""
    if not (sequence.penalties or sequence.healing or sequence.constraint):
        return logits_V
    if sequence.penalties is None:
        return torch.from_numpy(_hold(logits_V.numpy(), sequence))
    pushed_V = _hold(sequence.penalties.apply(logits_V.numpy()), sequence)
    if pushed_V.max() == -np.inf:
        pushed_V = _hold(logits_V.numpy(), sequence)
    return torch.from_numpy(pushed_V)


def _hold(logits_V: NDArray[np.float32], sequence: Sequence) -> NDArray[np.float32]:
    """The row with the tokens that the beginning or the form of the answer forbids at minus
    infinity."""
    healing, constraint = sequence.healing, sequence.constraint
    if healing is not None and not healing.is_done:
        logits_V = healing.mask(logits_V)
    if constraint is not None and not constraint.is_closing:
        logits_V = constraint.mask(logits_V)
    return logits_V
