"""CLUEWSC: does a pronoun in a Chinese sentence stand for a phrase (arXiv:2004.05986)?

Data: cluewsc-fewclue/test_public.json (FewCLUE's split of the collection) and train_few_all.json,
whose first five rows are the solved examples; ids are the rows' `idx`. Accuracy of yes or no.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codling.evaluate.choices import (
    MultiChoice,
    Wording,
    ask_choice,
    canonical_choice,
    check_choice,
    extract_letter,
    make_problem,
    sample_choice,
)
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Problem, Prompt, Task, read_lines

_QUESTION = "{text}\n问题：句中的“{pronoun}”指的是“{phrase}”吗？"  # noqa: RUF001
_CUE = "\n回答："  # noqa: RUF001
_ANSWERS = ("是", "否")
_LABELS = (("true", "是的", "对", "对的"), ("false", "不是", "不是的", "不", "不对"))
"""What else the two answers are called, in the data and by models."""
_SHOTS = 5


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:  # noqa: ARG001
    """The 976 questions."""
    folder = data_dir / "cluewsc-fewclue"
    train = _choices(read_lines(folder / "train_few_all.json"))[:_SHOTS]
    rows = list(read_lines(folder / "test_public.json"))
    wording = Wording(
        cue=_CUE, lead="", text_question="{question}" + _CUE, request="请只回答正确选项的字母。"
    )
    return [
        make_problem(str(row["idx"]), choice, train, wording)
        for row, choice in zip(rows, _choices(rows), strict=True)
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Yes or no as texts for base models."""
    return ask_choice(problem, config, base="texts")


def _choices(rows: Iterable[Mapping[str, Any]]) -> list[MultiChoice]:
    return [
        MultiChoice(
            question=_QUESTION.format(
                text=row["text"],
                pronoun=row["target"]["span2_text"],
                phrase=row["target"]["span1_text"],
            ),
            options=_ANSWERS,
            right=0 if str(row["label"]).lower() == "true" else 1,
            labels=_LABELS,
        )
        for row in rows
    ]


TASK = Task(
    name="cluewsc",
    about="976 Chinese pronouns: what does each stand for, 5 shots",
    load=load,
    prompt=prompt,
    extract=extract_letter,
    version=2,
    in_words=True,
    check=check_choice,
    sampling=sample_choice,
    canonical=canonical_choice,
    takes=(),
)
