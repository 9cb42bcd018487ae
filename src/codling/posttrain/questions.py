"""Exercises as questions to a model: which are held out, and how many answers to these pass.

Input: Exercises, a tokenizer, a sampler, an assessor. Output: Posed, and a row per held-out
exercise with how many of its answers pass the hidden tests.

Not here: learning (grpo_loop.py), and where answers come from (rollout.py).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from codling.core.log import say
from codling.posttrain.rewards import Assessor, Said
from codling.posttrain.rollout import Ask, Drawing, Draws, Rollout
from codling.posttrain.tasks.exercise import Exercise, is_held_out
from codling.posttrain.tasks.prompts import encode_prompt
from codling.tokens.chat import ChatFormat
from codling.tokens.tokenizer import Tokenizer

_SEEDS = 1 << 40
"""Seeds of held-out answers begin here, far from those of any step."""


@dataclass(frozen=True)
class Posed:
    """An exercise with its prompt's tokens."""

    exercise: Exercise
    prompt_ids: tuple[int, ...]

    def ask(self, seed: int) -> Ask:
        """One answer that is wanted."""
        exercise = self.exercise
        is_chat = not isinstance(exercise.prompt, str)
        return Ask(prompt_ids=self.prompt_ids, stop=exercise.stop, seed=seed, is_chat=is_chat)


def encode(
    exercises: Iterable[Exercise], tokenizer: Tokenizer, room: int, template: str | None = None
) -> Iterable[Posed]:
    """The exercises whose prompts have `room` tokens at most; how many are left out is said.

    `template`: the chat template; by default the model's own.
    """
    chat = ChatFormat(tokenizer, template)
    n_long = 0
    for exercise in exercises:
        ids = encode_prompt(exercise, tokenizer, chat)
        if len(ids) <= room:
            yield Posed(exercise, tuple(ids))
        else:
            n_long += 1
    if n_long:
        say(f"{n_long:,} prompts are longer than {room:,} tokens and left out")


def hold_out(
    questions: Sequence[Posed], share: float, seed: int
) -> tuple[list[Posed], list[Posed]]:
    """Those to learn from and those held out, by their group's name, whatever else there is."""
    parts: tuple[list[Posed], list[Posed]] = ([], [])
    for question in questions:
        parts[is_held_out(question.exercise, share, seed)].append(question)
    return parts


def measure(  # noqa: PLR0913 -- who answers, who judges, what is asked, and how
    sampler: Draws,
    assessor: Assessor,
    questions: Sequence[Posed],
    n: int,
    drawing: Drawing,
    seed: int,
) -> list[dict[str, Any]]:
    """How many of `n` answers to each question pass its hidden tests, with the first answer; the
    same seeds whoever answers."""
    asked = [question for question in questions for _ in range(n)]
    asks = [question.ask(seed_of(seed, _SEEDS + i)) for i, question in enumerate(asked)]
    rollouts = sampler.draw(asks, drawing)
    made = assessor.assess(list_said(asked, rollouts), hidden=True)
    return [
        {
            "id": question.exercise.id,
            "group": question.exercise.kin,
            "n": n,
            "n_passed": sum(each.passed for each in made[i * n : (i + 1) * n]),
            "text": rollouts[i * n].text,
        }
        for i, question in enumerate(questions)
    ]


def list_said(questions: Sequence[Posed], rollouts: Sequence[Rollout]) -> list[Said]:
    """Each question with its answer."""
    pairs = zip(questions, rollouts, strict=True)
    return [Said(question.exercise, each.text, each.ended) for question, each in pairs]


def seed_of(seed: int, number: int) -> int:
    """A number for each answer of a run, unlike that of any other."""
    digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
    return int.from_bytes(digest[:7])
