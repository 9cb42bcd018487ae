"""The engine: `step()` is schedule, run, postprocess.

Input: sequences of token ids. Output: generated tokens, step by step, for all running sequences at
once. Sequences join and leave between steps. Single-threaded: one caller steps it.

Not here: text, stop strings, threads (text.py, stream.py).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from codling.engine.request import BusyError, FinishReason
from codling.engine.runner import Runner
from codling.engine.sampler import choose, top_logprobs
from codling.engine.scheduler import Batch, Scheduler
from codling.engine.sequence import Sequence


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
        self.scheduler = Scheduler(runner.n_slots, runner.max_length)
        self.max_waiting = max_waiting

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

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """Compute one chunk of waiting prompts and one token of every running sequence."""
        for move in self.scheduler.admit():
            self.runner.apply(move)
        return [token for batch in self.scheduler.schedule() for token in self._run(batch)]

    def _run(self, batch: Batch) -> list[Token]:
        sequences = [batch.sequences[i] for i in batch.ready]
        logits_RV = self.runner.run(batch)
        self.scheduler.record(batch)
        for sequence, logits_V in zip(sequences, logits_RV, strict=True):
            if sequence.recall is not None:
                sequence.recall.mix(logits_V.numpy())
        chosen = choose(_heal(logits_RV, sequences), sequences)
        tokens = []
        for sequence, token_id, logits_V in zip(sequences, chosen, logits_RV, strict=True):
            logprob: float | None = None
            top: list[tuple[int, float]] = []
            if sequence.params.logprobs is not None:
                logprob, top = top_logprobs(logits_V, token_id, sequence.params.logprobs)
            tokens.append(Token(sequence, token_id, logprob, tuple(top)))
            sequence.append(token_id, self.scheduler.max_length)
            if sequence.recall is not None:
                sequence.recall.accept(token_id)
            if sequence.finish_reason:
                self.scheduler.remove(sequence)
        return tokens


def _heal(logits_RV: Tensor, sequences: list[Sequence]) -> Tensor:
    """The rows from which tokens are chosen: in those of answers that must begin with a text, only
    tokens that agree with it."""
    healing = {i: s.healing for i, s in enumerate(sequences) if s.healing and not s.healing.is_done}
    if not healing:
        return logits_RV
    chosen_RV = logits_RV.clone()
    for i, each in healing.items():
        chosen_RV[i] = torch.from_numpy(each.mask(logits_RV[i].numpy()))
    return chosen_RV
