"""before-after.html: the table of later commits, then real lines side by side, one page.

Input: scores.json and answers.jsonl of a "commit-scores" artefact, as plain values. Output: the
page: nothing is fetched when it is opened, and it has a dark mode.

Not here: asking and measuring (evaluate/heldout/score_commits.py).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from codling.report.page import render_page

MAX_SHOWN = 200
"""Places shown of each kind: gains, losses, no change."""
CONTEXT_LINES = 5
MEASURES = (
    ("exact", "exact", 100, "%"),
    ("first_statement", "first statement", 100, "%"),
    ("edit_similarity", "edit similarity", 100, "%"),
    ("name_f1", "names, F1", 100, "%"),
    ("bits_per_byte", "bits per byte", 1, ""),
    ("not_typed", "not typed", 100, "%"),
    ("shown", "shown", 100, "%"),
    ("right_of_shown", "right of shown", 100, "%"),
    ("ms_p50", "ms, p50", 1, ""),
    ("ms_p95", "ms, p95", 1, ""),
)
"""Key, heading, factor and unit of every column."""


def before_after_page(scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The page as HTML."""
    about, reference = scores["subject"], scores["reference"]
    shown = [_shorten_row(row, about, reference) for row in rows]
    gains = sorted((r for r in shown if r["gain"] > 0), key=lambda r: -r["gain"])
    losses = sorted((r for r in shown if r["gain"] < 0), key=lambda r: r["gain"])
    same = sorted((r for r in shown if r["gain"] == 0), key=lambda r: -abs(r["bits_saved"]))
    groups = [
        (f"Gains of {about}", gains),
        (f"Losses of {about}", losses),
        ("No change", same),
    ]
    return render_page(
        "codling.report",
        "before_after.html",
        scores=scores,
        learned_on=datetime.fromtimestamp(scores["cut"]["second"], UTC).date(),
        measures=MEASURES,
        table=[(name, _cells(values)) for name, values in scores["arms"].items()],
        changes=[(name, _cells(values)) for name, values in scores["differences"].items()],
        groups=[(title, some[:MAX_SHOWN], len(some)) for title, some in groups],
        languages=sorted({r["language"] for r in shown}),
        paths=sorted({r["path"] for r in shown}),
    )


def _cells(values: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """(value, interval) of every measure, formatted."""
    cells = []
    for key, _, factor, unit in MEASURES:
        value, low, high = (factor * values[key][name] for name in ("value", "low", "high"))
        digits = 3 if key == "bits_per_byte" else 0 if key.startswith("ms") else 1
        cells.append((f"{value:.{digits}f}{unit}", f"{low:.{digits}f} to {high:.{digits}f}"))
    return cells


def _shorten_row(row: Mapping[str, Any], about: str, reference: str) -> dict[str, Any]:
    """A place with its surroundings cut to a few lines."""
    before = row["prefix"].split("\n")[-CONTEXT_LINES - 1 :]
    after = row["suffix"].split("\n")[: CONTEXT_LINES + 1]
    answers = [(name, text, text == row["truth"]) for name, text in row["answers"].items()]
    return {
        **row,
        "before": "\n".join(before),
        "after": "\n".join(after),
        "gain": row["similarity"][about] - row["similarity"][reference],
        "bits_saved": row["bits"][reference] - row["bits"][about],
        "answers": answers,
    }
