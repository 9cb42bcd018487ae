"""Defects4J: repairs of bugs of Java projects, prepared here, and tested where that is possible.

Data: defects4j as published (framework/projects with patches and failing tests, or its .tar.gz),
and beside it checkouts/ or trees/ (java_bugs.py), or rows of bugs.jsonl ({project, bug, path,
source, trigger}). A chat is asked for the repaired file. The report's judgments.jsonl holds a diff
for each bug, to be applied to its checkout before `defects4j test` (docs/evaluation.md);
`--subset run` tests the bugs that can be put back into Debian's sources.
"""

import re
from pathlib import Path

from codling.core.errors import SourceError
from codling.evaluate import java_bugs
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.evaluate.tasks.swe_bench import predict, read_answers, score
from codling.grading.diffs import diff_of_block, extract_diff
from codling.sandbox.executor import Program

_BUG = (
    "A test of this Java project fails:\n\n{trigger}\n\nRepair {path}, in one method. Reply with "
    "the whole file in one code block.\n\n```java\n{prompt}\n```"
)


def load_bugs(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The bugs by project."""
    folder = data_dir / "defects4j"
    written = folder / "bugs.jsonl"
    if config.subset == "run":
        rows = java_bugs.released_bugs(folder)
    else:
        rows = [*(read_lines(written) if written.exists() else ())]
        rows += java_bugs.checked_out_bugs(folder)
    if not rows:
        raise SourceError(
            f"no bugs in {folder}: defects4j checkout -p Lang -v 1b -w {folder}/checkouts/Lang-1b; "
            "or --subset run for those that can be tested here"
        )
    return [
        Problem(id=f"{row['project']}-{row['bug']}", data=row, group=row["project"]) for row in rows
    ]


def ask_bug(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The failing test and the faulty file."""
    data = problem.data
    return ask(_BUG, config, prompt=data["source"], path=data["path"], trigger=data["trigger"])


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The diff from the faulty file to the one that was said; a diff as it is."""
    said = extract_diff(text)
    if re.search(r"^@@ -\d", said, re.M):
        return said
    return diff_of_block(problem.data["path"], problem.data["source"], text)


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict | Program:
    """The tests where the release is here, else a row of the predictions file."""
    if config.subset != "run":
        return predict(problem, answer, config)
    seconds, strict = config.timeout or 300.0, config.verdicts == "strict"
    return java_bugs.repair_program(problem.data, answer, seconds, strict)


TASK = Task(
    name="defects4j",
    about="bugs of Java projects: answers for the official harness (--subset run: here)",
    load=load_bugs,
    prompt=ask_bug,
    extract=extract,
    check=check,
    score=score,
    canonical=lambda problem: java_bugs.own_repair(problem.data),
    read_answers=read_answers,
    sampling=lambda _problem, _style: Sampling(max_tokens=4096),
    takes=("subset",),
)
