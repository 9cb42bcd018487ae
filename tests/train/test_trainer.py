"""The loop: learning, budgets, skipped steps, resuming."""

import itertools
import math
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.core.errors import ConfigError, StorageError
from codling.core.files import read_json_lines
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.train import step
from codling.train.config import LoopConfig, OptimizerConfig
from codling.train.length import plan_new_length, replan
from codling.train.loader import Batches
from codling.train.state import Position
from codling.train.summary import METRICS
from codling.train.trackers import EVENTS
from codling.train.trainer import Trainer

# torch 2.13 warns of its own use of torch.jit when it first compiles.
TORCH_WARNS = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
SHAPE = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=2,
    max_position=32,
    init_std=0.02,
)


def counting(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences that count up from a random start: easy to learn."""
    generator = torch.Generator().manual_seed(number)
    starts = torch.randint(0, 64, (4, 1), generator=generator)
    tokens = (starts + torch.arange(17)) % 64
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def trainer(folder: Path, batches: Batches = counting, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {"max_steps": 6, "compile": False, "threads": 1, "device": "cpu"}
    beside = {k: changes.pop(k) for k in ("heldout", "keep_best", "clock") if k in changes}
    config = LoopConfig(**(settings | changes))
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    folder.mkdir(exist_ok=True)
    return Trainer(model, batches, config, folder, bytes_per_token=2.0, **beside)


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(read_json_lines(folder / METRICS))


@pytest.mark.long
@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_it_learns_to_count(tmp_path: Path, name: str) -> None:
    optimizer = OptimizerConfig(name=name, learning_rate=1e-2)  # type: ignore[arg-type]
    summary = trainer(tmp_path, max_steps=60, optimizer=optimizer, heldout=(counting(999),)).run()
    assert summary.loss is not None
    assert summary.heldout_loss is not None
    assert summary.loss < 0.5
    assert summary.heldout_loss < 0.5


def test_every_step_has_a_row_of_metrics(tmp_path: Path) -> None:
    trainer(tmp_path, heldout=(counting(999),), n_heldout_evals=2).run()
    found = rows(tmp_path)
    assert [row["step"] for row in found] == list(range(6))
    assert found[0]["loss"] == pytest.approx(math.log(64), abs=0.1)
    assert found[0]["bits_per_byte"] == pytest.approx(found[0]["loss"] / math.log(2) / 2)
    assert [row["step"] for row in found if "heldout_loss" in row] == [2, 5]
    assert {"learning_rate", "grad_norm", "tokens_per_second", "seconds"} <= set(found[0])


def test_tensorboard_is_told_each_step(tmp_path: Path) -> None:
    trainer(tmp_path, report_to=("tensorboard",), max_steps=3).run()
    (path,) = (tmp_path / EVENTS).glob("events.out.tfevents.*")
    assert path.read_bytes().count(b"train/loss") == 3


def test_the_same_settings_give_the_same_losses(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        trainer(tmp_path / name).run()
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("a", "b")]
    assert losses[0] == losses[1]


def test_an_interrupted_run_goes_on_with_bit_identical_losses(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    calm = trainer(tmp_path / "calm")
    calm.run()
    (tmp_path / "torn").mkdir()

    def torn(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 4:
            raise MemoryError
        return counting(number)

    with pytest.raises(MemoryError):
        trainer(tmp_path / "torn", torn, save_seconds=0.0).run()
    resumed = trainer(tmp_path / "torn")
    resumed.run()
    expected, got = rows(tmp_path / "calm"), rows(tmp_path / "torn")
    assert [row["loss"] for row in got] == [row["loss"] for row in expected]
    for mine, theirs in zip(resumed.model.parameters(), calm.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def stopped_at_4(folder: Path, **changes: Any) -> None:
    """Leaves a state after four steps."""

    def torn(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 4:
            raise MemoryError
        return counting(number)

    with pytest.raises(MemoryError):
        trainer(folder, torn, save_seconds=0.0, **changes).run()


def test_a_stopped_run_goes_on_with_more_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_at_4(tmp_path)
    first = [row["loss"] for row in rows(tmp_path)]
    assert trainer(tmp_path, max_steps=9).run().n_steps == 9
    assert "going on at step 4, to 9 steps instead of 6" in capsys.readouterr().err
    assert [row["step"] for row in rows(tmp_path)] == list(range(9))
    assert [row["loss"] for row in rows(tmp_path)][:4] == first


def test_a_stopped_run_goes_on_with_minutes_instead_of_steps(tmp_path: Path) -> None:
    stopped_at_4(tmp_path)
    at = trainer(tmp_path).position
    spent = at.seconds + at.preparing_seconds
    resumed = trainer(tmp_path, max_steps=None, minutes=(spent + 0.2) / 60)
    assert resumed.run().n_steps > 4
    assert rows(tmp_path)[-1]["step"] == resumed.position.n_steps - 1


def test_a_length_that_the_run_has_passed_is_refused_and_the_state_stays(tmp_path: Path) -> None:
    stopped_at_4(tmp_path)
    with pytest.raises(ConfigError, match=r"at step 4, beyond --max-steps 3; .* --fresh"):
        trainer(tmp_path, max_steps=3).run()
    with pytest.raises(ConfigError, match=r"minutes already; give more --minutes"):
        trainer(tmp_path, max_steps=None, minutes=1e-9).run()
    assert trainer(tmp_path).run().n_steps == 6


@pytest.mark.parametrize(
    ("config", "n_steps"),
    [
        (LoopConfig(minutes=31), 240),  # 231 steps in 30 minutes, one minute more: 7.7 steps
        (LoopConfig(minutes=60), 462),
        (LoopConfig(max_steps=231), 231),
        (LoopConfig(max_steps=500), 500),
    ],
)
def test_the_rest_is_planned_at_the_pace_of_what_was_trained(
    config: LoopConfig, n_steps: int
) -> None:
    at = Position(step=231, n_steps=250, seconds=1800.0, minutes=30.0)
    assert abs(plan_new_length(at, config) - n_steps) <= 2


def test_a_run_that_is_trained_but_not_published_trains_nothing_again(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    summary = first.run()

    def never(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 6:
            raise AssertionError("trained again")
        return counting(number)

    again = trainer(tmp_path, never)
    assert again.run() == summary
    for mine, theirs in zip(again.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_signal_saves_and_stops_between_two_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert threading.current_thread() is threading.main_thread()
    sent: list[int] = []

    def signalling(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 3 and not sent:
            sent.append(number)
            signal.raise_signal(signal.SIGTERM)
        return counting(number)

    with pytest.raises(SystemExit) as stopped:
        trainer(tmp_path, signalling).run()
    assert stopped.value.code == 143
    assert "stopped at step 4 of 6, saved" in capsys.readouterr().err
    assert len(rows(tmp_path)) == 4
    assert trainer(tmp_path).run().n_steps == 6
    assert [row["step"] for row in rows(tmp_path)] == list(range(6))


def test_a_disk_without_room_is_one_clear_line(tmp_path: Path) -> None:
    one = trainer(tmp_path, save_seconds=0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="free some space"):
            one.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_steps_that_are_not_finite_are_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path)
    honest = one.step_fn.loss
    calls = 0

    def sometimes_infinite(*batch: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return honest(*batch) * (math.inf if calls == 4 else 1.0)

    monkeypatch.setattr(one.step_fn, "loss", sometimes_infinite)
    assert one.run().n_skipped == 1
    found = rows(tmp_path)
    assert [row["loss"] is None for row in found] == [False, False, True, False, False, False]
    named = [row.get("event") for row in found]
    assert named[2] == "loss or gradient is not finite: batches 2 to 2 were skipped"
    assert named.count(None) == 5
    assert torch.isfinite(one.optimizer.weights()["master"]).all()


def test_a_loss_that_stays_infinite_ends_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path, max_steps=100)
    honest = one.step_fn.loss
    monkeypatch.setattr(one.step_fn, "loss", lambda *batch: honest(*batch) * math.inf)
    with pytest.raises(ConfigError, match="lower the learning rates"):
        one.run()


def test_micro_batches_add_up_to_a_large_batch(tmp_path: Path) -> None:
    def doubled(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        halves = [counting(2 * number), counting(2 * number + 1)]
        return torch.cat([h[0] for h in halves]), torch.cat([h[1] for h in halves])

    losses = []
    for name, batches, accumulate in (("one", doubled, 1), ("two", counting, 2)):
        (tmp_path / name).mkdir()
        run = trainer(tmp_path / name, batches, accumulate=accumulate, precision="fp32")
        run.run()
        losses.append([row["loss"] for row in rows(tmp_path / name)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_minutes_fix_the_number_of_steps_and_equal_a_run_of_so_many(tmp_path: Path) -> None:
    # A clock that goes on by a second whenever it is asked: a timed update takes three (its own and
    # the loader's two), the measurements of the held-out loss are counted as ten in all. Before and
    # with the two updates that are timed (a tenth of the minute) it is asked 13 times: getting
    # ready counts.
    ticks = itertools.count()
    timed = trainer(
        tmp_path / "timed", max_steps=None, minutes=1.0, clock=lambda: float(next(ticks))
    )
    n_steps = timed.run().n_steps
    assert n_steps == (60 - 13 - 10) // 3
    trainer(tmp_path / "counted", max_steps=n_steps).run()
    found = [[r["loss"] for r in rows(tmp_path / name)] for name in ("timed", "counted")]
    assert found[0] == found[1]


def test_a_plan_follows_the_machine_only_if_it_misses_by_far() -> None:
    assert replan(500, 1000, seconds_left=460.0, seconds_per_step=1.0) == 1000
    assert replan(500, 1000, seconds_left=460.0, seconds_per_step=2.0) == 730
    assert replan(100, 1000, seconds_left=900.0, seconds_per_step=0.5) == 1900
    assert replan(600, 1000, seconds_left=400.0, seconds_per_step=0.5) == 1000
    assert replan(950, 1000, seconds_left=30.0, seconds_per_step=1.0) == 980
    assert replan(600, 1000, seconds_left=-5.0, seconds_per_step=0.5) == 601


def test_without_a_compiler_training_is_eager_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    summary = trainer(tmp_path, compile=True).run()
    assert summary.n_steps == 6
    assert capsys.readouterr().err.count("no C++ compiler") == 1


@pytest.mark.long
@TORCH_WARNS
def test_a_compiler_that_fails_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step, "has_compiler", lambda _: True)
    one = trainer(tmp_path, compile=True)

    def broken(*_: object) -> None:
        raise torch._inductor.exc.CppCompileError(["g++"], "out of luck")

    compiled: Callable[..., object] = one.step_fn._head
    assert compiled is not None
    monkeypatch.setattr(one.step_fn, "_head", broken)
    for block in one.model.layers:
        block._compiled_call_impl = None
    assert one.run().n_steps == 6
    assert "training runs eagerly" in capsys.readouterr().err


@TORCH_WARNS
@pytest.mark.slow
def test_compiled_and_eager_training_agree(tmp_path: Path) -> None:
    losses = []
    for name in ("eager", "compiled", "again"):
        (tmp_path / name).mkdir()
        run = trainer(tmp_path / name, compile=name != "eager", precision="fp32")
        assert run.step_fn.compiled == (name != "eager")
        run.run()
        losses.append([row["loss"] for row in rows(tmp_path / name)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[1] == losses[2]


def test_a_plan_that_shrinks_on_the_way_is_kept_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "codling.train.trainer.replan", lambda step, n_steps, *_: min(n_steps, max(step, 9))
    )
    monkeypatch.setattr(Trainer, "_steps_in_time", lambda _: 40)
    summary = trainer(tmp_path, max_steps=None, minutes=1.0).run()
    assert summary.n_steps == 9
    assert [row["step"] for row in rows(tmp_path)] == list(range(9))
    assert rows(tmp_path)[-1]["learning_rate"] > 0


def backwards(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What `counting` does not teach."""
    inputs, targets = counting(number)
    return targets.contiguous(), inputs.contiguous()


@pytest.mark.long
def test_the_weights_of_the_lowest_heldout_loss_are_kept_if_asked(tmp_path: Path) -> None:
    for name, heldout in (("learned", counting(999)), ("unlearned", backwards(999))):
        (tmp_path / name).mkdir()
        run = trainer(tmp_path / name, max_steps=60, heldout=(heldout,), keep_best=True)
        summary = run.run()
        measured = {0: summary.heldout_loss_before} | {
            row["step"] + 1: row["heldout_loss"]
            for row in rows(tmp_path / name)
            if "heldout_loss" in row
        }
        assert summary.best_step == min(measured, key=lambda step: measured[step])
        assert (summary.best_step == 60) == (name == "learned")
        assert summary.heldout_loss == measured[summary.best_step]
        kept = run.step_fn.evaluate(*heldout)
        assert kept == pytest.approx(summary.heldout_loss, rel=0.01)


def test_what_needs_no_gradient_stays_as_it_is(tmp_path: Path) -> None:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0)).requires_grad_(False)
    model.layers[0].mlp.requires_grad_(True)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    config = LoopConfig(max_steps=3, compile=False, threads=1, precision="fp32")
    Trainer(model, counting, config, tmp_path).run()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {f"layers.0.mlp.{n}_proj.weight" for n in ("gate", "up", "down")}


@pytest.mark.parametrize(("seconds", "n_batches"), [(0.1, 4), (1.0, 1), (0.3, 3), (60.0, 1)])
def test_what_is_held_out_takes_a_tenth_of_the_minutes_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, n_batches: int
) -> None:
    heldout = tuple(counting(i) for i in range(4))
    run = trainer(tmp_path, heldout=heldout, max_steps=None, minutes=1.0, n_heldout_evals=5)
    monkeypatch.setattr(run.heldout, "seconds_per_batch", lambda _: seconds)
    run._limit_heldout()
    assert len(run.heldout.batches) == run.position.n_heldout_batches == n_batches
