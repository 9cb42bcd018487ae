"""ARC: school science, multiple choice, easy and challenge sets (arXiv:1803.05457).

Data: arc/ARC-Easy and arc/ARC-Challenge, JSON Lines; examples are the first 25 of the train set.
Base style compares the options' texts, less what each has without the question (as for the
published scores of DeepSeek LLM); `--ranking length --shots 0` is lm-evaluation-harness's acc_norm,
`--ranking sum --shots 0` its acc. Some questions have 3 or 5 options, some labels are 1 to 4.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from codling.evaluate.choices import (
    MultiChoice,
    Wording,
    ask_choice,
    canonical_choice,
    check_choice,
    extract_letter,
    make_problem,
    sample_choice,
)
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Problem, Prompt, Task, read_lines

_SHOTS = 25


def load(data_dir: Path, config: BenchmarkConfig, name: str = "Easy") -> list[Problem]:
    """The test questions of a set, each with the solved examples."""
    folder = data_dir / "arc" / f"ARC-{name}"
    n_shots = _SHOTS if config.shots is None else config.shots
    train = read_lines(folder / f"ARC-{name}-Train.jsonl") if n_shots else ()
    solved = _choices(row for _, row in zip(range(n_shots), train, strict=False))
    rows = list(read_lines(folder / f"ARC-{name}-Test.jsonl"))
    return [
        make_problem(row["id"], choice, solved, Wording())
        for row, choice in zip(rows, _choices(rows), strict=True)
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The options' texts for base models."""
    return ask_choice(problem, config, base="texts", ranking="alone")


def _choices(rows: Iterable[dict[str, Any]]) -> list[MultiChoice]:
    found = []
    for row in rows:
        options = row["question"]["choices"]
        names = [option["label"] for option in options]
        texts = tuple(option["text"] for option in options)
        found.append(
            MultiChoice(
                question=row["question"]["stem"],
                options=texts,
                right=names.index(row["answerKey"]),
                labels=tuple((name,) for name in names) if names[0] == "1" else (),
            )
        )
    return found


def _task(name: str, about: str, load: Callable[[Path, BenchmarkConfig], list[Problem]]) -> Task:
    return Task(
        name=name,
        about=about,
        load=load,
        prompt=prompt,
        extract=extract_letter,
        version=2,
        in_words=True,
        check=check_choice,
        sampling=sample_choice,
        canonical=canonical_choice,
        takes=(),
    )


EASY = _task("arc-easy", "2376 science questions, 25 shots", load)
CHALLENGE = _task(
    "arc-challenge", "1172 harder science questions, 25 shots", partial(load, name="Challenge")
)
