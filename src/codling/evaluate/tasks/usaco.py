"""USACO: 307 problems of the USA Computing Olympiad (arXiv:2404.10952).

Data below usaco, as published: usaco_subset307_dict.json ({id: description, problem_level,
runtime_limit, solution ...}) and tests/ID/ with 1.in and 1.out, or I.1 and O.1, and so on.
`--subset bronze` keeps one level. An answer is a Python program that passes all tests in the
problem's time (2 s if it names none).
"""

import re
from pathlib import Path

from codling.core.foreign_files import read_text
from codling.core.foreign_json import read_object
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.contest import run_on_stdin
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask
from codling.grading.extract import extract_block
from codling.sandbox.executor import Program

INSTRUCTION = (
    "Reply with a Python 3 program for the problem below. It reads from stdin and writes to "
    "stdout. Reason first, then give the whole program in one Python code block.\n\n{prompt}"
)


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The problems by level, each with its tests."""
    folder = data_dir / "usaco"
    rows = read_object(config.data_file or folder / "usaco_subset307_dict.json")
    return [
        Problem(
            id=name,
            group=row.get("problem_level", ""),
            data={**row, "cases": _cases(folder / "tests" / name)},
        )
        for name, row in rows.items()
        if config.subset in ("", row.get("problem_level"))
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The description, in a chat."""
    return ask(INSTRUCTION, config, prompt=problem.data["description"])


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The code block."""
    return extract_block(text).strip()


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """All tests."""
    if not answer.strip():
        return Verdict(detail="no answer")
    if not problem.data["cases"]:
        return Verdict(skipped=True, detail="no tests here")
    seconds = config.timeout or float(problem.data.get("runtime_limit") or 2.0)
    return run_on_stdin(answer, problem.data["cases"], seconds)


def canonical(problem: Problem) -> str | None:
    """The published solution, where it holds Python."""
    text = str(problem.data.get("solution_python3") or problem.data.get("solution") or "")
    found = re.findall(r"```(?:python3?|py)?\n(.*?)```", text, re.S)
    code = found[-1] if found else text
    return code if re.search(r"\binput\(|sys\.stdin", code) else None


def _cases(folder: Path) -> list[tuple[str, list[str]]]:
    pairs = [(path, path.with_suffix(".out")) for path in folder.glob("*.in")]
    pairs += [(path, path.with_name(f"O.{path.name[2:]}")) for path in folder.glob("I.*")]
    found = [pair for pair in pairs if pair[1].is_file()]
    return [
        (read_text(given), [read_text(right)])
        for given, right in sorted(found, key=lambda pair: (len(pair[0].name), pair[0].name))
    ]


TASK = Task(
    name="usaco",
    about="307 olympiad problems, Python programs (--subset bronze, silver, gold, platinum)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    canonical=canonical,
    sampling=lambda _problem, _style: Sampling(max_tokens=4096),
    takes=("subset",),
)
