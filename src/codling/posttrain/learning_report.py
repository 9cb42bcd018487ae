"""The stage learning-report: base, SFT, reward model and GRPO of one run side by side.

Input: a run folder of `codling grow` whose recipe learns from tests. Output: an artefact of kind
"report" with learning.html: every stage's pass rate on the hidden tests of the same held-out
prompts, its gain over the stage that it started from, and the reward model's accuracy.

Not here: the pages of single runs (grpo.py), and runs that learn from code (report/run_page.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codling.core.artifact import MANIFEST, Artifact, Input, open_artifact
from codling.core.errors import SourceError
from codling.core.files import write_text
from codling.core.ranges import Ranged
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.posttrain.gains import Passed, interval_of_gain, rate_of, read_curve
from codling.report.page import render_page

PAGE = "learning.html"
_STAGES = (
    ("base", "base-scores", "first", ""),
    ("SFT", "by-verdicts", "first", "base"),
    ("GRPO, rewarded by verdicts", "by-verdicts", "last", "SFT"),
    ("GRPO, rewarded by the reward model", "by-model", "last", "SFT"),
    ("GRPO, rewarded by both", "by-both", "last", "SFT"),
)
"""A name, the artefact that measured it, at which end of its run, and what it started from."""


@dataclass(frozen=True, kw_only=True)
class LearningReportConfig(Ranged):
    """Settings of learning-report."""

    run_dir: Path = aside()
    """Folder of a run of `codling grow` with a recipe that learns from tests."""
    out_dir: Path = aside()
    """Where the page goes."""


@dataclass(frozen=True)
class StageScore:
    """A stage's pass rate on hidden tests, and its gain, each with its 95% interval."""

    name: str
    rate: tuple[float, float, float]
    gain: tuple[float, float, float] | None
    """Over the stage that it started from."""

    @property
    def is_clear(self) -> bool:
        """Whether the gain's interval is above zero."""
        return self.gain is not None and self.gain[1] > 0


@stage("report", version=1)
def learning_report(config: LearningReportConfig) -> Work:
    """One page of a run that learned from tests: each stage's held-out score.

    Raises SourceError if the run has no measured stage.

    Example:
        codling learning-report --run-dir runs/app --out-dir runs/app/report
    """
    made = list(_inputs(config.run_dir))
    if not made:
        raise SourceError(
            f"{config.run_dir} has no run that learned from tests; "
            "codling grow --recipe coder-v2-tiny makes one"
        )
    draft = yield made
    scores = read_scores(config.run_dir)
    accuracy = _accuracy(config.run_dir)
    page = render_page("codling.posttrain", PAGE, scores=scores, accuracy=accuracy)
    write_text(draft.file(PAGE), page)
    draft.counts |= {f"pass_rate: {each.name}": each.rate[0] for each in scores}


def read_scores(run_dir: Path) -> list[StageScore]:
    """Of every stage that was measured, in the order of the chain."""
    found: dict[str, Passed] = {}
    scores = []
    for name, folder, end, before in _STAGES:
        curve = read_curve(run_dir / folder)
        if not curve:
            continue
        passed = found[name] = curve[min(curve) if end == "first" else max(curve)]
        scores.append(StageScore(name, rate_of(passed), _gain(found.get(before), passed)))
    return scores


def describe(run_dir: Path) -> str:
    """The scores as text, a line each."""
    lines = ["answers that pass the hidden tests of held-out prompts (95% interval):"]
    for each in read_scores(run_dir):
        rate, low, high = each.rate
        line = f"  {each.name:<36} {rate:6.1%} ({low:.1%} to {high:.1%})"
        if each.gain is not None:
            line += " gain {:+.1%} ({:+.1%} to {:+.1%})".format(*each.gain)
        lines.append(line)
    if accuracy := _accuracy(run_dir):
        lines.append(f"reward model: {accuracy}")
    return "\n".join(lines)


def _gain(before: Passed | None, after: Passed) -> tuple[float, float, float] | None:
    """None where not the same prompts were asked."""
    if before is None or set(before) != set(after):
        return None
    low, high = interval_of_gain(before, after)
    return (low + high) / 2, low, high


def _accuracy(run_dir: Path) -> str:
    """The reward model's headline: its accuracy on prompts that it has not seen."""
    path = run_dir / "reward-model"
    if not (path / MANIFEST).is_file():
        return ""
    return str(open_artifact(path, "reward-model").counts.get("headline", ""))


def _inputs(run_dir: Path) -> Iterator[Artifact | Input]:
    names = dict.fromkeys((*(folder for _, folder, _, _ in _STAGES), "reward-model"))
    for folder in names:
        if (run_dir / folder / MANIFEST).is_file():
            yield open_artifact(run_dir / folder)
