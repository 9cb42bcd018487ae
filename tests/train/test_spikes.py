"""Loss spikes: a batch that is skipped and named, a run that goes back, and both after a resume."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.train.config import LoopConfig, SpikeConfig
from codling.train.loader import Batches
from codling.train.spikes import N_KEPT, go_back, limit_of, note_loss, note_spike, wants_rollback
from codling.train.state import Position
from codling.train.summary import METRICS
from codling.train.trainer import Trainer

SHAPE = ModelConfig(vocab_size=64, hidden_size=16, intermediate_size=16, n_layers=1, n_heads=1)
START = N_KEPT + 6
"""From here on a batch may be a spike."""


def constant() -> tuple[torch.Tensor, torch.Tensor]:
    """The same token over and over: soon known."""
    tokens = torch.full((2, 9), 7)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def spiking_at(*spikes: int, stop: int = -1) -> Batches:
    """Targets that were never seen in the batches of `spikes`; at `stop` the run is torn."""

    def batches(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == stop:
            raise MemoryError
        inputs, targets = constant()
        return (inputs, targets + 1 + number % 40) if number in spikes else (inputs, targets)

    return batches


def trainer(folder: Path, batches: Batches, **changes: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    settings: dict[str, Any] = {
        "max_steps": START + 14,
        "precision": "fp32",
        "compile": False,
        "threads": 1,
        "device": "cpu",
        # The history still holds the first fall of the loss, which is wide.
        "spikes": SpikeConfig(deviations=1.0),
    }
    config = LoopConfig(**(settings | changes))
    return Trainer(Transformer(SHAPE, torch.Generator().manual_seed(0)), batches, config, folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(read_json_lines(folder / METRICS))


def test_a_limit_needs_a_history_and_leaves_room_for_a_rough_one() -> None:
    at = Position()
    for step in range(N_KEPT + 1):
        assert limit_of(at, SpikeConfig()) == math.inf
        note_loss(at, step, [2.0, 4.0][step % 2])
        at.step = step + 1
    assert limit_of(at, SpikeConfig()) == 3.0 + 6 * 1.0
    assert limit_of(at, SpikeConfig(deviations=0)) == math.inf


def test_three_spikes_among_64_steps_are_too_many() -> None:
    at = Position()
    for step in (100, 170, 180):
        note_spike(at, step)
    assert not wants_rollback(at, SpikeConfig())
    note_spike(at, 190)
    assert wants_rollback(at, SpikeConfig())
    assert not wants_rollback(at, SpikeConfig(rollback_after=0))


def test_a_run_that_goes_back_sees_no_batch_again_and_gives_up_in_the_end() -> None:
    now, saved = Position(step=90, batch_offset=5, seconds=9.0), Position(step=80, batch_offset=5)
    then = go_back(now, saved)
    assert (then.step, then.batch_offset, then.seconds) == (80, 15, 9.0)
    with pytest.raises(ConfigError, match="run away 4 times"):
        go_back(Position(n_rollbacks=3), saved)


def test_a_spike_changes_nothing_and_is_named(tmp_path: Path) -> None:
    run = trainer(tmp_path, spiking_at(START))
    summary = run.run()
    (event,) = [row for row in rows(tmp_path) if "event" in row]
    assert event["step"] == START
    assert event["loss"] > 1
    assert event["event"].endswith(f"batches {START} to {START} were skipped")
    assert (summary.n_spikes, summary.n_skipped) == (1, 0)


def test_spikes_are_skipped_by_all_processes_alike(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
        run = Trainer(
            Transformer(SHAPE, torch.Generator().manual_seed(0)),
            spiking_at(START),
            LoopConfig(
                max_steps=START + 3,
                compile=False,
                device="cpu",
                threads=1,
                processes=n,
                precision="fp32",
                spikes=SpikeConfig(deviations=1.0),
            ),
            tmp_path / str(n),
            crew=True,
        )
        assert run.run().n_spikes == 1


def test_a_resumed_run_skips_what_the_run_would_have(tmp_path: Path) -> None:
    calm = trainer(tmp_path / "calm", spiking_at(START, START + 5))
    calm.run()
    with pytest.raises(MemoryError):
        trainer(
            tmp_path / "torn", spiking_at(START, START + 5, stop=START + 3), save_seconds=0.0
        ).run()
    resumed = trainer(tmp_path / "torn", spiking_at(START, START + 5))
    assert resumed.run().n_spikes == 2
    for mine, theirs in zip(resumed.model.parameters(), calm.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_after_three_spikes_the_run_goes_back_to_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, spiking_at(START, START + 1, START + 2), save_seconds=1e6)
    saves: list[int] = []
    step, save = run._one_step, run._save

    def noted(log: Any) -> None:
        saves.append(run.position.step)
        save(log)

    def one_step(log: Any) -> None:
        step(log)
        if run.position.step == START - 5 and not run.position.n_rollbacks:
            run._save(log)

    monkeypatch.setattr(run, "_save", noted)
    monkeypatch.setattr(run, "_one_step", one_step)
    summary = run.run()
    assert (summary.n_spikes, summary.n_rollbacks) == (3, 1)
    assert saves == [START - 5, START - 5, START + 14]
    assert run.position.batch_offset == 8
    assert run._checked[0] == START - 5  # the pace is measured from where the run goes on
    named = [row["event"] for row in rows(tmp_path) if "back from" in row.get("event", "")]
    assert named == [
        f"the batches of steps {START}, {START + 1}, {START + 2} were skipped: back from step "
        f"{START + 3} to {START - 5}, and on with batches not seen yet"
    ]
