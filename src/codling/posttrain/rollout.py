"""Answers sampled from the model that is learning, by our engine, on its own weights.

Input: prompts as token ids, a seed each. Output: Rollouts: tokens, each one's log-probability under
the distribution that it was drawn from, text, how it ended. What the engine keeps of earlier
prompts (keys and values) belongs to earlier weights and is dropped before every round.

    exact      the engine computes with the very tensors that the learner updates: nothing is
               copied, and the log-probabilities are the learner's
    in 8 bits  the compiled loop (engine/decoder_cpu.py) reads a rounded copy in which LoRA is
               merged, made anew before every round; the log-probabilities are the copy's

Not here: the copy (rounded_copy.py), rewards (rewards.py), and updates (learner.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from codling.engine.engine import Engine, Token
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence as Running
from codling.engine.stream import Transcript
from codling.model.transformer import Transformer
from codling.posttrain.rounded_copy import RoundedCopy
from codling.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One answer that is wanted."""

    prompt_ids: Sequence[int]
    stop: tuple[str, ...]
    seed: int
    is_chat: bool = False


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One answer."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """With the end token, or the tokens of the stop string."""
    logprobs: tuple[float, ...]
    text: str
    ended: bool
    """Whether it came to its end, or was cut at its length."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How answers are drawn."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass
class _Growing:
    """An answer while it grows."""

    transcript: Transcript
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    ended: bool = False


class Draws(Protocol):
    """Where answers come from: our engine, or a server (api_sampler.py)."""

    def follow(self, step: int) -> None:
        """Answer from now on with the weights as they are after `step` steps."""
        ...

    def draw(self, asks: Sequence[Ask], drawing: Drawing) -> list[Rollout]:
        """One answer each, in order."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Sampler:
    """Draws answers from a model that may change between rounds."""

    def __init__(  # noqa: PLR0913 -- the model, its bounds, and how it is read
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        n_at_once: int,
        max_length: int,
        rounded: bool = False,
        step: int = 0,
    ) -> None:
        """`n_at_once` answers grow together; prompt and answer have `max_length` tokens at most.
        `rounded`: in 8 bits, on a CPU. `step`: how many steps the model has learned."""
        self._tokenizer = tokenizer
        self._copy = RoundedCopy(model) if rounded else None
        read = model if self._copy is None else self._copy.model
        self._runner = Runner(read, n_slots=n_at_once, max_length=max_length, fuse=rounded)
        self._engine = Engine(self._runner, max_waiting=1 << 30)
        self._followed = step

    def follow(self, step: int) -> None:
        """Round the weights as they are now; nothing where it computes with these very weights."""
        if self._copy is not None and step != self._followed:
            self._copy.follow()
            self._runner.reread()
            self._followed = step

    def draw(self, asks: Sequence[Ask], drawing: Drawing) -> list[Rollout]:
        """One answer each, in order; the same seeds give the same answers."""
        self._engine.scheduler.forget()
        growing: dict[Running, _Growing] = {}
        for ask in asks:
            sequence = self._begin(ask, drawing)
            growing[sequence] = _Growing(Transcript(self._tokenizer, ask.stop))
            self._engine.add(sequence)
        while self._engine.busy:
            for token in self._engine.next_tokens():
                self._take(token, growing[token.sequence])
        return [
            Rollout(
                prompt_ids=tuple(sequence.prompt_ids),
                token_ids=tuple(grown.ids),
                logprobs=tuple(grown.logprobs),
                text=grown.text,
                ended=grown.ended,
            )
            for sequence, grown in growing.items()
        ]

    def close(self) -> None:
        """Free the cache."""
        self._runner.close()

    def _begin(self, ask: Ask, drawing: Drawing) -> Running:
        ends = self._tokenizer.stop_ids("chat" if ask.is_chat else "complete")
        params = SamplingParams(
            max_tokens=drawing.max_tokens,
            temperature=drawing.temperature,
            top_p=drawing.top_p,
            top_k=drawing.top_k,
            seed=ask.seed,
            stop=ask.stop,
            logprobs=0,
            drawn_logprobs=True,
        )
        return Running(list(ask.prompt_ids), params, frozenset(ends))

    def _take(self, token: Token, grown: _Growing) -> None:
        sequence = token.sequence
        assert token.logprob is not None
        grown.ids.append(token.id)
        grown.logprobs.append(token.logprob)
        silent = token.id in sequence.end_ids
        delta = grown.transcript.push(token.id, None, sequence.finish_reason, silent=silent)
        grown.text += delta.text
        if delta.finish_reason is not None:
            grown.ended = delta.finish_reason == "stop"
            if sequence.finish_reason is None:
                self._engine.finish(sequence, delta.finish_reason)
