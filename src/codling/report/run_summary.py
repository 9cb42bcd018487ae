"""The end of `codling grow` in the terminal: the verdict, what was kept, the loss, the scores, ten
insertions.

Input: a run folder. Output: text. Not here: the page with pictures (run_page.py).
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from codling.report.page import size_text
from codling.report.run_view import (
    RunView,
    Tally,
    describe_choice,
    pick_examples,
    serve_command,
    view_run,
)
from codling.report.verdict import judge

N_EXAMPLES = 10
CURVE_WIDTH = 60
CURVE_BARS = "▁▂▃▄▅▆▇█"


def summarise(run_dir: Path) -> str:
    """The summary of a finished run."""
    view = view_run(run_dir)
    blocks = [
        _verdict(view),
        _file_counts(view),
        _curve(view),
        _scores(view),
        _commits(view),
        _examples(pick_examples(view.insertions, N_EXAMPLES)),
        _next_steps(view),
    ]
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block)))


def sparkline(values: Sequence[float], width: int = CURVE_WIDTH) -> str:
    """Values as a row of bars, averaged down to `width`.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▄▁'
    """
    if not values:
        return ""
    n = min(width, len(values))
    cuts = [len(values) * i // n for i in range(n + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    scale = (len(CURVE_BARS) - 1) / (high - low) if high > low else 0
    return "".join(CURVE_BARS[int((m - low) * scale)] for m in means)


def _verdict(view: RunView) -> Iterator[str]:
    verdict = judge(view)
    if verdict is not None:
        yield verdict.text
        if verdict.cures:
            yield "What helps:"
        yield from (f"  {cure}" for cure in verdict.cures)


def _file_counts(view: RunView) -> Iterator[str]:
    n_files, n_bytes = sum(t.n_files for t in view.kept), sum(t.n_bytes for t in view.kept)
    n_heldout = view.heldout.n_files
    yield f"Kept {n_files:,} files, {size_text(n_bytes)}, of which held out {n_heldout:,}"
    yield from _table(view.kept[:8])
    n_dropped = sum(t.n_files for t in view.dropped)
    yield f"Dropped {n_dropped:,} files" + (", by rule, with an example:" if n_dropped else "")
    yield from _table(view.dropped)
    for note in view.left_out:
        yield f"Not done: {note}"
    if view.redactions:
        found = ", ".join(f"{kind} {n:,}" for kind, n in view.redactions)
        yield f"Redacted: {found}"


def _table(rows: Sequence[Tally]) -> Iterator[str]:
    for row in rows:
        shown = f"  {row.name:<22} {row.n_files:>7,} files {size_text(row.n_bytes):>9}"
        yield f"{shown}  {shorten(row.example, 70)}".rstrip()


def shorten(text: str, width: int) -> str:
    """A text of at most `width` characters, cut between words where there is a place to.

    >>> shorten("a/long/path.py: and its value", 20), shorten("short", 20)
    ('a/long/path.py: and…', 'short')
    """
    if len(text) <= width:
        return text
    head = text[: width - 1]
    if text[width - 1].isalnum():
        words = re.sub(r"\w+$", "", head)
        head = words if len(words) > width // 2 else head
    return head.rstrip() + "…"


def _curve(view: RunView) -> Iterator[str]:
    losses = [row["loss"] for row in view.curve]
    if not losses:
        return
    yield f"Training loss over {len(losses):,} steps: {losses[0]:.3f} -> {losses[-1]:.3f}"
    yield f"  {sparkline(losses)}"


def _scores(view: RunView) -> Iterator[str]:
    if not view.scores:
        return
    model, ngram = view.scores["model"], view.scores["ngram"]
    if base := view.scores.get("base"):
        yield f"{'On held-out code':<34}{'adapted':>10}{'base':>10}"
        yield from _score_lines(model, base)
        yield ""
    yield f"{'On held-out code':<34}{'model':>10}{'n-gram':>10}"
    yield from _score_lines(model, ngram)
    if asked := view.scores.get("asked"):
        yield f"  asked: {', '.join(f'{part} {n:,}' for part, n in asked.items())}"
    yield from (f"  {line}" for line in describe_choice(view.scores))


def _commits(view: RunView) -> Iterator[str]:
    """The arms on later commits: bits per byte, exact answers, characters not typed."""
    for each in view.commits:
        asked = each.scores["asked"]
        yield f"{asked['places']:,} places of {asked['commits']:,} later commits of {each.repo}"
        yield f"  {'':<26}{'bits per byte':>14}{'exact':>9}{'not typed':>11}"
        for arm, values in each.scores["arms"].items():
            bits, exact = values["bits_per_byte"]["value"], values["exact"]["value"]
            saved = values["not_typed"]["value"]
            yield f"  {arm:<26}{bits:>14.3f}{exact:>9.1%}{saved:>11.1%}"


def _score_lines(model: dict[str, Any], ngram: dict[str, Any]) -> Iterator[str]:
    yield _score_line("bits per byte (lower is better)", model, ngram, "bits_per_byte", "{:.3f}")
    yield _score_line("lines inserted exactly", model, ngram, "exact_match", "{:.1%}")
    yield _score_line("edit similarity", model, ngram, "edit_similarity", "{:.1%}")
    n_lines = model["n_lines"]
    saved = f"{model['n_lines_saved']} of {n_lines}", f"{ngram['n_lines_saved']} of {n_lines}"
    yield f"  {'lines it would have saved':<32}{saved[0]:>10}{saved[1]:>12}"


def _score_line(
    label: str, model: dict[str, Any], ngram: dict[str, Any], key: str, form: str
) -> str:
    return f"  {label:<32}{form.format(model[key]):>10}{form.format(ngram[key]):>10}"


def _examples(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield f"{len(rows)} insertions on held-out code (✓ = exactly the hidden line):"
    for row in rows:
        before = [line for line in row["prefix"].splitlines()[-4:-1] if line.strip()]
        mark = "✓" if row["model"] == row["truth"] else "✗"
        yield f"  {row['path']}:{row['line_number']} ({row['language']})"
        yield from (f"      {shorten(line, 90)}" for line in before[-2:])
        yield f"    truth  {row['truth']}"
        yield f"  {mark} model  {row['model']}"


def _next_steps(view: RunView) -> Iterator[str]:
    report = view.run_dir / "report" / "report.html"
    yield f"Report:  {os.path.relpath(report)}"
    yield from (f"Lines:   {os.path.relpath(each.page)}" for each in view.commits)
    yield f"Serve:   {serve_command(view, os.path.relpath(view.run_dir / 'checkpoint'))}"
