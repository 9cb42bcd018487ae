"""The adapted model of a run: its base, and whether it was shown to be better than that.

Input: a run folder of `codling grow --base`. Output: an AdaptedRun, or None where the run has no
adapted model. The verdict is that of the run's own scores: of later commits, or of held-out code.

Not here: making scores (evaluate/heldout) and loading models (checkpoint/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.artifact import MANIFEST, open_artifact, read_own

ADAPTED = "adapted"
"""The folder of a run in which its adapter is, or the checkpoint of all weights trained."""
COMMIT_SCORES = "commit-scores"
"""The names of a run's artefacts of kind "commit-scores" begin so; there is one per repository."""
_SCORES = "scores.json"


@dataclass(frozen=True, kw_only=True)
class AdaptedRun:
    """What `codling grow --base` made."""

    base: Path
    path: Path
    """The adapter, or the checkpoint."""
    is_adapter: bool
    helped: bool | None
    """None: nothing was asked yet."""


def find_adapted(run_dir: Path) -> AdaptedRun | None:
    """The adapted model of the run at `run_dir`; None for any other folder."""
    path = run_dir / ADAPTED
    if not (path / MANIFEST).is_file():
        return None
    made = open_artifact(path)
    base = next(i for i in made.manifest.inputs if i.kind in ("checkpoint", "source"))
    return AdaptedRun(
        # Of an artefact the path is relative to the adapter, of a source it is whole.
        base=(path / base.path).resolve(),
        path=path,
        is_adapter=made.kind == "adapter",
        helped=_has_helped(run_dir),
    )


def tuning_helped(commit_scores: Sequence[Mapping[str, Any]]) -> bool:
    """Whether tuning is shown to help on some repository, and on none to make things worse."""
    made_worse = any(each["verdict"]["outcome"] == "worse" for each in commit_scores)
    return not made_worse and any(each["gains"]["tuned"] for each in commit_scores)


def _has_helped(run_dir: Path) -> bool | None:
    asked = [read_own(path) for path in sorted(run_dir.glob(f"{COMMIT_SCORES}*/{_SCORES}"))
             if (path.parent / MANIFEST).is_file()]  # fmt: skip
    if asked:
        return tuning_helped(asked)
    if not (run_dir / "scores" / MANIFEST).is_file():
        return None
    comparison = read_own(run_dir / "scores" / _SCORES).get("comparison")
    return None if comparison is None else bool(comparison["helped"])
