"""The state of an unfinished training run on disk: weights, optimiser, position.

Input and output: one safetensors file, written beside its name and renamed, so that after a crash
it is either the old state or the new one.

Not here: the checkpoint that is published (checkpoint/store.py).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codling.core.errors import ArtifactError, StorageError
from codling.core.files import make_folder, move_file, replace_file
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
    tensors = _tensors(optimizer, best) | dict(beside or {})
    make_folder(path.parent)
    try:
        with replace_file(path) as temporary:
            save_file(tensors, temporary, metadata={_META: json.dumps(asdict(position))})
    except (SafetensorError, OSError) as error:  # usually the disk is full
        raise StorageError(
            f"cannot save the training state in {path.parent} ({error}); free some space and "
            "run the same command again, it resumes"
        ) from None


def set_aside(path: Path) -> None:
    """Keep the state at `path` as the one before, in place of an older one."""
    if path.is_file():
        move_file(path, _before(path))


def find_state(path: Path, least: Callable[[int], int]) -> Path | None:
    """The state that all processes have: the one at `path`, or the one before it; None if one of
    them has none yet.

    Each of several processes saves its part, and a crash may leave some a save behind: all then go
    on from the last step that all have. `least` gives the least number of all processes. Where they
    have no step in common it is the later state, for its reader to refuse.
    """
    own = {saved.step: each for each in (_before(path), path) if (saved := read_position(each))}
    common = least(max(own, default=0))
    return own.get(common, path) if common else None


def _before(path: Path) -> Path:
    return path.with_name(f"before-{path.name}")


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
        for name, tensor in (_tensors(optimizer, best) | dict(beside or {})).items():
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


def _tensors(optimizer: Optimizer, best: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    kept = {name.replace("master", "best", 1): tensor for name, tensor in (best or {}).items()}
    return {**optimizer.weights(), **optimizer.state(), **kept}


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it and train again") from None
