"""C-Eval: Chinese multiple choice in 52 subjects, five solved examples (arXiv:2305.08322).

Data: ceval/dev, ceval/val, ceval/subject_mapping.json. The answers of the test questions are
secret, so the val questions are asked; the score is the mean over subjects, `--subset law` runs one
subject and `--subset STEM` ("Social Science", Humanities, Other) one category.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.core.foreign_json import read_object
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
from codling.evaluate.judging.tables import read_table
from codling.evaluate.task import Problem, Task

_HEAD = "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。\n\n"  # noqa: RUF001
_CUE = "\n答案："  # noqa: RUF001
_SHOTS = 5


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The val questions, each with its subject's solved examples."""
    folder = data_dir / "ceval"
    subjects = read_object(folder / "subject_mapping.json")
    problems = []
    for subject, (_, title, category) in sorted(subjects.items()):
        if config.subset not in ("", subject, category):
            continue
        solved = _choices(folder / "dev" / f"{subject}_dev.csv")[:_SHOTS]
        wording = Wording(
            head=_HEAD.format(subject=title), cue=_CUE, lead="",
            text_question="{question}" + _CUE, request="请只回答正确选项的字母。",
        )  # fmt: skip
        problems += make_problems(
            subject, _choices(folder / "val" / f"{subject}_val.csv"), solved, wording
        )
    if not problems:
        raise ConfigError(f"no subject or category {config.subset} in C-Eval")
    return problems


def _choices(path: Path) -> list[MultiChoice]:
    return [
        MultiChoice(
            question=row["question"].strip(),
            options=tuple(row[letter] for letter in "ABCD"),
            right=place_of(row["answer"], str(path)),
        )
        for row in read_table(path)
    ]


TASK = Task(
    name="ceval",
    about="Chinese multiple choice in 52 subjects, 5 shots (--subset law, STEM ...)",
    load=load,
    prompt=ask_choice,
    extract=extract_letter,
    version=2,
    in_words=True,
    check=check_choice,
    sampling=sample_choice,
    canonical=canonical_choice,
    mean_of_groups=True,
    takes=("subset",),
)
