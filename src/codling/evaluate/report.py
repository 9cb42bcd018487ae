"""report.html: one self-contained page about a run, with curves, tables and insertions to read.

Input: a run folder. Output: an artefact of kind "report" with report.html; nothing is fetched from
anywhere when it is opened.

Not here: what is shown (view.py), and the summary in the terminal (summary.py).
"""

import io
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from codling import __version__
from codling.core.artifact import Artifact, Draft, produce
from codling.core.files import write_text
from codling.core.page import render_page
from codling.corpus.drawing import draw, script, style
from codling.evaluate.heldout_config import ReportConfig
from codling.evaluate.view import RunView, pick_examples, view_run

STAGE_VERSION = 2
CONTEXT_LINES = 6
"""Lines shown before and after a hidden line."""


def report(config: ReportConfig) -> Artifact:
    """One self-contained HTML page of a run.

    Example:
        codling report --run-dir runs/stdlib --out-dir runs/stdlib/report
    """
    view = view_run(config.run_dir)

    def work(draft: Draft) -> None:
        page = render(view, config.n_examples)
        write_text(draft.file("report.html"), page)
        draft.counts["bytes"] = len(page.encode())

    return produce(
        config.out_dir,
        kind="report",
        version=STAGE_VERSION,
        config=config,
        inputs=list(view.artifacts.values()),
        work=work,
    )


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
        "codling.evaluate",
        "report.html",
        view=view,
        name=view.run_dir.resolve().name,
        version=__version__,
        loss_curve=Markup(_loss_curve(view.curve)),
        examples=[
            {**row, "before": _context(row, "before"), "after": _context(row, "after")}
            for row in examples
        ],
        subgraphs=drawn,
        graph_style=style(),
        graph_script=script(),
        largest_kept=max((t.n_bytes for t in view.kept), default=1),
        largest_dropped=max((t.n_files for t in view.dropped), default=1),
    )


def _loss_curve(rows: Sequence[dict[str, Any]]) -> str:
    """The training loss and the held-out loss over steps as SVG, text drawn as paths."""
    if not rows:
        return ""
    # Imported here: it takes half a second, and only this drawing needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    steps = [row["step"] for row in rows]
    axes.plot(
        steps, [row["loss"] for row in rows], color="#8fb3d9", linewidth=0.8, label="training"
    )
    axes.plot(steps, _smooth([row["loss"] for row in rows]), color="#1f5fa8", label="smoothed")
    held = [(row["step"], row["heldout_loss"]) for row in rows if row.get("heldout_loss")]
    if held:
        axes.plot(*zip(*held, strict=True), "o-", color="#c2571a", markersize=3, label="held out")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.StringIO()
    # A fixed salt and no date, so that the same curve gives the same bytes.
    with _reproducible_svg():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)


def _reproducible_svg() -> Any:  # noqa: ANN401  matplotlib's context manager has no public type
    import matplotlib as mpl

    return mpl.rc_context({"svg.hashsalt": "codling", "svg.fonttype": "path"})


def _smooth(values: Sequence[float], weight: float = 0.95) -> list[float]:
    """Exponential moving average, corrected for its start."""
    smoothed, average, total = [], 0.0, 0.0
    for value in values:
        average = weight * average + (1 - weight) * value
        total = weight * total + (1 - weight)
        smoothed.append(average / total)
    return smoothed


def _context(row: dict[str, Any], side: str) -> str:
    """The lines around a hidden line, as much as fits on the page."""
    if side == "before":
        lines = row["prefix"].split("\n")
        return "\n".join(lines[-CONTEXT_LINES - 1 :])
    return "\n".join(row["suffix"].split("\n")[: CONTEXT_LINES + 1])
