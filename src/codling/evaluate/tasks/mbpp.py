"""MBPP: 500 short Python problems, three shown solved in the prompt (arXiv:2108.07732).

Data: mbpp-deepseek/mbpp.jsonl, rows 10 to 509; the three examples are rows 1 to 3 (ids 2, 3 and 4).
Answers end at `[DONE]` for base models; instruct models answer in a code block.
"""

import builtins
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, Prompt, Sampling, Task, read_lines
from codling.grading.deepseek_rules import deepseek_block
from codling.grading.extract import cut_at
from codling.grading.python_code import python_program
from codling.sandbox.executor import Program

_SHOTS = (1, 2, 3)
_TASK = (
    "You are an expert Python programmer, and here is your task: {text} "
    "Your code should pass these tests:\n\n{tests}\n"
)


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The test split; each problem carries the solved examples."""
    rows = list(read_lines(config.data_file or data_dir / "mbpp-deepseek" / "mbpp.jsonl"))
    shots = "\n\n".join(_question(rows[i]) + _format_solution(rows[i]["code"]) for i in _SHOTS)
    return [Problem(id=f"MBPP/{r['task_id']}", data={**r, "shots": shots}) for r in rows[10:510]]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Three solved examples, then the question."""
    question = _question(problem.data)
    text = f"{problem.data['shots']}\n\n{question}"
    if config.style == "base":
        return Prompt(text=text + "[BEGIN]\n")
    closing = config.instruction or "Reply with the Python code in one code block."
    return Prompt(messages=({"role": "user", "content": f"{text}\n{closing}"},))


def extract(problem: Problem, text: str, style: Style) -> str:
    """The code up to [DONE], or the code block."""
    if style == "instruct":
        return python_program(
            text.replace("[BEGIN]", "").replace("[DONE]", ""), _called_name(problem)
        )
    return cut_at(text.replace("[BEGIN]", ""), ("[DONE]", "\n```"))


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """The answer, then the three assertions."""
    tests = [problem.data["test_setup_code"], *problem.data["test_list"]]
    return Program(
        language="python",
        source="\n".join([prelude(TASK, config) + answer, *tests]),
        seconds=config.timeout or 10.0,
        strict=config.verdicts == "strict",
    )


def _called_name(problem: Problem) -> str:
    """The function that the tests call: the first call that is not one of Python's own."""
    calls = re.findall(r"\b(\w+)\(", problem.data["test_list"][0])
    return next((name for name in calls if name not in vars(builtins)), "")


def _question(row: Mapping[str, Any]) -> str:
    return _TASK.format(text=row["text"], tests="\n".join(row["test_list"]))


def _format_solution(code: str) -> str:
    clean = code.replace("\r", "").replace("\t", "    ")
    return f"[BEGIN]\n{clean}\n[DONE]"


TASK = Task(
    name="mbpp",
    about="500 short Python problems, 3 shots, unit tests",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    extract_deepseek=lambda _problem, text: deepseek_block(text),
    version=2,
    sampling=lambda _problem, style: Sampling(
        max_tokens=512 if style == "base" else 1024, stop=("[DONE]",) if style == "base" else ()
    ),
    canonical=lambda problem: str(problem.data["code"]),
    takes=(),
)
