"""AlignBench v1.1: 683 Chinese questions in eight categories, graded by a judge (arXiv:2311.18743).

Data: alignbench/data/data_v1.1_release.jsonl and alignbench/config/*.json. The judge's prompt has
the published steps and bands in our wording. What the judge is asked and what its grades come to is
in judging/align.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.foreign_json import read_object
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.align import grade, score_align
from codling.evaluate.task import (
    Problem,
    Prompt,
    Question,
    Sampling,
    Scores,
    Task,
    Verdict,
    extract_said,
    read_lines,
)

_DATA = Path("alignbench", "data", "data_v1.1_release.jsonl")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:  # noqa: ARG001
    """The questions by category, each with the dimensions of its type and their definitions."""
    folder = data_dir / "alignbench" / "config"
    rows = list(read_lines(data_dir / _DATA))
    types = read_object(folder / "subcategory_question_mapping.json")
    names = read_object(folder / "dimension_set.json")
    texts = read_object(folder / "dimension_definition.json")
    temperatures = read_object(folder / "temperature.json")
    problems = []
    for row in rows:
        kind = types[row["subcategory"]]
        beside = {
            "type": kind,
            "dimensions": {name: texts[name] for name in names[kind]},
            "temperature": float(temperatures.get(row["category"], 0.0)),
        }
        name = str(row["question_id"])
        problems.append(Problem(id=name, group=row["category"], data={**row, **beside}))
    return problems


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """The question."""
    return Prompt(messages=({"role": "user", "content": problem.data["question"]},))


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Question | Verdict:
    """A question to the judge; no answer has no mark."""
    return grade(problem, answer, config) if answer else Verdict(mark=0.0, detail="no answer")


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """Total, reasoning, language, categories."""
    known = read_lines(config.data_dir / _DATA)
    categories = {str(row["question_id"]): str(row["category"]) for row in known}
    return score_align(rows, categories, config.seed)


def read_answers(row: Mapping[str, Any]) -> tuple[str, Sequence[str]] | None:
    """model_answer: question_id and answer."""
    if "question_id" not in row or "answer" not in row:
        return None
    return str(row["question_id"]), [str(row["answer"])]


TASK = Task(
    name="alignbench",
    about="683 Chinese questions, graded by a judge by the rules of their category",
    load=load,
    prompt=prompt,
    extract=extract_said,
    check=check,
    score=score,
    is_judged=True,
    read_answers=read_answers,
    sampling=lambda problem, _style: Sampling(
        max_tokens=2048, temperature=problem.data["temperature"]
    ),
    takes=(),
)
