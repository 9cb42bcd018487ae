"""CSV tables of benchmarks. Input: a file. Output: its rows by the names of their columns.

Not here: what the columns mean (the tasks and judging/).
"""

import csv
import io
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a line of names; SourceError names the file that is missing."""
    if not path.is_file():
        raise SourceError(
            f"no benchmark file {path}; put the data there or set --data-dir, "
            "see docs/evaluation.md"
        )
    return list(csv.DictReader(io.StringIO(read_text(path, encoding="utf-8-sig"))))
