"""MathOdyssey: 387 problems from high school to olympiads (arXiv:2406.18321).

Data: math-odyssey/*.jsonl. Asked and judged as the other mathematics in words (cot_math.py). The
authors let a model judge; `--judge-api URL` asks it their question (equivalent, the right letter,
or equal to two decimals) where the answers are not the same text.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import JudgeReply, Problem, Prompt, Question, Verdict, read_lines
from codling.evaluate.tasks import cot_math
from codling.evaluate.tasks.competition_math import math_task
from codling.sandbox.executor import Program

_FILES = "math-odyssey/*.jsonl*"
_JUDGE = (
    "A problem, its reference answer and a student's answer follow. Say [[1]] if the student's "
    "answer is mathematically equivalent to the reference, or names the right choice, or is equal "
    "to two decimals; else say [[0]].\n\nProblem: {q}\nReference: {r}\nStudent: {a}"
)
_DROSS = re.compile(r"(?:\\\\|\\noindent|\\end\{problem\}|\\medskip|\s)+\Z")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """387 problems by level; their answers are freed of the dross of typesetting."""
    paths = (
        [config.data_file] if config.data_file else sorted(data_dir.glob("math-odyssey/*.jsonl*"))
    )
    if not paths:
        raise SourceError(f"no MathOdyssey (*.jsonl) in {data_dir / 'math-odyssey'}")
    return [
        Problem(id=name, group=str(row.get("level", "")), data=_row(row))
        for each in read_lines(paths[0])
        for name, row in each.items()
    ]


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict | Question:
    """By the answer checker; by a judge where one is named."""
    found = cot_math.check(problem, answer, config)
    decided = isinstance(found, Verdict) and (found.passed or not answer.strip())
    if config.judge_api is None or decided:
        return found
    values = {"q": problem.data["question"], "r": problem.data["answer"], "a": answer}
    text = _JUDGE.format(**values)

    def verdict(said: JudgeReply) -> Verdict:
        marks = re.findall(r"\[\[([01])\]\]", said)
        return Verdict(passed=marks[-1:] == ["1"], detail=said[:60], skipped=not marks)

    return Question(prompt=Prompt(messages=({"role": "user", "content": text},)), verdict=verdict)


def read_said(problem: Problem, said: str) -> str:
    """A foreign answer, which may bring the dross of the data along."""
    return cot_math.read_said(problem, clean(said))


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: clean(str(row[name])) for name in ("question", "answer")}


def clean(text: str) -> str:
    r"""A text without what typesetting left at its end, and without the dollars around all of it.

    >>> clean("$16$\\\\\n\\noindent")
    '16'
    """
    text = _DROSS.sub("", text.strip())
    inner = re.fullmatch(r"\$+([^$]+)\$+\.?", text)
    return (inner[1] if inner else text).strip()


TASK = math_task(
    "math-odyssey",
    "387 problems up to olympiads (--judge-api: a judge, as the authors do)",
    load,
    check,
    read_said,
)
