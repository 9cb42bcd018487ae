"""APPS: 5000 problems, introductory, interview and competition (arXiv:2105.09938).

Data: apps/test.jsonl as published (problem_id, question, starter_code, input_output and solutions
as JSON in strings, difficulty). `--subset introductory` keeps one level. An answer is right if all
tests pass; 4 s for each, as the authors have it.
"""

import json
from pathlib import Path
from typing import Any

from codling.core.foreign_json import parse_row
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.contest import as_lines, run_by_calls, run_on_stdin
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.grading.extract import extract_block
from codling.sandbox.executor import Program

INSTRUCTION = "{prompt}\nAnswer with one Python code block."


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The problems of all levels, or of one."""
    rows = read_lines(config.data_file or data_dir / "apps" / "test.jsonl")
    return [
        Problem(id=str(row.get("problem_id", row.get("id"))), data=row, group=row["difficulty"])
        for row in rows
        if config.subset in ("", row["difficulty"])
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The published form: question, starter code, the form of the answer."""
    starter = problem.data.get("starter_code") or ""
    form = (
        "Use Call-Based format" if _tests(problem).get("fn_name") else "Use Standard Input format"
    )
    text = f"\nQUESTION:\n{problem.data['question']}\n{starter}\n{form}\nANSWER:\n"
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The code block; for base models what was said, up to the next question."""
    if style == "instruct" or "```" in text:
        return extract_block(text).strip()
    return text.partition("\nQUESTION:")[0].strip()


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """All tests of the row."""
    tests, seconds = _tests(problem), config.timeout or 4.0
    if not answer.strip():
        return Verdict(detail="no answer")
    if not tests.get("inputs"):
        return Verdict(skipped=True, detail="no tests in the row")
    name, inputs, outputs = tests.get("fn_name"), tests["inputs"], tests["outputs"]
    if name:
        called = [
            (as_lines(given), json.dumps(_unwrap(right)))
            for given, right in zip(inputs, outputs, strict=True)
        ]
        return run_by_calls(answer, name, called, seconds)
    pairs = [(_text(given), [_text(right)]) for given, right in zip(inputs, outputs, strict=True)]
    return run_on_stdin(answer, pairs, seconds, near=1e-5)


def canonical(problem: Problem) -> str | None:
    """The first of the row's solutions."""
    solutions: Any = problem.data.get("solutions") or "[]"
    found = parse_row(solutions, problem.id) if isinstance(solutions, str) else solutions
    return str(found[0]) if found else None


def _tests(problem: Problem) -> dict[str, Any]:
    value: Any = problem.data.get("input_output") or "{}"
    found: dict[str, Any] = parse_row(value, problem.id) if isinstance(value, str) else value
    return found


def _unwrap(right: Any) -> Any:  # noqa: ANN401 - JSON
    """Results are published in a list of one."""
    return right[0] if isinstance(right, list) and len(right) == 1 else right


def _text(value: Any) -> str:  # noqa: ANN401 - a text, or its lines
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


TASK = Task(
    name="apps",
    about="5000 programming problems (--subset introductory, interview, competition)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    canonical=canonical,
    sampling=lambda _problem, style: Sampling(
        max_tokens=1024, stop=("\nQUESTION:",) if style == "base" else ()
    ),
    takes=("subset",),
)
