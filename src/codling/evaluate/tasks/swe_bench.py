"""SWE-bench and Defects4J: repairs that the authors' own harness judges, prepared and written here.

Data: swe-bench-lite/*.jsonl (or swe-bench/*.jsonl) with the issues; defects4j as published
(framework/projects/PROJECT with patches and trigger tests) is metadata without sources, so a
checkout's bugs are rows of defects4j/bugs.jsonl ({project, bug, path, source, trigger}). A chat is
asked for a unified diff (SWE-bench) or the repaired file (Defects4J). The report's judgments.jsonl
is the predictions file: `swebench.harness.run_evaluation --predictions_path judgments.jsonl`.
Nothing is judged here: neither containers nor the projects' checkouts are in the sandbox.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Scores, Task, Verdict, ask, read_lines
from codling.grading.fences import find_blocks, strip_thoughts

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
    rows = (row for path in files for row in read_lines(path))
    return [Problem(id=row["instance_id"], data=row, group=row["repo"]) for row in rows]


def load_bugs(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:  # noqa: ARG001
    """The bugs by project."""
    rows = read_lines(data_dir / "defects4j" / "bugs.jsonl")
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


def extract_diff(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The diff of the last block, or of the text from its first header on."""
    said = strip_thoughts(text)
    blocks = [b.code for b in find_blocks(said) if re.search(r"^(?:---|diff --git) ", b.code, re.M)]
    found = blocks[-1] if blocks else said
    start = re.search(r"^(?:diff --git|--- )", found, re.M)
    return found[start.start() :].rstrip() + "\n" if start else ""


def extract_file(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The repaired file as a diff against the faulty one."""
    blocks = find_blocks(strip_thoughts(text))
    if not blocks:
        return ""
    path = problem.data["path"]
    old, new = (t.rstrip("\n").split("\n") for t in (problem.data["source"], blocks[-1].code))
    lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return "\n".join(lines) + "\n"


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:
    """Not judged here: a row of the predictions file. An empty answer repairs nothing."""
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
    name="swe-bench", about="issues of Python repositories: answers for the official harness",
    load=load_issues, prompt=ask_issue, extract=extract_diff, check=check, score=score,
    read_answers=read_answers, sampling=lambda _problem, _style: _SAMPLING, takes=("subset",),
)  # fmt: skip
BUGS = Task(
    name="defects4j", about="bugs of Java projects: answers for the official harness",
    load=load_bugs, prompt=ask_bug, extract=extract_file, check=check, score=score,
    sampling=lambda _problem, _style: _SAMPLING, takes=(),
)  # fmt: skip
