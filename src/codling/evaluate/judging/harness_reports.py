"""What other harnesses report of runs with tests: SWE-bench's and Defects4J's, and Aider's.

Input: rows of --judgments, in one of these forms. Output: scores.

    resolved_ids, total_instances     SWE-bench's report of a run
    resolved (a list of ids), ...     results.json of its leaderboard
    {instance: {resolved, ...}}       report.json of an instance
    instance_id, resolved             a row of our own predictions file with its verdict
    tests_outcomes, model             .aider.results.json of an exercise: whether each try passed

Not here: predictions files (tasks/swe_bench.py) and runs of our own (edit_talk.py).
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.tables import read_name, read_number
from codling.evaluate.task import Scores
from codling.grading.pass_at_k import share_score

Row = Mapping[str, Any]
_MAX_INSTANCES = 1_000_000
_ID = re.compile(r"[\w.-]+__[\w.-]+-\d+")
"""An instance: owner__repository-number."""


def score_resolved(
    rows: Sequence[Row], model: str, read_ids: Callable[[], Collection[str]]
) -> Mapping[str, Scores]:
    """The share that is resolved; nothing where no row says what was. SourceError for instances
    that the benchmark, whose ids `read_ids` gives, does not have.

    Reports that list ids, or have a file per instance, are about all problems, as published: what
    was not submitted is not resolved. Predictions that are all empty resolve nothing.
    """
    told = [row for row in rows if isinstance(row.get("resolved"), bool)]
    if told:
        return _share(model, *_count_verdicts(told, read_ids()))
    if all("model_patch" in row and not str(row["model_patch"] or "").strip() for row in rows):
        return _share(model, 0, len(rows))
    resolved: set[str] = set()
    totals: list[int] = []
    n_reports = 0
    for row in rows:
        ids = row.get("resolved_ids", row.get("resolved"))
        reports = {k: v for k, v in row.items() if isinstance(v, Mapping) and "resolved" in v}
        if isinstance(ids, list):
            resolved |= {read_name({"id": each}, "id") for each in ids}
            totals += _read_total(row)
        resolved |= {name for name, report in reports.items() if _read_verdict(name, report)}
        n_reports += isinstance(ids, list) or bool(reports)
    if not n_reports:
        return {}
    known = read_ids()
    n = max(totals) if totals else len(known)
    # A report of another edition (full, Verified) has ids that are not here.
    _refuse_strangers(resolved, known if n == len(known) else ())
    if len(resolved) > n:
        raise SourceError(f"the reports resolve {len(resolved)} instances of {n}")
    return _share(model, len(resolved), n)


def _count_verdicts(rows: Sequence[Row], known: Collection[str]) -> tuple[int, int]:
    """How many instances are resolved, and how many are judged."""
    names = [read_name(row, "instance_id") for row in rows]
    _refuse_strangers(names, known)
    twice = next((name for name, n in Counter(names).items() if n > 1), None)
    if twice is not None:
        raise SourceError(f"{twice} has two verdicts: give those of one run")
    return sum(bool(row["resolved"]) for row in rows), len(rows)


def _refuse_strangers(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse ids that the benchmark does not have, or, of another edition, that are no ids."""
    strange = [name for name in names if name not in known and (known or not _ID.fullmatch(name))]
    if strange:
        raise SourceError(
            f"the reports are about {len(strange)} instances that the benchmark's data do not "
            f"have ({', '.join(sorted(strange)[:3])[:120]})"
        )


def _read_total(row: Row) -> list[int]:
    """How many instances a report is about, where it says so."""
    n = read_number(row, "total_instances")
    if math.isnan(n):
        return []
    if not (n.is_integer() and 0 < n < _MAX_INSTANCES):
        raise SourceError(f"a report has {n:g} total_instances, which is no count")
    return [int(n)]


def _read_verdict(name: str, report: Row) -> bool:
    if not isinstance(report["resolved"], bool):
        raise SourceError(f"the report of {name[:60]!r} has resolved, but not as true or false")
    return bool(report["resolved"])


def score_attempts(rows: Sequence[Row], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """By model: the share of exercises passed at the last try, at the first, and without edits of
    a wrong form; SourceError for rows that are none of Aider's."""
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if not isinstance(row.get("tests_outcomes"), list):
            raise SourceError("Aider's results have tests_outcomes; these have not")
        if not all(isinstance(each, bool) for each in row["tests_outcomes"]):
            raise SourceError("Aider's tests_outcomes are true or false; these hold something else")
        by_model[str(row.get("model") or config.model_name)].append(row)
    return {model: _attempts(each) for model, each in sorted(by_model.items())}


def _attempts(rows: Sequence[Row]) -> Scores:
    # Of no tests nothing passed; a first try that passed is the only one.
    passed = [row["tests_outcomes"] for row in rows if any(row["tests_outcomes"][-1:])]
    well_formed = sum(not read_number(row, "num_malformed_responses") > 0 for row in rows)
    return {
        "passed": share_score(len(passed), len(rows)),
        "passed at once": share_score(sum(len(tries) == 1 for tries in passed), len(rows)),
        "well-formed": share_score(well_formed, len(rows)),
    }


def _share(model: str, n_resolved: int, n: int) -> Mapping[str, Scores]:
    return {model: {"resolved": share_score(n_resolved, n)}}
