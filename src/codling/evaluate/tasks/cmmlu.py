"""CMMLU: Chinese multiple choice in 67 subjects, five solved examples (arXiv:2306.09212).

Data: cmmlu/data/dev and cmmlu/data/test, CSV; the subjects' Chinese names stand in
tasks/cmmlu_subjects.toml. The score is the mean over subjects; `--subset agronomy` runs one.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.core.packaged import packaged_table
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

_HEAD = "以下是关于{subject}的单项选择题，请直接给出正确答案的选项。\n\n"  # noqa: RUF001
_CUE = "\n答案是："  # noqa: RUF001
_QUESTION = "题目：{question}"  # noqa: RUF001
_SHOTS = 5
_TITLES = packaged_table("codling.evaluate.tasks", "cmmlu_subjects.toml")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The test questions, each with its subject's solved examples."""
    folder = data_dir / "cmmlu" / "data"
    problems = []
    for path in sorted((folder / "test").glob("*.csv")):
        subject = path.stem
        if config.subset not in ("", subject):
            continue
        title = _TITLES.get(subject, subject.replace("_", " "))
        solved = _choices(folder / "dev" / path.name)[:_SHOTS]
        wording = Wording(
            head=_HEAD.format(subject=title), cue=_CUE, lead="",
            text_question="{question}" + _CUE, request="请只回答正确选项的字母。",
        )  # fmt: skip
        problems += make_problems(subject, _choices(path), solved, wording)
    if not problems:
        raise ConfigError(f"no CMMLU subject {config.subset} in {folder / 'test'}")
    return problems


def _choices(path: Path) -> list[MultiChoice]:
    return [
        MultiChoice(
            question=_QUESTION.format(question=row["Question"].strip()),
            options=tuple(row[letter] for letter in "ABCD"),
            right=place_of(row["Answer"], str(path)),
        )
        for row in read_table(path)
    ]


TASK = Task(
    name="cmmlu",
    about="Chinese multiple choice in 67 subjects, 5 shots (--subset agronomy ...)",
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
