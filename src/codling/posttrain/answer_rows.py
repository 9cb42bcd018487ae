"""Answers in rows, as the learner computes them: those to one prompt after it, side by side.

Input: Lessons. Output: AnswerRows. A row is

    prompt | answer 1 | answer 2 | ...

Every token of the prompt sees those before it; a token of an answer sees the prompt and what stands
before it in its own answer, and its position goes on where the prompt ends. So the hidden states
are those of each answer in a row of its own, and the prompt is computed once.

Not here: what is learned (learner.py).

Legend: R rows, L tokens of the longest, B answers, T tokens of the longest answer.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codling.model.cache import Span, share_beginnings
from codling.posttrain.rollout import Rollout

_MAX_ROW = 1024
"""Tokens of a row with more than one answer: attention's work grows with their square."""
_NOBODY = -1
"""The branch of what fills a row up."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """An answer to learn from."""

    rollout: Rollout
    advantage: float


@dataclass(frozen=True)
class AnswerRows:
    """Answers with their prompts, and where to look for what."""

    inputs_RL: Tensor
    branches: Span | None
    """What tokens see; None where every row has one answer."""
    places_BT: Tensor
    """After which of all R x L tokens each token of an answer is predicted."""
    targets_BT: Tensor
    mask_BT: Tensor
    sampler_BT: Tensor
    advantages_B: Tensor


def arrange(lessons: Sequence[Lesson], most: int) -> Iterator[list[list[Lesson]]]:
    """Rows of about one length together, with `most` answers at most."""
    by_prompt: dict[tuple[int, ...], list[Lesson]] = defaultdict(list)
    for lesson in lessons:
        by_prompt[lesson.rollout.prompt_ids].append(lesson)
    rows = [row for group in by_prompt.values() for row in _cut(group, most)]
    rows.sort(key=_length)
    batch: list[list[Lesson]] = []
    for row in rows:
        if batch and sum(map(len, batch)) + len(row) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def lay_out(
    rows: Sequence[Sequence[Lesson]], device: torch.device, dtype: torch.dtype
) -> AnswerRows:
    """The rows as tensors, filled up at their ends; `dtype` is the model's."""
    longest = max(map(_length, rows))
    inputs, branches, positions, places = [], [], [], []
    for number, row in enumerate(rows):
        prompt = row[0].rollout.prompt_ids
        ids, branch, position = list(prompt), [0] * len(prompt), list(range(len(prompt)))
        for i, lesson in enumerate(row, 1):
            fed = lesson.rollout.token_ids[:-1]
            start = number * longest + len(ids)
            after_prompt = number * longest + len(prompt) - 1
            places.append([after_prompt, *range(start, start + len(fed))])
            ids += fed
            branch += [i] * len(fed)
            position += range(len(prompt), len(prompt) + len(fed))
        inputs.append(ids)
        branches.append(branch)
        positions.append(position)
    shares = any(len(row) > 1 for row in rows)
    branches_RL = _fill(branches, longest, _NOBODY).to(device)
    positions_RL = _fill(positions, longest, 0).to(device)
    span = share_beginnings(branches_RL, positions_RL, dtype) if shares else None
    lessons = [lesson for row in rows for lesson in row]
    answers = [lesson.rollout for lesson in lessons]
    n_answer = max(len(each.token_ids) for each in answers)
    return AnswerRows(
        inputs_RL=_fill(inputs, longest, 0).to(device),
        branches=span,
        places_BT=_fill(places, n_answer, 0).to(device),
        targets_BT=_fill([each.token_ids for each in answers], n_answer, 0).to(device),
        mask_BT=_fill([[True] * len(each.token_ids) for each in answers], n_answer, False).to(
            device
        ),
        sampler_BT=_fill([each.logprobs for each in answers], n_answer, 0.0).to(device),
        advantages_B=torch.tensor([lesson.advantage for lesson in lessons], device=device),
    )


def tokens_per_answer(n_prompt: int, n_answer: int, n_group: int) -> int:
    """Tokens that each of `n_group` answers to a prompt brings into a batch, its share of the
    prompt included.

    >>> tokens_per_answer(100, 50, 8), tokens_per_answer(100, 1000, 8)
    (63, 1100)
    """
    n_in_row = min(n_group, max(1, (_MAX_ROW - n_prompt) // n_answer))
    return n_answer + math.ceil(n_prompt / n_in_row)


def _cut(group: list[Lesson], most: int) -> Iterator[list[Lesson]]:
    """Answers to one prompt as rows, shortest first: as many as one may hold."""
    waiting = sorted(group, key=lambda lesson: len(lesson.rollout.token_ids))
    while waiting:
        n = next(
            (n for n in range(min(most, len(waiting)), 1, -1) if _length(waiting[:n]) <= _MAX_ROW),
            1,
        )
        yield waiting[:n]
        waiting = waiting[n:]


def _length(row: Sequence[Lesson]) -> int:
    """Tokens that are fed: of every answer all but its last."""
    prompt = len(row[0].rollout.prompt_ids)
    return prompt + sum(len(lesson.rollout.token_ids) - 1 for lesson in row)


def _fill(rows: Sequence[Sequence[float]], length: int, filler: float) -> Tensor:
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])
