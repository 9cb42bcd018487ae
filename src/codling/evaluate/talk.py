"""Talks of several turns: what a task asks again, after an answer or after its failure.

Input: samples with their first answers. Output: the same with all their turns; `answer` is what the
task makes of them together. Every turn is stored and resumed as a first answer is, for its prompt
holds those before it.

Not here: what is asked (tasks/), and a single answer (harness.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codling.evaluate import harness
from codling.evaluate.backends import AnswerBackend
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample, rows_in
from codling.evaluate.task import Task, Turn


def ask_on(
    task: Task,
    samples: Sequence[Sample],
    backend: AnswerBackend,
    config: BenchmarkConfig,
    folder: Path,
) -> list[Sample]:
    """Ask again after every answer, until the task has nothing more to ask."""
    if task.follow_up is None:
        return list(samples)
    done = [join_turns(task, s, [Turn(text=s.text, answer=s.answer)]) for s in samples]
    open_ones = list(range(len(done)))
    while open_ones:
        if task.judges_turns:
            _judge(task, done, open_ones, config, folder)
        asked = {
            i: prompt
            for i in open_ones
            if (prompt := task.follow_up(done[i].problem, done[i].turns, config)) is not None
        }
        again = [done[i] for i in asked]
        rows = rows_in(folder, "generations")
        new = harness.answer_prompts(task, again, list(asked.values()), backend, config, rows)
        new = harness.extract(task, new, config, rows_in(folder, "extractions"))
        for i, sample in zip(asked, new, strict=True):
            turn = Turn(text=sample.text, answer=sample.answer)
            done[i] = join_turns(task, sample, [*sample.turns, turn])
        open_ones = list(asked)
    return done


def join_turns(task: Task, sample: Sample, turns: Sequence[Turn]) -> Sample:
    """The sample with these turns, and the answer that they make together."""
    return replace(sample, turns=tuple(turns), answer=task.join([turn.answer for turn in turns]))


def _judge(
    task: Task, done: list[Sample], places: Sequence[int], config: BenchmarkConfig, folder: Path
) -> None:
    """Note in the last turn of each of these talks whether it was right."""
    rows = rows_in(folder, "executions")
    judged = harness.execute(task, [done[i] for i in places], config, rows)
    for i, sample in zip(places, judged, strict=True):
        last = replace(
            sample.turns[-1], passed=sample.passed, detail=sample.detail, output=sample.output
        )
        done[i] = replace(done[i], turns=(*sample.turns[:-1], last))
