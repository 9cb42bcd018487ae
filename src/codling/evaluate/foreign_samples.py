"""Answers made elsewhere as samples of a benchmark.

Input: a benchmark's problems and the config's --samples. Output: samples as they are judged.

Not here: formats (foreign.py) and judging (harness.py).
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from codling.core.errors import SourceError
from codling.evaluate import harness
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign import read_foreign
from codling.evaluate.foreign_rows import ForeignAnswer
from codling.evaluate.harness import Sample
from codling.evaluate.task import Problem, Task

_FENCE = re.compile(r"^\s{0,3}(?:```|~~~)", re.M)


def read_samples(
    task: Task, problems: Sequence[Problem], config: BenchmarkConfig
) -> tuple[list[Sample], list[str]]:
    """The answers to `problems` in the file or folder `config.samples`, and what a reader of their
    scores must know; SourceError if there are none."""
    assert config.samples is not None
    found = read_foreign(config.samples, config.raw)
    answers = found.order_by([str(p.data.get("prompt", "")) for p in problems])
    samples = [
        _sample(task, problem, index, answer, config)
        for position, problem in enumerate(problems)
        for index, answer in enumerate(answers.of(problem.id, position))
    ]
    unknown = answers.unknown_ids([problem.id for problem in problems])
    theirs = f"{len(unknown)} that {task.name} does not have ({', '.join(unknown[:3])})"
    if not samples:
        raise SourceError(
            f"{config.samples} answers none of the problems of {task.name} ({problems[0].id}, ...)"
            + (f", only {theirs}" if unknown else "")
        )
    return samples, [f"left out: answers to {theirs}"] if unknown else []


def fence_notes(samples: Sequence[Sample], config: BenchmarkConfig) -> list[str]:
    """A note where failed answers look like chat answers, but were not taken as such."""
    fenced = sum(not s.passed and bool(_FENCE.search(s.text)) for s in samples)
    if config.raw or not fenced:
        return []
    return [f"{fenced} failed answers hold code fences: add --raw if a chat model said them"]


def _sample(
    task: Task, problem: Problem, index: int, answer: ForeignAnswer, config: BenchmarkConfig
) -> Sample:
    text = answer.text
    if config.raw:
        cut = harness.cut_out(task, problem, text, replace(config, style="instruct"))
    elif answer.tests is not None:
        cut = _without_tests(problem, text, answer.tests)
    else:
        cut = text if answer.whole else task.whole(problem, text)
    return Sample(problem=problem, index=index, text=text, answer=cut)


def _without_tests(problem: Problem, program: str, theirs: str) -> str:
    """A program that another harness has put together, up to its tests or the benchmark's."""
    ours = (str(problem.data.get(key, "")) for key in ("tests", "test"))
    for tests in (each.strip() for each in (theirs, *ours)):
        if tests and program.rstrip().endswith(tests):
            return program.rstrip().removesuffix(tests)
    raise SourceError(f"the program for {problem.id} does not end with this benchmark's tests")
