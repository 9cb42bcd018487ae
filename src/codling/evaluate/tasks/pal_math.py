"""Program-aided mathematics: the model writes `solution()`, which is run (arXiv:2211.10435).

Data: pal-math; `--subset gsm8k` (the default), math, gsm-hard, svamp, asdiv or mawps. Three
examples (four for MATH), 512 tokens, 5 s. Answers are compared by our rule, with `--verdicts
deepseek` by DeepSeek-Coder's (grading/math_equal.py), inside the sandbox.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from codling.core.errors import ConfigError
from codling.core.foreign_files import read_text
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, read_lines
from codling.evaluate.tasks.cot_math import NO_SYMPY
from codling.grading import math_equal
from codling.grading.extract import cut_at, extract_boxed
from codling.grading.isolated_tests import rules_source
from codling.grading.python_code import python_program
from codling.sandbox.executor import Program
from codling.sandbox.interpreter import find_interpreter

SUBSETS = ("gsm8k", "math", "gsm-hard", "svamp", "asdiv", "mawps")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """Questions with their answers; each carries the solved examples."""
    subset = config.subset or "gsm8k"
    if subset not in SUBSETS:
        raise ConfigError(f"no subset {subset}; choose one of {', '.join(SUBSETS)}")
    folder = data_dir / "pal-math"
    rows = read_lines(folder / "datasets" / subset / "test.json")
    name = "math.md" if subset == "math" else "gsm8k.md"
    shots = read_text(folder / "prompts" / name).strip()
    return [
        Problem(id=f"{subset}/{number}", data=_row(row, shots), group=subset)
        for number, row in enumerate(rows)
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The examples and the question."""
    text = (
        f"{problem.data['shots']}\n\n----------------\n\nQuestion: {problem.data['question']}\n\n"
    )
    if config.style == "base":
        return Prompt(text=text + "```python\n")
    return Prompt(messages=({"role": "user", "content": text.strip()},))


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The code block."""
    if style == "base":
        return cut_at(text, ("\n```", "\n---"))
    return python_program(text, "solution")


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """Run `solution()` in a process of its own, which does not hold the answer; compare what it
    returns."""
    if not find_interpreter(config.python).has("sympy"):
        return Verdict(passed=False, skipped=True, detail=NO_SYMPY)
    said = f"{answer}\n\ndef _said():\n    return str(solution())\n"
    rules = rules_source()
    call = math_equal.call("GOT", problem.data["answer"], problem.data["question"], config.verdicts)
    source = (
        f"_rules, _equal = {{'__name__': 'output_rules'}}, {{'__name__': 'math_equal'}}\n"
        f"exec({rules!r}, _rules); exec({inspect.getsource(math_equal)!r}, _equal)\n"
        f"_result = _rules['call_answer']({rules!r}, {said!r}, '_said')\n"
        f"assert eval({call!r}.replace(repr('GOT'), repr(_result)), _equal), _result[:60]\n"
    )
    return Program(language="python", source=source, seconds=config.timeout or 5.0)


def _row(row: dict[str, Any], shots: str) -> dict[str, str]:
    question = " ".join(str(row[k]) for k in ("Body", "body") if k in row)
    name = next(k for k in ("question", "problem", "input", "Question") if k in row)
    return {"question": f"{question} {row[name]}".strip(), "answer": _answer(row), "shots": shots}


def _answer(row: dict[str, Any]) -> str:
    if "solution" in row:
        return extract_boxed(row["solution"]) or ""
    text = str(row.get("answer", row.get("target", row.get("Answer", ""))))
    text = text.rpartition("####")[2].strip()
    return re.sub(r"\s*\([^)]*\)$", "", text)


def canonical(problem: Problem) -> str:
    """A program that returns the answer."""
    return f"def solution():\n    return {json.dumps(problem.data['answer'])}"


TASK = Task(
    name="pal-math",
    about=f"mathematics by writing programs (--subset {', '.join(SUBSETS)})",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    version=3,
    sampling=lambda _problem, style: Sampling(
        max_tokens=512, stop=("\n```", "\n---") if style == "base" else ()
    ),
    canonical=canonical,
    preload=("sympy", "sympy.parsing.sympy_parser"),
    takes=("subset",),
)
