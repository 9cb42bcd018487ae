"""MMLU: multiple choice in 57 subjects, five solved examples (arXiv:2009.03300).

Data: mmlu/dev and mmlu/test, CSV. Base style ranks the letters by log-likelihood; instruct style
asks for the letter. `--subset abstract_algebra` runs one subject.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask

INSTRUCTION = "{prompt}\nReply with the letter of the right answer only."
_LETTERS = "ABCD"
_SHOTS = 5


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The test questions, each with its subject's solved examples."""
    problems = []
    for path in sorted((data_dir / "mmlu" / "test").glob("*_test.csv")):
        subject = path.name.removesuffix("_test.csv")
        if config.subset not in ("", subject):
            continue
        solved = _rows(data_dir / "mmlu" / "dev" / f"{subject}_dev.csv")[:_SHOTS]
        shots = "".join(f"{_question(row)} {_letter(row[5])}\n\n" for row in solved)
        title = f"Multiple-choice questions about {subject.replace('_', ' ')}.\n\n"
        for i, row in enumerate(_rows(path)):
            data = {"shots": title + shots, "question": _question(row), "answer": _letter(row[5])}
            problems.append(Problem(id=f"{subject}/{i}", data=data, group=subject))
    if not problems:
        raise SourceError(f"no MMLU files for this in {data_dir / 'mmlu' / 'test'}")
    return problems


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Examples and question; the letters to choose from."""
    text = problem.data["shots"] + problem.data["question"]
    if config.style == "base":
        return Prompt(text=text, options=tuple(f" {letter}" for letter in _LETTERS))
    return ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The first letter on its own."""
    found = re.search(r"\b([A-D])\b", text)
    return found[1] if found else ""


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:  # noqa: ARG001
    """Whether it is the right letter."""
    return Verdict(passed=answer == problem.data["answer"], detail=f"said {answer or 'nothing'}")


def _rows(path: Path) -> list[list[str]]:
    """A CSV file's rows, without a header line."""
    rows = [row for row in csv.reader(io.StringIO(read_text(path))) if len(row) == 6]
    return rows[1:] if rows and rows[0][0] == "question" else rows


def _question(row: Sequence[str]) -> str:
    choices = "\n".join(f"{x}. {text}" for x, text in zip(_LETTERS, row[1:5], strict=True))
    return f"{row[0]}\n{choices}\nAnswer:"


def _letter(answer: str) -> str:
    return _LETTERS[int(answer)] if answer.isdigit() else answer


TASK = Task(
    name="mmlu",
    about="multiple choice in 57 subjects, 5 shots (--subset abstract_algebra ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    sampling=lambda _problem, _style: Sampling(max_tokens=16, stop=("\n",)),
    canonical=lambda problem: str(problem.data["answer"]),
    takes=("subset",),
)
