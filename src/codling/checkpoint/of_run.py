"""A run's folder as a model: its checkpoint, or its base with what adapting made of it.

Input: what a user calls a model, and an adapter if one was named. Output: the path of the weights
and of the adapter. An adapted model that was not shown to be better than its base is left out, in
one line that says so.

Not here: loading (load.py), and how the better one is found (core/adapted.py).
"""

from pathlib import Path

from codling.checkpoint.hub import local_path
from codling.checkpoint.store import CONFIG
from codling.core.adapted import AdaptedRun, find_adapted
from codling.core.errors import CheckpointError
from codling.core.log import say


def model_and_adapter(path: Path, adapter: Path | None = None) -> tuple[Path, Path | None]:
    """Where the weights are, and the adapter that goes with them.

    Raises CheckpointError if the base of a run is not there any more.
    """
    found = local_path(path)
    is_run = found == path and path.is_dir() and not (path / CONFIG).exists()
    run = find_adapted(path) if is_run else None
    if run is None:
        return found, adapter
    if adapter is not None:
        return _base(run, path), adapter
    if run.helped is False:
        say(
            f"{path}: adapting was not shown to help, so its base is taken; --adapter {run.path} "
            "takes the adapted model all the same"
            if run.is_adapter
            else f"{path}: adapting was not shown to help, so its base is taken; name {run.path} "
            "for the adapted model"
        )
        return _base(run, path), None
    return (_base(run, path), run.path) if run.is_adapter else (run.path, None)


def _base(run: AdaptedRun, path: Path) -> Path:
    if not run.base.exists():
        raise CheckpointError(
            f"the base of {path}, {run.base}, is not there any more; name where it is: MODEL "
            f"--adapter {run.path}"
        )
    return run.base
