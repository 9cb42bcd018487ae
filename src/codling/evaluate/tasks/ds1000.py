"""DS-1000: data-science snippets for seven libraries, judged by running them (arXiv:2211.11501).

Data: ds1000/ds1000.jsonl, the completion format. Rows of libraries that are not installed are
reported as not run, by library. `--subset Pandas` runs one library.
"""

import importlib.util
import re
from pathlib import Path

from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.extract import cut_at, fenced
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.sandbox.executor import Program

INSTRUCTION = (
    "Solve the problem by writing the missing Python code only: no imports or definitions that are "
    "already given. Reply with one code block.\n{prompt}"
)
_STOPS = ("</code>", "# SOLUTION END", "\nEND SOLUTION")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows, grouped by library."""
    rows = read_lines(data_dir / "ds1000" / "ds1000.jsonl")
    problems = [
        Problem(id=str(row["metadata"]["problem_id"]), data=row, group=row["metadata"]["library"])
        for row in rows
    ]
    return [p for p in problems if config.subset in ("", p.group)]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The question with the code up to the hole."""
    text = problem.data["prompt"]
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The code for the hole."""
    code = fenced(text) if style == "instruct" and "```" in text else text
    return cut_at(code.replace("BEGIN SOLUTION", "").replace("<code>", ""), _STOPS)


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """The row's own test, or "not run" where a library is missing."""
    data = problem.data["code_context"]
    named = dict.fromkeys(re.findall(r"^\s*(?:import|from) (\w+)", data, re.M))
    missing = [name for name in named if importlib.util.find_spec(name) is None]
    if missing:
        return Verdict(passed=False, skipped=True, detail=f"{problem.group}: no {missing[0]}")
    calls = f"test_execution({answer!r})\n"
    if "def test_string(" in data:
        calls += f"test_string({answer!r})\n"
    quiet = "import warnings; warnings.simplefilter('ignore')\n"
    return Program(
        language="python",
        source=f"{quiet}{data}\n{calls}",
        seconds=config.timeout or 120.0,
        memory_bytes=6 << 30,
        strict=config.verdicts == "strict",
    )


TASK = Task(
    name="ds1000",
    about="1000 data-science snippets, by library (--subset Pandas, Numpy, Sklearn ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    sampling=lambda _problem, style: (
        Sampling(max_tokens=512, stop=_STOPS) if style == "base" else Sampling(max_tokens=1024)
    ),
    canonical=lambda problem: str(problem.data["reference_code"]),
    preload=("numpy", "pandas"),
)
