"""Where a run's saved states are: one file, or parts of every process.

Not here: what is in them (state.py, shared_state.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from codling.core.artifact import SHARDS
from codling.core.errors import ConfigError
from codling.train.optim.optimizer import Optimizer
from codling.train.parallel.ranks import Ranks
from codling.train.shared_state import SharedState
from codling.train.state import Position, StateFile

_FILE, _FOLDER = f"{SHARDS}/training.safetensors", f"{SHARDS}/training"


class Saves(Protocol):
    """The saved states of one run."""

    def find(self) -> Position | None:
        """Where the run stood at the last one; None if there is none."""

    def load(
        self, optimizer: Optimizer, best: Mapping[str, Tensor] | None, beside: Mapping[str, Tensor]
    ) -> None:
        """Bring everything to the last one."""

    def save(
        self,
        position: Position,
        optimizer: Optimizer,
        best: Mapping[str, Tensor] | None,
        beside: Mapping[str, Tensor],
    ) -> None:
        """Save what is now; where processes share the model it is written while they go on."""

    def wait(self) -> None:
        """Until the last one is on disk."""

    def close(self) -> None:
        """No more saves."""


def open_saves(folder: Path, ranks: Ranks, *, is_shared: bool) -> Saves:
    """The states of the run in `folder`.

    Raises ConfigError if there is one that was begun the other way.
    """
    file, parts = folder / _FILE, folder / _FOLDER
    if is_shared and file.is_file():
        raise ConfigError(
            f"the unfinished run in {folder} was begun without --parallel; go on without it, or "
            "give --fresh"
        )
    if not is_shared and any(parts.glob("save-*/position.json")):
        raise ConfigError(
            f"the unfinished run in {folder} was begun with --parallel; go on with it in any "
            "layout (one process: --parallel fsdp=1), or give --fresh"
        )
    if is_shared:
        return SharedState(parts, ranks)
    return StateFile(file, is_main=ranks.is_main)
