"""HumanEvalFix: repair a function with a bug, in six languages (arXiv:2308.07124).

Data: humanevalpack/LANG/data/humanevalpack.jsonl. `--language` cpp, go, java, js, python (the
default) or rust. The model sees the buggy function and its tests (the main variant), `--subset
docs` the docstring instead. Published settings: 20 samples, temperature 0.2, pass@1.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.language_tests import OUR_NAMES, language_program
from codling.evaluate.task import Problem, Prompt, Sampling, Task, ask, read_lines
from codling.evaluate.tasks.humaneval_x import STOPS, language_or_python
from codling.grading.chat_code import chat_program
from codling.grading.extract import cut_at
from codling.grading.python_code import python_answer
from codling.sandbox.executor import Program

INSTRUCTION = "{prompt}\n\nFix bugs in {name}. Reply with the whole function in one code block."


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 164 problems of a language, by kind of bug."""
    if config.subset not in ("", "docs"):
        raise ConfigError(f"no subset {config.subset}; choose docs, or leave it out for tests")
    name = language_or_python(config)
    rows = read_lines(data_dir / "humanevalpack" / name / "data" / "humanevalpack.jsonl")
    return [
        Problem(
            id=row["task_id"],
            data={**row, "language": name, "shows_docs": config.subset == "docs"},
            group=row["bug_type"],
        )
        for row in rows
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The buggy function with tests or docstring, and the order to fix it."""
    data = problem.data
    start = data["prompt"] if data["shows_docs"] else data["declaration"]
    shown = start + data["buggy_solution"]
    shown += "" if data["shows_docs"] else f"\n{data['test']}"
    if config.style == "base":
        order = f"Question: Fix bugs in {data['entry_point']}.\n{shown}\n\nAnswer:\n"
        return Prompt(text=order + start.rstrip())
    return ask(INSTRUCTION, config, prompt=shown, name=data["entry_point"])


def extract(problem: Problem, text: str, style: Style) -> str:
    """The declaration and its completion, or what a chat's code block makes of it."""
    data, source = problem.data, str(problem.data["declaration"])
    if style == "base":
        return source + cut_at(text, STOPS[data["language"]])
    if data["language"] == "python":
        return python_answer(text, source, data["entry_point"])
    return chat_program(source, text, OUR_NAMES[data["language"]], data["test"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """The answer, then the row's tests."""
    data = problem.data
    setup = f"{data.get('test_setup') or ''}\n{data.get('import') or ''}"
    return language_program(data["language"], answer, data["test"], config, setup)


TASK = Task(
    name="humaneval-fix",
    about="repair 164 functions (--language cpp, go, java, js, python, rust; --subset docs)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    whole=lambda problem, completion: str(problem.data["declaration"] + completion),
    canonical=lambda problem: problem.data["declaration"] + problem.data["canonical_solution"],
    sampling=lambda problem, style: (
        Sampling(stop=STOPS[problem.data["language"]])
        if style == "base"
        else Sampling(max_tokens=1024)
    ),
)
