"""LiveCodeBench: contest problems by date (arXiv:2403.07974).

Data below livecodebench: test*.jsonl as published (code_generation_lite, with public and private
tests), else questions_v6_no_tests.jsonl with the test cases that published results reveal
(revealed_tests.jsonl: necessary, not sufficient, which the report says by its group). `--subset
2023-09-01..2024-04-01` keeps the problems of a window of contest dates, first and last included.
Published settings: 10 samples, temperature 0.2, top_p 0.95; 6 s for each test.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.contest import run_by_calls, run_on_stdin
from codling.evaluate.contest_files import method_name, published_cases, revealed_case
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.grading.fences import find_blocks, strip_thoughts
from codling.sandbox.executor import Program

_ROLE = (
    "You will be given a question and will write a correct Python program that matches it and "
    "passes all tests.\n\n"
)
_STDIN = "Read the inputs from stdin, solve the problem and write the answer to stdout.\n"
_CALLED = "Use the following starter code.\n```python\n{code}\n```\n"
INSTRUCTION = _ROLE + "Question:\n{prompt}\n\n{format}Answer with one Python code block."


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The problems of the window that have tests, by difficulty."""
    folder = data_dir / "livecodebench"
    first, _, last = config.subset.partition("..")
    if config.subset and not _is_window(first, last):
        raise ConfigError(
            f"--subset is {config.subset!r}; give two dates, first and last: 2023-09-01..2024-04-01"
        )
    rows = (row for row in _rows(folder) if not last or first <= row["contest_date"][:10] <= last)
    return [Problem(id=row["question_id"], data=row, group=row["difficulty"]) for row in rows]


def _is_window(first: str, last: str) -> bool:
    try:
        return date.fromisoformat(first) <= date.fromisoformat(last)
    except ValueError:
        return False


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The question with the form of the answer."""
    data = problem.data
    form = _CALLED.replace("{code}", data["starter_code"]) if data["starter_code"] else _STDIN
    if config.style == "base":
        return Prompt(text=f"### Question\n{data['question_content']}\n\n{form}\n### Answer\n\n")
    return ask(INSTRUCTION, config, prompt=data["question_content"], format=form)


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The last code block, as published; for base models what was said, up to the next question."""
    said = strip_thoughts(text)
    blocks = find_blocks(said)
    if blocks:
        return blocks[-1].code
    return "" if style == "instruct" else said.partition("### Question")[0].strip()


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """All tests; a problem without any cannot be judged."""
    cases, seconds = problem.data["cases"], config.timeout or 6.0
    if not answer.strip():
        return Verdict(detail="no answer")
    if not cases:
        return Verdict(skipped=True, detail="no tests here")
    if problem.data["starter_code"]:
        name = problem.data.get("function") or method_name(problem.data["starter_code"])
        return run_by_calls(answer, name, cases, seconds)
    return run_on_stdin(answer, [(stdin, [right]) for stdin, right in cases], seconds)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    published = sorted(folder.glob("test*.jsonl*"))
    for path in published:
        for row in read_lines(path):
            yield {**row, **published_cases(row)}
    if published:
        return
    revealed: dict[str, list[dict[str, str]]] = defaultdict(list)
    questions = list(read_lines(folder / "questions_v6_no_tests.jsonl"))
    for row in read_lines(folder / "revealed_tests.jsonl"):
        revealed[row["question_id"]].append(row)
    for row in questions:
        tests = revealed.get(row["question_id"], [])
        cases = [revealed_case(t["input"], t["expected"], row["starter_code"]) for t in tests]
        yield {**row, "cases": [case for case in cases if case is not None]}


TASK = Task(
    name="livecodebench",
    about="contest problems by date, stdin and calls (--subset 2023-09-01..2024-04-01)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    sampling=lambda _problem, style: Sampling(
        max_tokens=2000, stop=("### Question",) if style == "base" else ()
    ),
    takes=("subset",),
)
