"""States of shared models: whole or absent, written while training goes on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

from codling.core.errors import ConfigError, StorageError
from codling.train.config import OptimizerConfig
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.parallel.ranks import Ranks, join_ranks
from codling.train.saves import open_saves
from codling.train.shared_state import SharedState
from codling.train.state import Position, save_state


@pytest.fixture
def alone() -> Iterator[Ranks]:
    """A group of one process."""
    yield join_ranks(alone=True)
    dist.destroy_process_group()


def optimizer() -> FlatOptimizer:
    model = torch.nn.Linear(4, 3)
    return FlatOptimizer(FlatWeights(model, torch.float32), OptimizerConfig(name="adamw"))


def fill(made: FlatOptimizer, value: float) -> None:
    for tensor in (*made.weights().values(), *made.state().values()):
        tensor.fill_(value)


def values(made: FlatOptimizer) -> set[float]:
    tensors = (*made.weights().values(), *made.state().values())
    return {float(v) for t in tensors for v in t.flatten()}


def test_what_is_saved_is_what_was_there_though_steps_go_on(
    alone: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, write = threading.Event(), HuggingFaceStorageWriter.write_data

    def wait_and_write(*arguments: object) -> object:
        goes_on.wait(60)
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(HuggingFaceStorageWriter, "write_data", wait_and_write)
    saves, made = SharedState(tmp_path, alone), optimizer()
    fill(made, 1.0)
    saves.save(Position(step=3), made, None, {"experts.load": torch.ones(2)})
    fill(made, 2.0)  # the next step, while nothing is on disk
    assert not list(tmp_path.glob("save-*/position.json"))
    goes_on.set()
    assert saves.find() == Position(step=3)
    load = torch.zeros(2)
    saves.load(made, None, {"experts.load": load})
    assert values(made) == {1.0}
    assert load.tolist() == [1.0, 1.0]


def test_a_crash_while_writing_leaves_the_save_before(
    alone: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves, made = SharedState(tmp_path, alone), optimizer()
    fill(made, 1.0)
    saves.save(Position(step=3), made, None, {})
    saves.wait()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HuggingFaceStorageWriter, "write_data", fail)
    fill(made, 2.0)
    saves.save(Position(step=4), made, None, {})
    with pytest.raises(StorageError, match="no space left on the device"):
        saves.wait()
    (tmp_path / "save-000003.partial").mkdir(exist_ok=True)
    again = SharedState(tmp_path, alone)
    assert [path.name for path in tmp_path.iterdir()] == ["save-000001"]
    assert again.find() == Position(step=3)
    again.load(made, None, {})
    assert values(made) == {1.0}


def test_only_the_last_save_is_kept(alone: Ranks, tmp_path: Path) -> None:
    saves, made = SharedState(tmp_path, alone), optimizer()
    for step in (3, 4):
        saves.save(Position(step=step), made, None, {})
    assert saves.find() == Position(step=4)
    assert [path.name for path in tmp_path.iterdir()] == ["save-000002"]


def test_a_run_begun_the_other_way_is_refused(alone: Ranks, tmp_path: Path) -> None:
    made = optimizer()
    save_state(tmp_path / ".shards" / "training.safetensors", Position(step=1), made)
    with pytest.raises(ConfigError, match="was begun without --parallel; go on without it"):
        open_saves(tmp_path, alone, is_shared=True)
    other = tmp_path / "other"
    saves = open_saves(other, alone, is_shared=True)
    saves.save(Position(step=1), made, None, {})
    saves.wait()
    with pytest.raises(ConfigError, match="was begun with --parallel; go on with it in any layout"):
        open_saves(other, Ranks(), is_shared=False)
