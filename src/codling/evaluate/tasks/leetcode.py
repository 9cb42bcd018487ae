"""LeetCode contest problems of July 2023 to January 2024, English or Chinese (DeepSeek-Coder
section 4.1).

Data: leetcode-contest/20240121-Jul.jsonl; `--subset zh` for the Chinese texts. The answer is a
class `Solution`.
"""

from pathlib import Path

from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, Prompt, Sampling, Task, ask, read_lines
from codling.grading.extract import cut_at
from codling.grading.python_code import python_program
from codling.sandbox.executor import Program

INSTRUCTION = "{prompt}"
_MORE = (
    "from math import *\nfrom bisect import *\nfrom heapq import *\n"
    "from functools import *\nfrom itertools import *\n"
)
_STOPS = ("\n```", "\nclass ", "\nif __name__", "\nprint(", "\n# Test", "\ndef ")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 180 problems, grouped by difficulty."""
    name = "20240121-Jul-zh.jsonl" if config.subset == "zh" else "20240121-Jul.jsonl"
    rows = read_lines(config.data_file or data_dir / "leetcode-contest" / name)
    return [Problem(id=r["task_id"], data=r, group=r["meta"]["difficulty"]) for r in rows]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The text as a docstring with the class begun, or as a chat turn."""
    if config.style == "base":
        return Prompt(text=problem.data["prompt"].rstrip())
    return ask(INSTRUCTION, config, prompt=problem.data["prompt_sft"])


def extract(problem: Problem, text: str, style: Style) -> str:
    """The whole class."""
    if style == "instruct":
        code = python_program(text, "Solution")
        return code if "class Solution" in code else problem.data["prompt"] + code
    return str(problem.data["prompt"].rstrip() + cut_at(text, _STOPS))


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """The answer, then all test cases."""
    more = prelude(TASK, config) and prelude(TASK, config) + _MORE
    source = f"{more}{answer}\n{problem.data['test']}\n"
    return Program(
        language="python",
        source=source,
        seconds=config.timeout or 30.0,
        strict=config.verdicts == "strict",
    )


TASK = Task(
    name="leetcode",
    about="180 LeetCode contest problems (--subset zh: in Chinese)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    version=2,
    sampling=lambda _problem, style: (
        Sampling(max_tokens=500, stop=_STOPS) if style == "base" else Sampling(max_tokens=1024)
    ),
    imports="common",
    takes=("subset",),
)
