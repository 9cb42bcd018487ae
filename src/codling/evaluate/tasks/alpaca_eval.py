"""AlpacaEval 2: 805 instructions, a judge prefers the answer or gpt4_1106_preview's
(arXiv:2404.04475).

Data below alpaca-eval-2: results/gpt4_1106_preview/model_outputs.json, instruction_difficulty.csv,
df_gamed.csv (or its features and sums), evaluators_configs. What the judge is asked and what its
preferences come to is in judging/alpaca.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.core.foreign_json import read_rows
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.alpaca import BASELINE, compare, score_alpaca
from codling.evaluate.task import (
    Problem,
    Prompt,
    Question,
    Sampling,
    Scores,
    Task,
    Verdict,
    extract_said,
)

_JUDGE = Path("evaluators_configs", "alpaca_eval_clf_gpt4_turbo", "alpaca_eval_clf.txt")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:  # noqa: ARG001
    """The instructions, each with the baseline's output; an id is an instruction's text."""
    folder = data_dir / "alpaca-eval-2"
    outputs = folder / "results" / BASELINE / "model_outputs.json"
    for path in (outputs, folder / _JUDGE):
        if not path.is_file():
            raise SourceError(f"no benchmark file {path}; put the published one there")
    judge = read_text(folder / _JUDGE)
    return [
        Problem(
            id=row["instruction"],
            group=row.get("dataset", ""),
            data={"instruction": row["instruction"], "baseline": row["output"], "judge": judge},
        )
        for row in read_rows(outputs)
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """The instruction."""
    return Prompt(messages=({"role": "user", "content": problem.data["instruction"]},))


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Question | Verdict:
    """A question to the judge; no answer is worth nothing."""
    return compare(problem, answer, config) if answer else Verdict(mark=0.0, detail="no answer")


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """Win rates, length-controlled first."""
    return score_alpaca(rows, config.data_dir / "alpaca-eval-2", config.seed)


def read_answers(row: Mapping[str, Any]) -> tuple[str, Sequence[str]] | None:
    """model_outputs.json: instruction and output."""
    if "instruction" not in row or "output" not in row:
        return None
    return str(row["instruction"]), [str(row["output"])]


TASK = Task(
    name="alpaca-eval",
    about="805 instructions, preferred or not to GPT-4 Turbo's answers; length-controlled win rate",
    load=load,
    prompt=prompt,
    extract=extract_said,
    check=check,
    score=score,
    is_judged=True,
    read_answers=read_answers,
    sampling=lambda _problem, _style: Sampling(max_tokens=2048),
    takes=(),
)
