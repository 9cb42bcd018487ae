"""The table of later commits: every arm by every measure, with intervals, and the sentence.

Input: the questions, and what every arm answered and held. Output: scores.json as plain values.

Not here: the measures themselves (measures.py), and how the table is shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from codling.core.errors import ConfigError
from codling.evaluate.heldout.arms import REFERENCE, REMEMBERING, TUNED, Arm, subject
from codling.evaluate.heldout.commit_verdict import judge_commits, shows_gain, tuning_text
from codling.evaluate.heldout.commits import CommitQuestion, CommitQuestions
from codling.evaluate.heldout.insertion import edit_similarity
from codling.evaluate.heldout.measures import (
    Interval,
    Numbers,
    Resampling,
    as_json,
    first_statement,
    interval,
    name_f1,
)
from codling.evaluate.heldout.show_filter import choose_shown

Found = Mapping[tuple[str, int], Mapping[str, Any]]
Estimates = dict[str, tuple[float, Numbers]]
QUANTILES = {"ms_p50": 0.5, "ms_p95": 0.95}


def commit_table(
    asked: CommitQuestions, arms: Sequence[Arm], found: Found, seed: int, cutoff: str | None
) -> dict[str, Any]:
    """Everything that scores.json says about the questions."""
    questions = asked.questions
    numbers = list(range(len(questions)))
    table = _table(questions, numbers, arms, found, seed)
    about = subject(arms)
    change = _intervals(table["differences"][about.name])
    values = {name: v["value"] for name, v in table["arms"][REFERENCE.name].items()}
    verdict = judge_commits(about.name, change, values, len(questions), asked.n_commits)
    gains = _gains(table, asked.n_commits)
    if about == TUNED:
        more = tuning_text(_intervals(table["tuning"]), table["arms"][REMEMBERING.name])
        verdict = replace(verdict, text=f"{verdict.text} {more}")
    groups = _by_cutoff(questions, cutoff) if cutoff else {}
    return {
        "verdict": asdict(verdict),
        "gains": gains,
        "cut": asdict(asked.cut),
        "asked": {
            "places": len(questions),
            "commits": asked.n_commits,
            "blocks": sum(q.n_lines > 1 for q in questions),
            "languages": dict(Counter(q.language for q in questions).most_common()),
        },
        "left_out": {k: dict(v.most_common()) for k, v in asked.left_out.items()},
        "reference": REFERENCE.name,
        "subject": about.name,
        **table,
        "by_cutoff": {
            name: {"places": len(some), **_table(questions, some, arms, found, seed)}
            for name, some in groups.items()
            if some
        },
    }


def _gains(table: Mapping[str, Any], n_commits: int) -> dict[str, bool]:
    """Which of them is shown to help: the memory beside the base, tuning beside both."""
    changes = {"memory": table["differences"][REMEMBERING.name], "tuned": table["tuning"]}
    return {
        name: change is not None and shows_gain(_intervals(change), n_commits)
        for name, change in changes.items()
    }


def _intervals(stored: Mapping[str, Mapping[str, float]]) -> dict[str, Interval]:
    return {name: Interval(**values) for name, values in stored.items()}


def day_of(cutoff: str) -> float:
    """A day as Unix seconds; ConfigError if it is not one."""
    try:
        moment = datetime.fromisoformat(cutoff)
    except ValueError:
        raise ConfigError(f"cutoff is {cutoff!r}; write it like 2024-06-30") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _table(
    questions: Sequence[CommitQuestion],
    numbers: Sequence[int],
    arms: Sequence[Arm],
    found: Found,
    seed: int,
) -> dict[str, Any]:
    """Values by arm, differences to the reference, and those of tuning alone."""
    draws = Resampling([questions[i].commit for i in numbers], seed)
    estimates = {
        arm.name: _estimates([(questions[i], found[arm.name, i]) for i in numbers], draws)
        for arm in arms
    }
    tuned = estimates.get(TUNED.name)
    return {
        "arms": {
            arm: {name: as_json(interval(*pair)) for name, pair in values.items()}
            for arm, values in estimates.items()
        },
        "differences": {
            arm: _differences(values, estimates[REFERENCE.name])
            for arm, values in estimates.items()
            if arm != REFERENCE.name
        },
        "tuning": tuned and _differences(tuned, estimates[REMEMBERING.name]),
    }


def _differences(values: Estimates, others: Estimates) -> dict[str, dict[str, float]]:
    """The difference of each measure from another arm's, draw by draw."""
    return {
        name: as_json(interval(value - others[name][0], drawn - others[name][1]))
        for name, (value, drawn) in values.items()
    }


def _estimates(
    pairs: Sequence[tuple[CommitQuestion, Mapping[str, Any]]], draws: Resampling
) -> Estimates:
    """Each measure: its value, and its value in every draw."""
    ones = np.ones(len(pairs))
    texts = [(q.truth, row["answer"]) for q, row in pairs]
    f1 = [name_f1(*each) for each in texts]
    right = [t == a for t, a in texts]
    shown = choose_shown([row["sure"] for _, row in pairs], right, [q.commit for q, _ in pairs])
    shares = {
        "exact": (np.array(right, np.float64), ones),
        "first_statement": (
            np.array([float(first_statement(t) == first_statement(a)) for t, a in texts]),
            ones,
        ),
        "edit_similarity": (np.array([edit_similarity(*each) for each in texts]), ones),
        "name_f1": (
            np.array([value or 0.0 for value in f1]),
            np.array([float(value is not None) for value in f1]),
        ),
        "bits_per_byte": (_column(pairs, "bits"), _column(pairs, "n_bytes")),
        "not_typed": (_column(pairs, "saved"), _column(pairs, "n_chars")),
        "shown": (shown.astype(np.float64), ones),
        "right_of_shown": ((shown & np.array(right)).astype(np.float64), shown.astype(np.float64)),
    }
    estimates = {name: draws.ratio(*each) for name, each in shares.items()}
    times = _column(pairs, "ms")
    return estimates | {name: draws.quantile(times, q) for name, q in QUANTILES.items()}


def _column(pairs: Sequence[tuple[CommitQuestion, Mapping[str, Any]]], name: str) -> Numbers:
    return np.array([float(row[name]) for _, row in pairs])


def _by_cutoff(questions: Sequence[CommitQuestion], cutoff: str) -> dict[str, list[int]]:
    """Numbers of the questions up to a day, and after it."""
    second = day_of(cutoff)
    return {
        "older": [i for i, q in enumerate(questions) if q.second <= second],
        "newer": [i for i, q in enumerate(questions) if q.second > second],
    }
