"""The verdict on a run: whether the model beats the simplest baseline, and what to do.

Input: what a run made. Output: one sentence and its cures. Not here: how it is shown
(run_summary.py, report.html).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codling.core.adapted import tuning_helped
from codling.report.run_view import CommitScores, RunView

FEW_STEPS = 100
"""Below this a model has hardly begun to learn."""
CURES = (
    "train longer: the same command with more --minutes",
    "keep the machine free while it trains: beside other work it makes far fewer steps",
    "or serve a published model of code as it is: codling serve FOLDER or FILE.gguf",
)

ADAPTING_CURES = (
    "more text: further repositories of the same people",
    "adapt longer: the same command with more --minutes",
    "or serve the base with a memory of the repository: codling memory PATH",
)


@dataclass(frozen=True)
class RunVerdict:
    """The first thing to know of a run."""

    is_good: bool
    text: str
    cures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.text} What helps: {'; '.join(self.cures)}." if self.cures else self.text


def judge(view: RunView) -> RunVerdict | None:
    """The verdict on a run's model; None where nothing was trained or scored."""
    if view.commits:
        return _judge_commits(view.commits)
    if comparison := view.scores.get("comparison"):
        cures = () if comparison["helped"] else ADAPTING_CURES
        return RunVerdict(comparison["helped"], comparison["text"], cures)
    faults = list(_faults(view))
    if faults:
        return RunVerdict(False, " ".join(faults), CURES)
    if not view.scores:
        return None
    model, ngram = view.scores["model"], view.scores["ngram"]
    better = (
        f"Better than the {_baseline(view.scores)}: {_bits(model)} bits per byte against "
        f"{_bits(ngram)} (lower is better)"
    )
    lines = (
        f"{model['exact_match']:.1%} of hidden lines exactly, against {ngram['exact_match']:.1%}"
    )
    if model["exact_match"] < ngram["exact_match"]:
        return RunVerdict(False, f"{better}; but it inserts only {lines}.", CURES)
    return RunVerdict(True, f"{better}; it inserts {lines}.")


def _judge_commits(found: list[CommitScores]) -> RunVerdict:
    """What later commits say, repository by repository, and what each says to do."""
    verdicts = [each.scores["verdict"] for each in found]
    named = [f"{each.repo}: " if len(found) > 1 else "" for each in found]
    texts = [name + each["text"] for name, each in zip(named, verdicts, strict=True)]
    cures = [name + each["cure"] for name, each in zip(named, verdicts, strict=True)]
    return RunVerdict(tuning_helped([e.scores for e in found]), " ".join(texts), tuple(cures))


def describe_short(n_steps: int) -> str | None:
    """That a run was too short for a verdict; None if it was not."""
    if n_steps >= FEW_STEPS:
        return None
    steps = "step" if n_steps == 1 else "steps"
    return f"Hardly trained: {n_steps} {steps}; a verdict needs at least {FEW_STEPS}."


def _faults(view: RunView) -> Iterator[str]:
    n_steps = view.artifacts["checkpoint"].counts.get("n_steps") if _is_trained(view) else None
    if isinstance(n_steps, int) and (short := describe_short(n_steps)):
        yield short
    if view.scores and (text := describe_worse(view.scores)):
        yield text


def describe_worse(scores: dict[str, Any]) -> str | None:
    """That a model is not better than the n-gram baseline beside it; None if it is."""
    model, ngram = scores["model"], scores["ngram"]
    # Written so that a score that is not a number counts as a fault.
    if model["bits_per_byte"] < ngram["bits_per_byte"]:
        return None
    return (
        f"Not better than the {_baseline(scores)}: {_bits(model)} bits per byte against "
        f"{_bits(ngram)} (lower is better)."
    )


def _is_trained(view: RunView) -> bool:
    return "checkpoint" in view.artifacts


def _baseline(scores: dict[str, Any]) -> str:
    return f"{scores.get('ngram_order', '')}-gram baseline".lstrip("-")


def _bits(score: dict[str, Any]) -> str:
    bits = score["bits_per_byte"]
    return f"{bits:.3f}" if isinstance(bits, float) and math.isfinite(bits) else "no number of"
