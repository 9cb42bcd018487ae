"""Judgments made elsewhere, in the forms in which benchmarks' authors publish them.

Input: a file or folder: JSON Lines, one JSON list, CSV, plain or .gz. Output: a sample per row that
holds the row; what rows mean is the task's (`Task.score`).

Not here: answers made elsewhere (foreign.py).
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_files import read_text
from codling.core.foreign_json import read_rows
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample
from codling.evaluate.task import Problem, Task

_ENDING = re.compile(r"\.(?:jsonl?|csv)(?:\.gz)?$")


def judgment_files(path: Path) -> list[Path]:
    """The files of judgments at a path; SourceError if there are none."""
    files = [p for p in files_below(path) if _ENDING.search(p.name)] if path.is_dir() else [path]
    files = sorted(file for file in files if file.is_file())
    if not files:
        raise SourceError(f"no judgments at {path} (.jsonl, .json or .csv)")
    return files


def read_judgments(task: Task, config: BenchmarkConfig) -> list[Sample]:
    """The rows of `config.judgments`, each as a judged sample."""
    assert config.judgments is not None
    samples = []
    for file in judgment_files(config.judgments):
        for number, row in enumerate(_rows(file), 1):
            if not isinstance(row, Mapping):
                raise SourceError(f"{file} row {number} is not an object: not judgments")
            problem = Problem(id=f"{file.name}/{number}", data={})
            samples.append(Sample(problem=problem, index=0, status="judged", judgments=(row,)))
    if not samples:
        raise SourceError(f"{config.judgments} holds no judgments of {task.name}")
    return samples


def _rows(file: Path) -> Iterator[Any]:
    """The rows of a file; a JSON list counts as its items."""
    if ".csv" in file.name:
        yield from csv.DictReader(io.StringIO(read_text(file, encoding="utf-8-sig")))
        return
    for row in read_rows(file):
        yield from row if isinstance(row, list) else [row]
