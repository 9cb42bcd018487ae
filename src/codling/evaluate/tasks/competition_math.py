"""MATH-500 (arXiv:2305.20050) and AIME 2024.

Data: math-500/test.jsonl and math-qwen/aime24/test.jsonl. Asked and judged as the other mathematics
in words (cot_math.py): the last box, compared as MATH is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Sampling, Task, read_lines
from codling.evaluate.tasks import cot_math

Load = Callable[[Path, BenchmarkConfig], list[Problem]]


def load_math_500(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """500 problems of MATH by subject."""
    rows = read_lines(config.data_file or data_dir / "math-500" / "test.jsonl")
    return [
        Problem(
            id=row.get("unique_id") or str(i),
            group=row.get("subject", ""),
            data={"question": row["problem"], "answer": str(row["answer"])},
        )
        for i, row in enumerate(rows)
    ]


def load_aime(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 30 problems of 2024."""
    rows = read_lines(config.data_file or data_dir / "math-qwen" / "aime24" / "test.jsonl")
    return [
        Problem(
            id=str(row.get("id", i)),
            data={"question": row.get("problem") or row["question"], "answer": str(row["answer"])},
        )
        for i, row in enumerate(rows)
    ]


def _sampling(problem: Problem, style: Style) -> Sampling:  # noqa: ARG001
    return Sampling(max_tokens=4096, stop=("\nQuestion:",) if style == "base" else ())


def math_task(
    name: str,
    about: str,
    load: Load,
    check: Callable[..., Any] = cot_math.check,
    whole: Callable[[Problem, str], str] = cot_math.read_said,
) -> Task:
    """A task whose last box is compared as MATH's is."""
    return Task(
        name=name, about=about, load=load, prompt=cot_math.prompt, extract=cot_math.extract,
        check=check, sampling=_sampling, canonical=lambda problem: str(problem.data["answer"]),
        whole=whole, in_words=True,
        preload=cot_math.TASK.preload, one_file=True, version=cot_math.TASK.version, takes=(),
    )  # fmt: skip


MATH_500 = math_task("math-500", "500 problems of MATH, the last box", load_math_500)
AIME = math_task("aime", "the 30 problems of AIME 2024", load_aime)
