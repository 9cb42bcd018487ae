"""report.html: one self-contained page about a run, with curves, tables and insertions to read.

Input: a run folder. Output: an artefact of kind "report" with report.html; nothing is fetched from
anywhere when it is opened.

Not here: what is shown (run_view.py), and the summary in the terminal (run_summary.py).
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from markupsafe import Markup

from codling import __version__
from codling.core.errors import SourceError
from codling.core.files import write_text
from codling.core.ranges import Range, Ranged
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.report.drawing import draw, script, style
from codling.report.page import duration_text, render_page
from codling.report.run_view import (
    RunView,
    Tally,
    describe_choice,
    pick_examples,
    serve_command,
    view_run,
)
from codling.report.verdict import judge


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Ranged):
    """Settings of `codling report`."""

    run_dir: Path = aside()
    """Folder of a run of `codling grow`."""
    out_dir: Path = aside()
    """Folder of the report."""
    n_examples: Annotated[int, Range(0, 10_000)] = 10
    """Insertions shown in full."""


if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, BLUE, ORANGE = "#1c2733", "#1f5fa8", "#c2571a"
PAGE_COLORS = {INK: "ink", BLUE: "blue", ORANGE: "orange"}
"""Drawn in these, the curve takes the page's colours of the same names, light or dark."""
CONTEXT_LINES = 6
"""Lines shown before and after a hidden line."""


@stage("report", version=3)
def report(config: ReportConfig) -> Work:
    """One self-contained HTML page of a run.

    Example:
        codling report --run-dir runs/stdlib --out-dir runs/stdlib/report
    """
    view = view_run(config.run_dir)
    if not view.artifacts:
        raise SourceError(
            f"{config.run_dir} holds no run of codling grow; name the folder that it made, such as "
            "runs/stdlib"
        )
    draft = yield list(view.artifacts.values())
    page = render(view, config.n_examples)
    write_text(draft.file("report.html"), page)
    draft.counts["bytes"] = len(page.encode())


def render(view: RunView, n_examples: int) -> str:
    """The page as HTML."""
    drawn = [
        {
            "repo": graph.name,
            "n_files": len(graph.paths),
            "n_edges": graph.n_edges,
            "svg": draw(graph),
        }
        for graph in view.subgraphs
    ]
    examples = pick_examples(view.insertions, n_examples)
    return render_page(
        "codling.report",
        "report.html",
        view=view,
        serve_command=serve_command(view, f"{view.run_dir}/checkpoint"),
        name=view.run_dir.resolve().name,
        version=__version__,
        verdict=judge(view),
        facts=_facts(view),
        choice=describe_choice(view.scores),
        loss_curve=Markup(_loss_curve(view.curve)),
        load_color=load_color,
        examples=[
            {**row, "before": _context(row, "before"), "after": _context(row, "after")}
            for row in examples
        ],
        subgraphs=drawn,
        graph_style=style(),
        graph_script=script(),
        largest_kept=_largest(view.kept),
        largest_dropped=_largest(view.dropped),
    )


def _largest(tallies: Sequence[Tally]) -> int:
    """The bytes of the longest bar, at least 1: the files may all be empty."""
    return max((t.n_bytes for t in tallies), default=0) or 1


def _loss_curve(rows: Sequence[dict[str, Any]]) -> str:
    """The training loss and the held-out loss over steps as SVG, text drawn as paths."""
    if not rows:
        return ""
    # Imported here: it takes half a second, and only this drawing needs it.
    from matplotlib.figure import Figure

    with _page_style():
        return _draw(Figure(figsize=(8, 3), layout="constrained"), rows)


def _draw(figure: "Figure", rows: Sequence[dict[str, Any]]) -> str:
    axes = figure.subplots()
    steps = [row["step"] for row in rows]
    losses = [row["loss"] for row in rows]
    axes.plot(steps, losses, color=BLUE, alpha=0.35, linewidth=0.8, label="training")
    axes.plot(steps, smooth(losses), color=BLUE, label="training, averaged")
    held = [(row["step"], row["heldout_loss"]) for row in rows if row.get("heldout_loss")]
    if held:
        axes.plot(*zip(*held, strict=True), "o-", color=ORANGE, markersize=3, label="held out")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
    for color, name in PAGE_COLORS.items():
        svg = svg.replace(color, f"var(--{name})")
    return svg


def _page_style() -> Any:  # noqa: ANN401  matplotlib's context manager has no public type
    """The page's ink; a fixed salt, so that the same curve gives the same bytes."""
    import matplotlib as mpl

    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {**dict.fromkeys(names, INK), "grid.color": INK}
    settings |= {"svg.hashsalt": "codling", "svg.fonttype": "path"}
    return mpl.rc_context(settings)


def load_color(load: float) -> str:
    """The colour of an expert's load: pale at 1, full orange from 3 on, full blue at 0.

    >>> load_color(1.0), load_color(3.0), load_color(0.0)
    ('hsl(30 90% 92%)', 'hsl(30 90% 50%)', 'hsl(215 90% 50%)')
    """
    hue, strength = (30, (load - 1) / 2) if load >= 1 else (215, 1 - load)
    return f"hsl({hue} 90% {92 - 42 * min(1.0, max(0.0, strength)):.0f}%)"


def smooth(values: Sequence[float]) -> list[float]:
    """The mean around each value, over a twentieth of all on either side and fewer at the ends.

    As many before as after, so that the curve neither lags nor leads.

    >>> smooth([4.0, 3.0, 2.0, 1.0])
    [4.0, 3.0, 2.0, 1.0]
    """
    sums = [0.0, *accumulate(values)]
    half = max(1, len(values) // 20)
    smoothed = []
    for i in range(len(values)):
        reach = min(half, i, len(values) - 1 - i)
        smoothed.append((sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1))
    return smoothed


def _facts(view: RunView) -> list[tuple[str, str]]:
    """Date, size and durations, from the manifests."""
    facts: list[tuple[str, str]] = []
    if checkpoint := view.artifacts.get("checkpoint") or view.artifacts.get("adapted"):
        counts = checkpoint.counts
        facts.append(("trained", _date(checkpoint.manifest.finished)))
        facts.append(("parameters", f"{counts.get('parameters', 0):,}"))
        facts.append(("steps", f"{counts.get('n_steps', 0):,}"))
        facts.append(("training", duration_text(counts.get("seconds", 0.0))))
    if view.artifacts:
        seconds = sum(a.manifest.seconds for a in view.artifacts.values())
        facts.append(("the whole path", duration_text(seconds)))
    return [(name, value) for name, value in facts if value]


def _date(finished: str) -> str:
    """ "2026-11-26 23:17 UTC" of the manifest's date."""
    return finished[:16].replace("T", " ") + " UTC" if finished else ""


def _context(row: dict[str, Any], side: str) -> str:
    """The lines around a hidden line, as much as fits on the page."""
    if side == "before":
        lines = row["prefix"].split("\n")
        return "\n".join(lines[-CONTEXT_LINES - 1 :])
    return "\n".join(row["suffix"].split("\n")[: CONTEXT_LINES + 1])
