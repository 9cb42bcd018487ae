"""Arena-Hard v0.1: 500 hard questions, compared with gpt-4-0314's answers by a judge
(arXiv:2406.11939).

Data: arena-hard/config/judge_config.yaml and, below arena-hard/data/arena-hard-v0.1, question.jsonl
and model_answer/*.jsonl. Answers that lie there are also what style control counts. What the judge
is asked and what its judgments come to is in judging/arena.py.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.arena import BASELINE, compare, read_styles, score_arena
from codling.evaluate.task import (
    Panel,
    Problem,
    Prompt,
    Sampling,
    Scores,
    Task,
    Verdict,
    extract_said,
    read_lines,
)

_FOLDER = Path("arena-hard", "data", "arena-hard-v0.1")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:  # noqa: ARG001
    """The questions, each with the baseline's answer."""
    folder = data_dir / _FOLDER
    judge = _judge(data_dir / "arena-hard" / "config" / "judge_config.yaml")
    answers = dict(_answers(read_lines(folder / "model_answer" / f"{BASELINE}.jsonl")))
    return [
        Problem(
            id=row["question_id"],
            data={
                "question": row["turns"][0]["content"],
                "baseline": answers[row["question_id"]],
                "judge": judge,
            },
        )
        for row in read_lines(folder / "question.jsonl")
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """The question."""
    return Prompt(messages=({"role": "user", "content": problem.data["question"]},))


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Panel | Verdict:
    """Two games; no answer is no game."""
    return compare(problem, answer, config) if answer else Verdict(mark=0.0, detail="no answer")


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """Expected win rates against the baseline."""
    return score_arena(rows, read_styles(config.data_dir / _FOLDER / "model_answer"))


def read_answers(row: Mapping[str, Any]) -> tuple[str, Sequence[str]] | None:
    """choices[0].turns[0].content."""
    if not row.get("choices"):
        return None
    return str(row["question_id"]), [row["choices"][0]["turns"][0]["content"]]


def _answers(rows: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - rows of JSON
    return [(found[0], found[1][0]) for row in rows if (found := read_answers(row)) is not None]


def _judge(path: Path) -> dict[str, str]:
    """The judge's two texts: quoted strings in a settings file in YAML."""
    text = read_text(path) if path.is_file() else ""
    found = {}
    for name, key in (("system_prompt", "system_prompt"), ("prompt_template", "prompt_template")):
        quoted = re.search(rf'^{name}: \[?("(?:[^"\\]|\\.)*")', text, re.M)
        if quoted is None:
            raise SourceError(f"no {name} in {path}; put the published judge_config.yaml there")
        found[key] = str(ast.literal_eval(quoted[1]))
    return found


TASK = Task(
    name="arena-hard",
    about="500 hard questions, won or lost against gpt-4-0314's answers before a judge",
    load=load,
    prompt=prompt,
    extract=extract_said,
    check=check,
    score=score,
    is_judged=True,
    read_answers=read_answers,
    sampling=lambda _problem, _style: Sampling(max_tokens=4096),
    takes=(),
)
