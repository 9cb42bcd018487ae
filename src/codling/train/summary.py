"""What is said of a step while a run goes on, and of the run when it is finished.

Input: a row of metrics; a position and metrics.jsonl. Output: a line; a Summary.

Not here: what is measured (trainer.py, rates.py), and the page (report/watch.py).
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from codling.core.files import read_json_lines
from codling.train.readings import Row
from codling.train.state import Position

METRICS = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a finished run did."""

    n_steps: int
    n_skipped: int
    n_tokens: int
    seconds: float
    loss: float | None
    """Mean over the last twentieth of the steps, nats per token."""
    heldout_loss: float | None
    """The last one measured; in runs that keep their best weights, that of these weights."""
    heldout_loss_before: float | None = None
    best_step: int | None = None
    """In runs that keep their best weights: the step after which the model had them."""
    n_processes: int = 1
    """Processes of this machine that shared every batch."""
    compiled: bool = False
    """Whether the model was compiled."""
    n_spikes: int = 0
    """Batches that were skipped because the loss jumped."""
    n_rollbacks: int = 0
    """How often the run went back to a saved state after such batches."""
    waiting_share: float | None = None
    """Share of the steps' time that was spent waiting for data."""


def summarize(at: Position, log: Path | None, n_tokens: int, *, keeps_best: bool) -> Summary:
    """The summary of a finished run of `n_tokens`; without its log, as other ranks have none."""
    # From the file, not from memory: a resumed run has not seen its first part.
    rows = list(read_json_lines(log)) if log is not None else []
    last = [r["loss"] for r in rows[-max(1, at.n_steps // 20) :] if r["loss"] is not None]
    heldout = [r["heldout_loss"] for r in rows if "heldout_loss" in r]
    waited = sum(r.get("seconds_waited", 0.0) for r in rows)
    return Summary(
        n_steps=at.n_steps,
        n_skipped=at.n_skipped,
        n_tokens=n_tokens,
        seconds=round(at.seconds, 3),
        loss=statistics.fmean(last) if last else None,
        heldout_loss=at.best_loss if keeps_best else heldout[-1] if heldout else None,
        heldout_loss_before=at.first_loss,
        best_step=at.best_step if keeps_best else None,
        n_processes=at.n_members,
        compiled=at.compiled,
        n_spikes=at.n_spikes,
        n_rollbacks=at.n_rollbacks,
        waiting_share=round(waited / at.seconds, 5) if rows and at.seconds else None,
    )


def describe_step(row: Row, *, is_starved: bool) -> str:
    """What the progress bar says of a step."""
    shown = [
        "skipped: not finite" if row["loss"] is None else f"loss {row['loss']:.3f}",
        f"{row['tokens_per_second']:,.0f} tokens/s",
    ]
    if row["bits_per_byte"] is not None:
        shown.insert(1, f"{row['bits_per_byte']:.3f} bits/byte")
    if "mfu" in row:
        shown.append(f"MFU {row['mfu']:.0%}")
    if row["grad_norm"] is not None:
        shown.append(f"gradient {row['grad_norm']:.2g}")
    if "expert_load" in row:
        shown.append(f"busiest expert x{row['expert_load']:.1f}")
    if is_starved:
        shown.append(f"WAITS FOR DATA {row['waiting_share']:.0%}")
    return ", ".join(shown)
