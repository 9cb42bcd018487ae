"""Single-line insertion in Python, Java and JavaScript (the README's "HumanEval FIM").

Data: hm-fim-santacoder/train.parquet: one line of a solution is hidden. Exact match of the line
is the published metric; `--subset tests` runs the unit tests on the filled-in solution instead.
"""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict
from codling.evaluate.tasks.multipl_e import with_own_names
from codling.sandbox.executor import Program

_LANGUAGES = {"py": "python", "java": "java", "js": "js"}


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows in the file's order; `--language py`, java or js for one language."""
    path = data_dir / "hm-fim-santacoder" / "train.parquet"
    if not path.is_file():
        raise SourceError(f"no benchmark file {path}; see docs/evaluation.md")
    rows = pq.read_table(path).to_pylist()
    return [
        Problem(id=f"{row['language']}/{row['name']}", data=row, group=row["language"])
        for row in rows
        if config.language in ("", row["language"], _LANGUAGES[row["language"]])
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """The hole between prefix and suffix as they are, as bigcode's harness asks.

    The line breaks around the hidden line are in neither, so the answer brings its own. To add
    them here makes models indent by one level too few (docs/benchmarks.md).
    """
    return Prompt(hole=(problem.data["prompt"], problem.data["suffix"]))


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The first line that is not blank."""
    return next((line for line in text.split("\n") if line.strip()), "")


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """Exact match without outer spaces, or the tests."""
    expected = problem.data["canonical_solution"]
    if config.subset != "tests":
        return Verdict(passed=answer.strip() == expected.strip(), detail="another line")
    language, is_strict = _LANGUAGES[problem.group], config.verdicts == "strict"
    tests = problem.data["tests"]
    tests = with_own_names(language, tests) if is_strict else tests
    return Program(
        language=language,
        source=f"{_fill(problem.data, answer, prelude(TASK, config))}\n{tests}\n",
        seconds=config.timeout or 10.0,
        strict=is_strict,
    )


def _fill(data: Any, answer: str, before: str) -> str:  # noqa: ANN401 - a row of the data
    body = "\n".join([data["prompt"], answer, data["suffix"]])
    if data["language"] == "java":  # the tests bring the braces that close method and class
        body = body.rstrip().removesuffix("}").rstrip().removesuffix("}")
    start = before if data["language"] == "py" else ""
    return start + body


TASK = Task(
    name="fim-santacoder",
    about="insertion of one line in Python, Java, JavaScript (--subset tests: by tests)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    sampling=lambda _problem, _style: Sampling(max_tokens=64),
    canonical=lambda problem: str(problem.data["canonical_solution"]),
)
