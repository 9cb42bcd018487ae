"""CSV tables of benchmarks, and numbers in rows that others made. Input: a file, a row. Output: the
rows by the names of their columns; a number.

Not here: what the columns mean (the tasks and judging/).
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text

_MAX_GRADE = 1e6


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a line of names, line ends inside of cells as they are, which
    is how pandas reads for the authors; SourceError names the file that is missing."""
    if not path.is_file():
        raise SourceError(
            f"no benchmark file {path}; put the data there or set --data-dir, "
            "see docs/evaluation.md"
        )
    return list(csv.DictReader(open_table(path)))


def open_table(path: Path) -> io.StringIO:
    """A CSV file as csv's readers take it, with the line ends that its cells have."""
    text = read_text(path, encoding="utf-8-sig", own_line_ends=True)
    return io.StringIO(text, newline="")


def read_number(row: Mapping[str, Any], name: str) -> float:
    """A row's number; NaN if it has none (absent, null or empty); SourceError for anything else.

    >>> read_number({"score": "8"}, "score"), read_number({"score": None}, "score")
    (8.0, nan)
    """
    value = row.get(name)
    if isinstance(value, bool):
        value = repr(value)
    if value is None or value == "":
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise SourceError(
            f"a judgment of {_about(row)} has the {name} {repr(value)[:60]}, which is no number"
        )
    return number


def read_grade(row: Mapping[str, Any], name: str) -> float:
    """A row's grade; -1 where the judge gave none, NaN where the row has none; SourceError for what
    no judgment's text can give. The authors keep a number beyond 10 that a judge wrote.

    >>> read_grade({"score": 8}, "score"), read_grade({"score": -1}, "score")
    (8.0, -1.0)
    """
    grade = read_number(row, name)
    if not (math.isnan(grade) or grade == -1 or 0 <= grade < _MAX_GRADE):
        raise SourceError(
            f"a judgment of {_about(row)} has the {name} {grade:g}; grades are 1 to 10"
        )
    return grade


def read_name(row: Mapping[str, Any], name: str) -> str:
    """A row's text that names something: a model, an instruction; SourceError if it is none.

    >>> read_name({"model": "m"}, "model")
    'm'
    """
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise SourceError(
            f"a judgment of {_about(row)} has the {name} {repr(value)[:60]}, which is no name"
        )
    return value


def _about(row: Mapping[str, Any]) -> str:
    return repr(str(row.get("question_id") or row.get("instruction") or "a question")[:60])
