"""The confidence from which on a model's suggestions are shown, as `codling calibrate` found it.

Input: a model and an adapter. Output: the number, kept in the user's cache under the hash of the
weights, so that a model that was trained on is another one. `codling serve --min-logprob auto`
reads what the other verb wrote.

Not here: how it is found (evaluate/calibrate.py), and the filter (serve/show.py).
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from codling.checkpoint.adapter import adapter_path
from codling.checkpoint.of_run import model_and_adapter
from codling.checkpoint.verify import model_id
from codling.core.errors import CheckpointError
from codling.core.files import cache_dir, write_json
from codling.core.foreign_json import read_object


def keep_threshold(model: Path, adapter: Path | None, threshold: float) -> None:
    """Remember a model's threshold; the last one counts."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, _read(path) | {_key(model, adapter): threshold})


def find_threshold(model: Path, adapter: Path | None = None) -> float | None:
    """What was remembered for a model; None if nothing was."""
    found = _read(_path()).get(_key(model, adapter))
    return found if isinstance(found, float) and found <= 0 else None


def _path() -> Path:
    return cache_dir() / "thresholds.json"


def _read(path: Path) -> dict[str, Any]:
    # A damaged file counts as an empty one.
    with suppress(CheckpointError):
        if path.is_file():
            return read_object(path, CheckpointError)
    return {}


def _key(model: Path, adapter: Path | None) -> str:
    found, added = model_and_adapter(model, adapter)
    parts = [found] if added is None else [found, adapter_path(added)]
    return " ".join(map(model_id, parts))
