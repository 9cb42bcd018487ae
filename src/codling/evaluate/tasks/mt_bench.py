"""MT-Bench: 80 talks of two turns, graded 1 to 10 by a judge (arXiv:2306.05685).

Data: mt-bench/question.jsonl, judge_prompts.jsonl and reference_answer/gpt-4.jsonl. `--subset pair`
compares with the answers in mt-bench/model_answer/gpt-3.5-turbo.jsonl instead. What the judge is
asked and what its judgments come to is in judging/mt_single.py and judging/mt_pair.py.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import ConfigError
from codling.core.foreign_json import parse_row
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.mt_pair import BASELINE, compare, score_pairs
from codling.evaluate.judging.mt_single import grade, score_single
from codling.evaluate.task import (
    Panel,
    Problem,
    Prompt,
    Sampling,
    Scores,
    Task,
    Turn,
    Verdict,
    extract_said,
    read_lines,
)

_TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The questions by category, with references, and for pairs with the baseline's answers."""
    if config.subset not in ("", "pair"):
        raise ConfigError(f"no subset {config.subset}; choose pair, or leave it out")
    folder = data_dir / "mt-bench"
    prompts = {row["name"]: row for row in read_lines(folder / "judge_prompts.jsonl")}
    references = _turns_of(read_lines(folder / "reference_answer" / "gpt-4.jsonl"))
    path = folder / "model_answer" / f"{BASELINE}.jsonl"
    others = _turns_of(read_lines(path)) if config.subset == "pair" and path.is_file() else {}
    problems = []
    for row in read_lines(folder / "question.jsonl"):
        name = str(row["question_id"])
        beside = {"references": references.get(name), "other": others.get(name)}
        data = {**row, "judge_prompts": prompts, **beside}
        problems.append(Problem(id=name, group=row["category"], data=data))
    return problems


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """The first turn."""
    return Prompt(messages=({"role": "user", "content": problem.data["turns"][0]},))


def follow_up(problem: Problem, turns: Sequence[Turn], config: BenchmarkConfig) -> Prompt | None:
    """The second turn, after the first answer."""
    if len(turns) == len(problem.data["turns"]):
        return None
    first = prompt(problem, config).messages or ()
    said = {"role": "assistant", "content": turns[0].answer}
    return Prompt(messages=(*first, said, {"role": "user", "content": problem.data["turns"][1]}))


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Panel | Verdict:
    """Questions to the judge; a talk without any answer has 0."""
    answers = parse_row(answer, problem.id) if answer else []
    if len(answers) < len(problem.data["turns"]) or not any(answers):
        return Verdict(mark=0.0, detail="no answer")
    if config.subset == "pair":
        return compare(problem, answers, config)
    return grade(problem, answers, config)


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """Grades or results of pairs, whichever the rows are; ConfigError if they are of both kinds or
    of another than the config names."""
    n_pairs = sum("g1_winner" in row for row in rows)
    kinds = f"{len(rows) - n_pairs} grades and {n_pairs} results of pairs"
    if 0 < n_pairs < len(rows):
        raise ConfigError(f"these judgments mix {kinds}: give the file of one kind")
    if config.subset == "pair" and not n_pairs:
        raise ConfigError(f"--subset pair needs results of pairs; these judgments are {kinds}")
    return (score_pairs if n_pairs else score_single)(rows, config.seed)


def read_answers(row: Mapping[str, Any]) -> tuple[str, Sequence[str]] | None:
    """FastChat's model_answer: choices[0].turns."""
    turns = row["choices"][0]["turns"] if row.get("choices") else None
    return (str(row["question_id"]), turns) if turns else None


def _turns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Sequence[str]]:
    return dict(found for row in rows if (found := read_answers(row)) is not None)


TASK = Task(
    name="mt-bench",
    about="80 talks of two turns, graded by a judge (--subset pair: against a baseline's answers)",
    load=load,
    prompt=prompt,
    extract=extract_said,
    check=check,
    follow_up=follow_up,
    join=lambda answers: json.dumps(list(answers), ensure_ascii=False),
    score=score,
    is_judged=True,
    read_answers=read_answers,
    sampling=lambda problem, _style: Sampling(
        max_tokens=1024, temperature=_TEMPERATURES.get(problem.group, 0.0)
    ),
    takes=("subset",),
)
