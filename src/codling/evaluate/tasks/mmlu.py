"""MMLU: multiple choice in 57 subjects, five solved examples (arXiv:2009.03300).

Data: mmlu/dev and mmlu/test, CSV. Base style ranks the letters by log-likelihood; instruct style
asks for the letter. `--subset abstract_algebra` runs one subject. The wording is the authors', with
one blank before the subject, as lm-evaluation-harness has it.
"""

from pathlib import Path

from codling.core.errors import SourceError
from codling.evaluate.choices import (
    MultiChoice,
    Wording,
    ask_choice,
    canonical_choice,
    check_choice,
    extract_letter,
    make_problems,
    place_of,
    sample_choice,
)
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.tables import read_cells
from codling.evaluate.task import Problem, Task

_HEAD = "The following are multiple choice questions (with answers) about {subject}.\n\n"
_SHOTS = 5


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The test questions, each with its subject's solved examples."""
    problems = []
    for path in sorted((data_dir / "mmlu" / "test").glob("*_test.csv")):
        subject = path.name.removesuffix("_test.csv")
        if config.subset not in ("", subject):
            continue
        solved = _choices(data_dir / "mmlu" / "dev" / f"{subject}_dev.csv")[:_SHOTS]
        wording = Wording(head=_HEAD.format(subject=subject.replace("_", " ")))
        problems += make_problems(subject, _choices(path), solved, wording)
    if not problems:
        raise SourceError(f"no MMLU files for this in {data_dir / 'mmlu' / 'test'}")
    return problems


def _choices(path: Path) -> list[MultiChoice]:
    """A CSV file's questions; a header line is none."""
    # One solved example has a line end of two characters, and the authors' reader keeps it.
    rows = [row for row in read_cells(path) if len(row) == 6]
    rows = rows[1:] if rows and rows[0][0] == "question" else rows
    return [
        MultiChoice(
            question=row[0].strip(),
            options=tuple(row[1:5]),
            right=place_of(row[5], str(path)),
        )
        for row in rows
    ]


TASK = Task(
    name="mmlu",
    about="multiple choice in 57 subjects, 5 shots (--subset abstract_algebra ...)",
    load=load,
    prompt=ask_choice,
    extract=extract_letter,
    in_words=True,
    check=check_choice,
    sampling=sample_choice,
    canonical=canonical_choice,
    version=4,
    takes=("subset",),
)
