"""CSV tables of benchmarks, and what stands in rows that others made. Input: a file, a row. Output:
the rows by the names of their columns; a number, a name.

Not here: what the columns mean (the tasks and judging/).
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import read_decoded

_MAX_GRADE = 1e6
_MAX_NAME = 200
_ABOUT = ("question_id", "instruction", "instance_id", "testcase", "model", "")
"""What a row is told by, in all forms; a table's column of names has none itself."""


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a line of names, line ends inside of cells as they are, which
    is how pandas reads for the authors; SourceError names the file that is missing or no table."""
    if not path.is_file():
        raise SourceError(
            f"no benchmark file {path}; put the data there or set --data-dir, "
            "see docs/evaluation.md"
        )
    rows = [cells for cells in read_cells(path) if cells]
    # A line that ends early has empty cells.
    return [dict(zip(rows[0], cells + [""] * len(rows[0]), strict=False)) for cells in rows[1:]]


def read_cells(path: Path) -> list[list[str]]:
    """The cells of a CSV file, plain or .gz, in UTF-8, UTF-16 or UTF-32, by lines, with the line
    ends that are inside of cells; SourceError if it is no table."""
    try:
        return list(csv.reader(io.StringIO(read_decoded(path), newline="")))
    except csv.Error as error:
        raise SourceError(f"{path} is no table that can be read: {error}") from None


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
            f"a judgment of {about(row)} has the {name} {repr(value)[:60]}, which is no number"
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
            f"a judgment of {about(row)} has the {name} {grade:g}; grades are 1 to 10"
        )
    return grade


def read_name(row: Mapping[str, Any], name: str) -> str:
    """A row's text that names something, such as a model, in one short line that can be printed;
    SourceError if it is none.

    >>> read_name({"model": "m"}, "model")
    'm'
    """
    value = row.get(name)
    if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MAX_NAME):
        raise SourceError(
            f"a judgment of {about(row)} has the {name or 'name'} {repr(value)[:60]}, which is no "
            "name"
        )
    return value


def about(row: Mapping[str, Any]) -> str:
    """What a row is about, short, for an error's line."""
    return next((repr(str(row[name])[:60]) for name in _ABOUT if row.get(name)), "nothing named")
