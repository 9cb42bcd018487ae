"""Mathematics by a chain of thought in words; the final answer is compared symbolically.

Data: `--subset gsm8k` (the default), math, aime24, amc23, cmath, minerva_math, sat_math, aqua. Base
models see eight solved questions before one of gsm8k: the first of gsm8k/train.jsonl, without the
notes of its calculator. The others have no train sets here and are asked without examples.
Equality is decided by our rule, with `--verdicts deepseek` what DeepSeek-Coder's does. The
comparison (grading/math_equal.py) runs in the sandbox, because sympy evaluates what it parses.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.gsm8k_examples import show_solved
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.grading import math_equal
from codling.grading.extract import extract_boxed, extract_final, extract_stated, is_bare_answer
from codling.grading.fences import strip_thoughts
from codling.sandbox.executor import Program
from codling.sandbox.interpreter import find_interpreter

NO_SYMPY = "no sympy: pip install 'codling[benchmarks]'"
INSTRUCTION = "{prompt}\nReason step by step, and give the final answer in \\boxed{}."
_FILES = {
    "gsm8k": "gsm8k/test.jsonl",
    "math": "pal-math/datasets/math/test.json",
    **{n: f"math-qwen/{n}/test.jsonl" for n in ("aime24", "amc23", "cmath", "minerva_math")},
    **{n: f"math-qwen/{n}/test.jsonl" for n in ("sat_math", "aqua")},
}
_CHOICES = ("sat_math", "aqua")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """Questions with their answers."""
    subset = config.subset or "gsm8k"
    if subset not in _FILES:
        raise ConfigError(f"no subset {subset}; choose one of {', '.join(_FILES)}")
    rows = read_lines(data_dir / _FILES[subset])
    shots = show_solved(data_dir, config) if subset == "gsm8k" else ""
    return [
        Problem(id=f"{subset}/{i}", data={**_row(row), "shots": shots}, group=subset)
        for i, row in enumerate(rows)
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The question, to be answered with reasons."""
    question, shots = problem.data["question"], problem.data.get("shots", "")
    if config.style == "base":
        cue = "" if shots else " Let's think step by step."
        return Prompt(text=f"{shots}Question: {question}\nAnswer:{cue}")
    return ask(INSTRUCTION, config, prompt=question)


def extract(problem: Problem, text: str, style: Style) -> str:
    """The content of the last box, after "answer is", or the last number or letter."""
    text = strip_thoughts(text) if style == "instruct" else text
    if problem.group not in _CHOICES:
        return extract_final(text)
    letters = re.findall(r"\b([A-E])\b", extract_boxed(text) or extract_stated(text) or text)
    return str(letters[-1]) if letters else ""


def read_said(problem: Problem, said: str) -> str:
    """A foreign answer: a bare one as it is, else what it boxes or states or the last number."""
    said = strip_thoughts(said).strip()
    is_bare = problem.group not in _CHOICES and is_bare_answer(said)
    return said if is_bare else extract(problem, said, "base") or said


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """Equal as text at once; else a comparison in the sandbox, by our rule or DeepSeek-Coder's."""
    target = problem.data["answer"]
    if answer.strip() and math_equal.normal(answer[:300]) == math_equal.normal(target):
        return Verdict(passed=True)
    if problem.group in _CHOICES or not answer.strip():
        return Verdict(passed=False, detail="no answer" if not answer else "another choice")
    plain = (math_equal.number(math_equal.normal(side)) for side in (answer[:300], target))
    if None in plain and not find_interpreter(config.python).has("sympy"):
        return Verdict(passed=False, skipped=True, detail=NO_SYMPY)
    call = math_equal.call(answer[:300], target, problem.data["question"], config.verdicts)
    source = f"{inspect.getsource(math_equal)}\nassert {call}, 'another answer'\n"
    return Program(language="python", source=source, seconds=config.timeout or 5.0)


def _row(row: dict[str, Any]) -> dict[str, str]:
    options = str(row.get("options") or "")
    choices = ast.literal_eval(options) if options.startswith("[") else [options]
    question = str(row.get("question") or row["problem"])
    text = f"{question}\n" + "\n".join(map(str, choices)) if options else question
    if "correct" in row or "Answer" in row:
        return {"question": text, "answer": str(row.get("correct") or row["Answer"])}
    answer = row.get("answer") or extract_boxed(row["solution"]) or ""
    return {"question": text, "answer": str(answer).rpartition("####")[2].strip()}


TASK = Task(
    name="cot-math",
    about=f"mathematics in words (--subset {', '.join(_FILES)})",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    whole=read_said,
    in_words=True,
    version=3,
    sampling=lambda _problem, style: Sampling(
        max_tokens=1024, stop=("\nQuestion:",) if style == "base" else ()
    ),
    canonical=lambda problem: str(problem.data["answer"]),
    preload=("sympy", "sympy.parsing.sympy_parser"),
    takes=("subset",),
)
