"""Judgments made elsewhere, in the forms in which benchmarks' authors publish them.

Input: a file or folder: JSON Lines, one JSON list, CSV, plain or .gz. Output: a sample per row that
holds the row; what rows mean is the task's (`Task.score`).

Not here: answers made elsewhere (foreign.py).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_json import read_rows
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample
from codling.evaluate.judging.tables import read_table
from codling.evaluate.task import Problem, Task

_KEY = (
    "question_id", "instruction", "instance_id", "turn", "judge", "annotator", "model", "model_id",
    "model_1", "model_2", "generator_1", "generator_2", "testcase",
)  # fmt: skip
"""What names a judgment, in all forms."""
_AIDERS = ".aider.results.json"
_ENDING = re.compile(r"\.(?:jsonl?|csv)(?:\.gz)?$")


def judgment_files(path: Path) -> list[Path]:
    """The files of judgments at a path; SourceError if there are none."""
    files = [p for p in files_below(path) if _ENDING.search(p.name)] if path.is_dir() else [path]
    files = sorted(file for file in files if file.is_file())
    # Aider keeps its results in the folders of the exercises, which have settings of their own.
    files = [file for file in files if file.name == _AIDERS] or files
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


def note_oddities(samples: Sequence[Sample], problems: Sequence[Problem]) -> list[str]:
    """What a reader of the scores should know: rows that repeat others, and rows about questions
    that the benchmark does not have. All count, as they do with the authors."""
    rows = [row for sample in samples for row in sample.judgments]
    keys = Counter(
        tuple(str(row.get(name)) for name in _KEY) for row in rows if any(n in row for n in _KEY)
    )
    ids = {problem.id for problem in problems}
    asked = [str(row["question_id"]) for row in rows if "question_id" in row]
    strangers = {name for name in asked if name not in ids}
    repeated = sum(keys.values()) - len(keys)
    games = (row.get("games") for row in rows)
    n_longer = sum(isinstance(each, list) and len(each) > 2 for each in games)
    return [
        *([f"{n_longer} rows have more than two games; the first two count"] if n_longer else []),
        *([f"{repeated} rows judge the same as another row; all count"] if repeated else []),
        *(
            [f"{len(strangers)} questions of the judgments are none of the benchmark's; they count"]
            if strangers
            else []
        ),
    ]


def _rows(file: Path) -> Iterator[Any]:
    """The rows of a file; a JSON list counts as its items."""
    if ".csv" in file.name:
        yield from read_table(file)
        return
    for row in read_rows(file):
        yield from row if isinstance(row, list) else [row]
