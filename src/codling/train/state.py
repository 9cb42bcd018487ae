"""The state of an unfinished training run on disk: weights, optimiser, position.

Input and output: one safetensors file, written beside its name and renamed, so that after a crash
it is either the old state or the new one.

Not here: the checkpoint that is published (checkpoint/store.py), and the state of a model that
several processes share (shared_state.py).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codling.core.errors import ArtifactError, StorageError
from codling.core.files import make_folder, replace_file
from codling.train.optim.optimizer import Optimizer

_META = "position"


@dataclass
class Position:
    """The position of a run."""

    step: int = 0
    """The next step."""
    n_steps: int = 0
    """Steps in all; 0 while it is not decided."""
    n_skipped: int = 0
    """Steps whose gradient was not finite and changed nothing."""
    seconds: float = 0.0
    """Spent in steps so far."""
    preparing_seconds: float = 0.0
    """Spent on getting ready: compiling, timing a few steps; at every start."""
    n_threads: int = 0
    """A resumed run keeps this, `n_members` and `compiled`: all change the last bits of a sum."""
    n_members: int = 1
    """Processes that share each batch."""
    compiled: bool = False
    minutes: float | None = None
    """The length for which `n_steps` was decided: minutes, or steps."""
    max_steps: int | None = None
    n_heldout_batches: int = 0
    """How many held-out batches are measured; 0: all, or not yet decided."""
    first_loss: float | None = None
    """Runs that keep their best weights: the held-out loss before the first step, ..."""
    best_loss: float | None = None
    best_step: int = 0
    """... the lowest so far, and after how many steps it was measured."""
    recent_losses: list[float] = field(default_factory=list)
    """Of the last steps that were no spikes (spikes.py), ..."""
    last_noted: int = -1
    """... and the last such step."""
    recent_spikes: list[int] = field(default_factory=list)
    """Steps whose batches were skipped lately, ..."""
    n_spikes: int = 0
    n_rollbacks: int = 0
    """... all that were, and how often the run went back to a saved state."""
    batch_offset: int = 0
    """Steps that were taken back: their batches are not seen again."""
    n_worse: int = 0
    """Measurements in a row that were not lower."""


class StateFile:
    """The state of a run that the first process writes for all."""

    def __init__(self, path: Path, *, is_main: bool) -> None:
        self._path, self._is_main = path, is_main

    def find(self) -> Position | None:
        """Where the run stood when it was last saved."""
        return read_position(self._path)

    def load(
        self,
        optimizer: Optimizer,
        best: Mapping[str, Tensor] | None,
        beside: Mapping[str, Tensor],
    ) -> None:
        """Bring everything to the saved state."""
        load_state(self._path, optimizer, best, beside)

    def save(
        self,
        position: Position,
        optimizer: Optimizer,
        best: Mapping[str, Tensor] | None,
        beside: Mapping[str, Tensor],
    ) -> None:
        """Write the state."""
        if self._is_main:
            save_state(self._path, position, optimizer, best, beside)

    def wait(self) -> None:
        """Nothing: what was saved is on disk."""

    def close(self) -> None:
        """Nothing."""


def save_state(
    path: Path,
    position: Position,
    optimizer: Optimizer,
    best: Mapping[str, Tensor] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state; StorageError if the disk is full, with the old state intact.

    `best` are the best weights so far, where a run keeps them; `beside` is what else it depends on.
    """
    tensors = name_tensors(optimizer, best) | dict(beside or {})
    make_folder(path.parent)
    try:
        with replace_file(path) as temporary:
            save_file(tensors, temporary, metadata={_META: json.dumps(asdict(position))})
    except (SafetensorError, OSError) as error:  # usually the disk is full
        raise StorageError(
            f"cannot save the training state in {path.parent} ({error}); free some space and "
            "run the same command again, it resumes"
        ) from None


def read_position(path: Path) -> Position | None:
    """The position of the run at `path`, or None if there is no state."""
    if not path.is_file():
        return None
    with _open(path) as file:
        return Position(**json.loads(file.metadata()[_META]))


def load_state(
    path: Path,
    optimizer: Optimizer,
    best: Mapping[str, Tensor] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Bring weights and optimiser, the best weights and what is beside, to the saved state."""
    with _open(path) as file, torch.no_grad():
        for name, tensor in (name_tensors(optimizer, best) | dict(beside or {})).items():
            tensor.copy_(file.get_tensor(name))
    optimizer.publish()


def load_weights(path: Path, optimizer: Optimizer) -> Position:
    """Bring only the weights to the saved state, in fp32, and say where the run stood."""
    with _open(path) as file, torch.no_grad():
        for name, tensor in optimizer.weights().items():
            tensor.copy_(file.get_tensor(name))
        position = Position(**json.loads(file.metadata()[_META]))
    optimizer.restore()
    return position


def name_tensors(optimizer: Optimizer, best: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """What is saved of an optimiser and the best weights, by name."""
    kept = {name.replace("master", "best", 1): tensor for name, tensor in (best or {}).items()}
    return {**optimizer.weights(), **optimizer.state(), **kept}


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it and train again") from None
