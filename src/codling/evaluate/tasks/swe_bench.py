"""SWE-bench and Defects4J: repairs that the authors' own harness judges, prepared and written here.

Data: swe-bench-lite/*.jsonl (or swe-bench/*.jsonl) with the issues; defects4j as published
(framework/projects with patches and failing tests, or its .tar.gz) and beside it checkouts/ or
trees/ (java_bugs.py), or rows of bugs.jsonl ({project, bug, path, source, trigger}). A chat is
asked for a unified diff (SWE-bench) or the repaired file (Defects4J). The report's judgments.jsonl
is the predictions file: `swebench.harness.run_evaluation --predictions_path judgments.jsonl`.
`--subset run` judges those whose sources lie in trees/ (repair_trees.py, java_bugs.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate import java_bugs
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.repair_trees import has_tree, repair_program
from codling.evaluate.task import Problem, Prompt, Sampling, Scores, Task, Verdict, ask, read_lines
from codling.grading.diffs import diff_of_block, extract_diff
from codling.sandbox.executor import Program

_ISSUE = (
    "Repair the repository {repo} at commit {commit} by this issue. Reply with a unified diff "
    "(git apply takes it) in one code block.\n\n{prompt}"
)
_BUG = (
    "A test of this Java project fails:\n\n{trigger}\n\nRepair {path}, in one method. Reply with "
    "the whole file in one code block.\n\n```java\n{prompt}\n```"
)
UNJUDGED = "the official harness decides: judgments.jsonl is its predictions file"


def load_issues(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The issues by repository."""
    folder = "swe-bench" if config.subset == "full" else "swe-bench-lite"
    files = sorted((data_dir / folder).glob("*.jsonl*"))
    if not files:
        raise SourceError(f"no issues (*.jsonl) in {data_dir / folder}")
    rows = [row for path in files for row in read_lines(path)]
    if config.subset == "run":
        rows = [row for row in rows if has_tree(data_dir / folder, row)]
    return [Problem(id=row["instance_id"], data=row, group=row["repo"]) for row in rows]


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


def ask_issue(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The issue's text."""
    data = problem.data
    text = data["problem_statement"]
    return ask(_ISSUE, config, prompt=text, repo=data["repo"], commit=data["base_commit"])


def ask_bug(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The failing test and the faulty file."""
    data = problem.data
    return ask(_BUG, config, prompt=data["source"], path=data["path"], trigger=data["trigger"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict | Program:
    """Sources that are here are tested, others get a row of the predictions file; an empty answer
    repairs nothing."""
    if config.subset == "run":
        seconds, strict = config.timeout or 300.0, config.verdicts == "strict"
        if "place" in problem.data:
            return java_bugs.repair_program(problem.data, answer, seconds, strict)
        folder = config.data_dir / "swe-bench-lite"
        return repair_program(folder, problem.data, answer, seconds, strict)
    row = {"instance_id": problem.id, "model_name_or_path": config.model_name}
    row["model_patch"] = answer
    return Verdict(skipped=bool(answer.strip()), detail=UNJUDGED, judgments=(row,))


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """From a report of the official harness: the share that is resolved; else nothing."""
    told = [row for row in rows if "resolved" in row]
    share = sum(bool(row["resolved"]) for row in told) / len(told) if told else 0.0
    found = {"value": share, "low": share, "high": share, "n": len(told), "scale": 100}
    return {config.model_name: {"resolved": found} if told else {}}


def read_answers(row: Mapping[str, Any]) -> tuple[str, Sequence[str]] | None:
    """A row of a predictions file."""
    if "instance_id" not in row:
        return None
    said = row.get("model_patch", row.get("response")) or ""
    return str(row["instance_id"]), [str(said)]


_SAMPLING = Sampling(max_tokens=4096)

ISSUES = Task(
    name="swe-bench",
    about="issues of Python repositories: answers for the official harness (--subset run: here)",
    load=load_issues,
    prompt=ask_issue,
    extract=lambda _problem, text, _style: extract_diff(text),
    check=check,
    score=score,
    canonical=lambda problem: problem.data.get("patch"),
    read_answers=read_answers,
    sampling=lambda _problem, _style: _SAMPLING,
    takes=("subset",),
)
BUGS = Task(
    name="defects4j",
    about="bugs of Java projects: answers for the official harness (--subset run: here)",
    load=load_bugs,
    prompt=ask_bug,
    extract=lambda p, text, _style: diff_of_block(p.data["path"], p.data["source"], text),
    check=check,
    score=score,
    canonical=lambda problem: java_bugs.own_repair(problem.data),
    read_answers=read_answers,
    sampling=lambda _problem, _style: _SAMPLING,
    takes=("subset",),
)
