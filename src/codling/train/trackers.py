"""Where a run's metrics go beside metrics.jsonl: TensorBoard, wandb, trackio.

Input: their names, the run's folder, rows of metrics. Output: for TensorBoard event files in the
run's folder `tensorboard`, written without any package (event_file.py); `tensorboard --logdir
runs` then shows every run below. wandb and trackio are extras: what they do is theirs.

Not here: what is measured (trainer.py).
"""

import importlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol

from codling.core.artifact import SHARDS
from codling.core.files import write_text
from codling.train.event_file import EventFile

EVENTS = "tensorboard"
"""The folder of the event files in a run's folder."""
_GROUPS = {
    "heldout_loss": "heldout/loss",
    "heldout_bits_per_byte": "heldout/bits_per_byte",
    "tokens_per_second": "speed/tokens_per_second",
    "seconds_waited": "speed/seconds_waited",
    "waiting_share": "speed/waiting_share",
    "mfu": "speed/mfu",
    "seconds_left": "speed/seconds_left",
    "seconds": "speed/seconds",
}
_PROJECT = "codling"


class Tracker(Protocol):
    """Something that is told a run's numbers."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """A step's numbers by name."""

    def close(self) -> None:
        """The run is over, or interrupted."""


@contextmanager
def open_trackers(
    names: Sequence[str], folder: Path, settings: Mapping[str, object], first_step: int = 0
) -> Iterator[list[Tracker]]:
    """The trackers of the run in `folder`, which goes on at `first_step`; closed at the end."""
    with ExitStack() as stack:
        opened = []
        for name in dict.fromkeys(names):
            tracker = _open(name, folder, settings, first_step)
            stack.callback(tracker.close)
            opened.append(tracker)
        yield opened


def numbers_of(row: Mapping[str, object]) -> dict[str, float]:
    """A row of metrics.jsonl as names in groups and numbers; what has no number is left out.

    >>> numbers_of({"step": 3, "loss": 2.5, "grad_norm": None, "heldout_loss": 2.0})
    {'train/loss': 2.5, 'heldout/loss': 2.0}
    """
    numbers = {
        _GROUPS.get(key, f"train/{key}"): float(value)
        for key, value in row.items()
        if key != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
    for key, value in row.items():  # bits per byte of each language, load of each expert layer
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if isinstance(inner, int | float):
                    numbers[f"{key}/{name}"] = float(inner)
    return numbers


def run_name(folder: Path) -> str:
    """A run's name: its folder's, with the one above where many runs have a folder of that name.

    >>> run_name(Path("runs/app/checkpoint.partial"))
    'app/checkpoint'
    """
    return f"{folder.absolute().parent.name}/{folder.name.removesuffix('.partial')}"


class _Module:
    """wandb, or trackio, which has the same functions."""

    def __init__(self, module: ModuleType, folder: Path, settings: Mapping[str, object]) -> None:
        self._run = module.init(
            project=_PROJECT,
            name=run_name(folder),
            config=dict(settings),
            resume="allow",
            **(
                {"id": _lasting_id(folder), "dir": str(folder)}
                if module.__name__ == "wandb"
                else {}
            ),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


def _open(name: str, folder: Path, settings: Mapping[str, object], first_step: int) -> Tracker:
    if name == "tensorboard":
        return EventFile(folder / EVENTS, first_step=first_step)
    return _Module(importlib.import_module(name), folder, settings)


def _lasting_id(folder: Path) -> str:
    """An id that a resumed run finds again."""
    path = folder / SHARDS / "tracked"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text(encoding="utf-8").strip()
