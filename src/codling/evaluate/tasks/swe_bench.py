"""SWE-bench: repairs that the authors' own harness judges, prepared and written here.

Data: swe-bench-lite/*.jsonl (or swe-bench/*.jsonl) with the issues. A chat is asked for a unified
diff. The report's judgments.jsonl is the predictions file:
`swebench.harness.run_evaluation --predictions_path judgments.jsonl`. `--subset run` judges those
whose sources lie in swe-bench-lite/trees (repair_trees.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.harness_reports import score_resolved
from codling.evaluate.repair_trees import has_tree, repair_program
from codling.evaluate.task import Problem, Prompt, Sampling, Scores, Task, Verdict, ask, read_lines
from codling.grading.diffs import extract_diff
from codling.sandbox.executor import Program

_ISSUE = (
    "Repair the repository {repo} at commit {commit} by this issue. Reply with a unified diff "
    "(git apply takes it) in one code block.\n\n{prompt}"
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


def ask_issue(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The issue's text."""
    data = problem.data
    text = data["problem_statement"]
    return ask(_ISSUE, config, prompt=text, repo=data["repo"], commit=data["base_commit"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict | Program:
    """Sources that are here are tested, others get a row of the predictions file; an empty answer
    repairs nothing."""
    if config.subset == "run":
        folder, strict = config.data_dir / "swe-bench-lite", config.verdicts == "strict"
        return repair_program(folder, problem.data, answer, config.timeout or 300.0, strict)
    return predict(problem, answer, config)


def predict(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:
    """A row of the predictions file, which decides nothing here."""
    row = {"instance_id": problem.id, "model_name_or_path": config.model_name}
    row["model_patch"] = answer
    if not answer.strip():
        return Verdict(detail="an empty patch, which resolves nothing", judgments=(row,))
    return Verdict(skipped=True, detail=UNJUDGED, judgments=(row,))


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """From reports of the official harness: the share that is resolved; else nothing."""
    return score_resolved(
        rows, config.model_name, lambda: {p.id for p in load_issues(config.data_dir, config)}
    )


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
