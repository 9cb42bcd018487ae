"""Answers made elsewhere as samples of a benchmark.

Input: a benchmark's problems and the config's --samples. Output: samples as they are judged.

Not here: formats (foreign.py) and judging (harness.py).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.foreign_json import read_rows
from codling.evaluate import harness
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign import read_foreign, sample_files
from codling.evaluate.foreign_rows import ForeignAnswer, Takes
from codling.evaluate.harness import Sample
from codling.evaluate.talk import join_turns
from codling.evaluate.task import Problem, Task, Turn

_DECLARED = re.compile(r"(\S+\s+\w+)\s*(?:=\s*)?\(")
"""A function's name and the word before it."""
_FENCE = re.compile(r"^\s{0,3}(?:```|~~~)", re.M)


def read_samples(
    task: Task, problems: Sequence[Problem], config: BenchmarkConfig
) -> tuple[list[Sample], list[str]]:
    """The answers to `problems` in the file or folder `config.samples`, and what a reader of their
    scores must know; SourceError if there are none."""
    assert config.samples is not None
    if task.read_answers is not None:
        return _read_published(task, problems, config)
    takes: Takes = "said" if config.raw else "words" if task.in_words else "programs"
    found = read_foreign(config.samples, takes)
    found = found.identify({str(p.data.get("question")): p.id for p in problems})
    found = found.order_by([str(p.data.get("prompt", "")) for p in problems])
    ids = [problem.id for problem in problems]
    places = {str(place): name for place, name in enumerate(ids)}
    by_place = found.by_id.keys() == places.keys() != set(ids)
    if by_place:
        found = found.identify(places)
    answers, unknown, unclear = found.resolve(ids)
    samples = [
        _sample(task, problem, index, answer, config)
        for position, problem in enumerate(problems)
        for index, answer in enumerate(answers.of(problem.id, position))
    ]
    theirs = " and ".join(
        f"{len(names)} that {what} ({', '.join(name[:60] for name in names[:3])})"
        for names, what in (
            (unknown, f"{task.name} does not have"),
            (unclear, f"may be any of several of {task.name}"),
        )
        if names
    )
    if not samples:
        raise SourceError(
            f"{config.samples} answers none of the problems of {task.name} ({problems[0].id}, ...)"
            + (f", only {theirs}" if theirs else "")
        )
    notes = [f"left out: answers to {theirs}"] if theirs else []
    return samples, [*notes, "ids 0, 1, ... taken as places in the data"] if by_place else notes


def fence_notes(samples: Sequence[Sample], config: BenchmarkConfig) -> list[str]:
    """A note where failed answers look like chat answers, but were not taken as such."""
    fenced = sum(not s.passed and bool(_FENCE.search(s.text)) for s in samples)
    if config.raw or not fenced:
        return []
    return [f"{fenced} failed answers hold code fences: add --raw if a chat model said them"]


def _published_answer(task: Task, row: object) -> tuple[str, list[str]] | None:
    """A row's problem and what was said in each turn (null says nothing); None for another form."""
    assert task.read_answers is not None
    try:
        found = task.read_answers(row) if isinstance(row, dict) else None
    except (KeyError, IndexError, TypeError, AttributeError):  # of a form that nobody publishes
        return None
    if found is None or not isinstance(found[1], list) or not found[1]:
        return None
    turns = ["" if turn is None else turn for turn in found[1]]
    return (found[0], turns) if all(isinstance(turn, str) for turn in turns) else None


def _published_rows(task: Task, file: Path) -> Iterator[object]:
    """The rows of a file: its lines, the items of its list, or the values of one object whose keys
    are the ids, as SWE-bench's harness and its sb-cli take them."""
    for each in (row for rows in read_rows(file) for row in as_list(rows)):
        table = each if isinstance(each, dict) else {}
        inner = [{"instance_id": k, **v} if isinstance(v, dict) else v for k, v in table.items()]
        if inner and all(_published_answer(task, value) for value in inner):
            yield from inner
        else:
            yield each


def _read_published(
    task: Task, problems: Sequence[Problem], config: BenchmarkConfig
) -> tuple[list[Sample], list[str]]:
    """The answers in a file of the form in which the benchmark's authors publish them."""
    assert config.samples is not None
    by_id = {problem.id: problem for problem in problems}
    said: dict[str, list[Sample]] = defaultdict(list)
    n_unknown = 0
    for file in sample_files(config.samples):
        for row in _published_rows(task, file):
            found = _published_answer(task, row)
            if found is None:
                raise SourceError(f"{file} has a row that is no answer to {task.name} as published")
            problem, turns = by_id.get(found[0]), found[1]
            if problem is None:
                n_unknown += 1
                continue
            cut = [
                Turn(text=text, answer=task.extract(problem, text, "instruct")) for text in turns
            ]
            sample = Sample(problem=problem, index=len(said[problem.id]), text=turns[-1])
            said[problem.id].append(join_turns(task, sample, cut))
    if not said:
        raise SourceError(f"{config.samples} answers none of the problems of {task.name}")
    samples = [sample for problem in problems for sample in said.get(problem.id, [])]
    return samples, [f"left out: {n_unknown} answers to other problems"] if n_unknown else []


def as_list(value: object) -> Sequence[object]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def _complete(task: Task, problem: Problem, text: str) -> str:
    """A bare continuation in the form that the task's `extract` gives."""
    if task.whole is not None:
        return task.whole(problem, text)
    return task.extract(problem, text, "base") if task.in_words else text


def _sample(
    task: Task, problem: Problem, index: int, answer: ForeignAnswer, config: BenchmarkConfig
) -> Sample:
    text = answer.text
    if config.raw:
        cut = harness.cut_out(task, problem, text, replace(config, style="instruct"))
    elif answer.tests is not None:
        cut = _without_tests(problem, text, answer.tests)
    else:
        is_whole = answer.whole and not task.in_words and not _goes_on(problem, text)
        cut = text if is_whole else _complete(task, problem, text)
    return Sample(problem=problem, index=index, text=text, answer=cut)


def _goes_on(problem: Problem, text: str) -> bool:
    """Whether a "program" goes on where the problem's declaration ends, as CodeGeeX writes them."""
    declared = _DECLARED.findall(str(problem.data.get("declaration") or ""))
    return bool(declared) and " ".join(declared[-1].split()) not in " ".join(text.split())


def _without_tests(problem: Problem, program: str, theirs: str) -> str:
    """A program that another harness has put together, up to its tests or the benchmark's."""
    ours = (str(problem.data.get(key, "")) for key in ("tests", "test"))
    for tests in (each.strip() for each in (theirs, *ours)):
        if tests and program.rstrip().endswith(tests):
            return program.rstrip().removesuffix(tests)
    raise SourceError(f"the program for {problem.id} does not end with this benchmark's tests")
