"""The state of a run whose model several processes share, written while training goes on.

Input: a folder that all processes see. Output: in it `save-000012/`: every process's parts as
safetensors, by torch's distributed checkpoints (DCP), each with its place in the whole tensor, and
`position.json`. A run in another layout, of another number of processes, reads the parts that it
needs.

What is written is copied first, so that steps can change the weights meanwhile. All write into
`save-000012.partial/`, which the first process renames when every part is on disk, and then removes
the older save: after a crash at any moment the last complete one is there.

Not here: models that every process holds whole (train/state.py), what the tensors mean (optim/).
"""

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from codling.core.errors import ArtifactError, StorageError
from codling.core.files import is_disk_full, make_folder, name_folder, write_json
from codling.train.optim.optimizer import Optimizer
from codling.train.parallel.ranks import Ranks, limit_waiting
from codling.train.state import Position, name_tensors

_POSITION = "position.json"
_PARTIAL = ".partial"


class SharedState:
    """The saves of one run, one at a time in the background."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self._folder, self._ranks = folder, ranks
        # Of its own: operations of the training go on beside those of a save, in any order.
        self._group = dist.new_group(backend="gloo")
        limit_waiting()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publish-state")
        self._saving: Future[None] | None = None
        if ranks.is_main:
            make_folder(folder)
            for left in folder.glob("*" + _PARTIAL):
                shutil.rmtree(left)
        self._number = self._last()

    def find(self) -> Position | None:
        """Where the run stood at the last complete save, the same for all processes; None if there
        is none."""
        self.wait()
        self._number = self._last()
        if not self._number:
            return None
        written = (self._path(self._number) / _POSITION).read_text(encoding="utf-8")
        return Position(**json.loads(written))

    def load(
        self,
        optimizer: Optimizer,
        best: Mapping[str, Tensor] | None,
        beside: Mapping[str, Tensor],
    ) -> None:
        """Bring weights and optimiser, the best weights and what is beside, to the last save."""
        self.wait()
        path = self._path(self._number)
        tensors = _parts(optimizer, best, beside)
        try:
            load(
                tensors,
                storage_reader=HuggingFaceStorageReader(str(path)),
                process_group=self._group,
            )
        except CheckpointException as error:
            raise ArtifactError(
                f"{path} cannot be read ({_reason(error)}); delete it and train again"
            ) from None
        optimizer.publish()

    def save(
        self,
        position: Position,
        optimizer: Optimizer,
        best: Mapping[str, Tensor] | None,
        beside: Mapping[str, Tensor],
    ) -> None:
        """Copy the state and begin to write it, after the save before is done.

        Raises StorageError if the disk was full for that one.
        """
        self.wait()
        self._number += 1
        partial = self._path(self._number).with_name(self._path(self._number).name + _PARTIAL)
        writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
        written = async_save(
            _parts(optimizer, best, beside), storage_writer=writer, process_group=self._group
        )
        assert isinstance(written, Future)
        self._saving = self._thread.submit(
            self._publish, written, partial, asdict(position), self._number
        )

    def wait(self) -> None:
        """Until the last save is on disk."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """No more saves; one that is being written is not waited for."""
        self._thread.shutdown(wait=False)

    def _publish(
        self, written: Future[object], partial: Path, position: dict[str, object], number: int
    ) -> None:
        """When all processes have written their parts, the folder gets its name."""
        try:
            written.result()
        except (CheckpointException, OSError) as error:
            raise StorageError(
                f"cannot save the training state in {self._folder} ({_reason(error)}); free some "
                "space and run the same command again, it resumes"
            ) from None
        if not self._ranks.is_main:
            return
        write_json(partial / _POSITION, position)
        name_folder(partial, self._path(number))
        for older in self._folder.glob("save-*"):
            if older.name < self._path(number).name:
                shutil.rmtree(older)

    def _last(self) -> int:
        """The number of the last complete save, as the first process sees it; 0: none."""
        names = [p.name for p in self._folder.glob("save-*") if (p / _POSITION).is_file()]
        numbers = [int(n.removeprefix("save-")) for n in names if not n.endswith(_PARTIAL)]
        return self._ranks.agree(max(numbers, default=0))

    def _path(self, number: int) -> Path:
        return self._folder / f"save-{number:06}"


def _parts(
    optimizer: Optimizer, best: Mapping[str, Tensor] | None, beside: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    return optimizer.as_parts(name_tensors(optimizer, best)) | dict(beside)


def _reason(error: BaseException) -> str:
    """The first cause that a process named, on one line."""
    failures = getattr(error, "failures", {})
    cause = next(iter(failures.values()))[0] if failures else error
    if is_disk_full(cause):
        return "no space left on the device"
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
