"""Processes that share a batch: one loop's losses, bit for bit after a resume, and clear ends."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.core.errors import ConfigError, StorageError
from codling.core.files import read_json_lines
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.train.config import LoopConfig, OptimizerConfig
from codling.train.crew import Crew, choose_members
from codling.train.loader import Batch, Batches
from codling.train.loss import IGNORED
from codling.train.optim.flat import ParameterSpan
from codling.train.optim.muon import share_out
from codling.train.summary import METRICS
from codling.train.trainer import Trainer

SHAPE = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=2,
    max_position=16,
    init_std=0.02,
)


def counting(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    tokens = (torch.randint(0, 64, (4, 1), generator=generator) + torch.arange(17)) % 64
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def trainer(folder: Path, n: int, batches: Batches = counting, **changes: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"max_steps": 6, "compile": False, "device": "cpu"}
    config = LoopConfig(processes=n, **(settings | changes))
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    heldout = (counting(999), counting(998), counting(997))
    return Trainer(model, batches, config, folder, heldout=heldout, crew=True)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_json_lines(folder / METRICS)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_have_the_losses_and_weights_of_one(tmp_path: Path, accumulate: int) -> None:
    adamw = OptimizerConfig(name="adamw", learning_rate=1e-3, eps=1e-6)
    runs = {}
    for n in (1, 2):
        run = trainer(
            tmp_path / str(n),
            n,
            precision="fp32",
            optimizer=adamw,
            accumulate=accumulate,
            threads=1,
        )
        runs[n] = run, run.run()
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), abs=2e-6)
    assert runs[2][1].heldout_loss == pytest.approx(runs[1][1].heldout_loss, abs=2e-6)
    for mine, theirs in zip(
        runs[2][0].model.parameters(), runs[1][0].model.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=0)


def answering(number: int) -> Batch:
    """Rows of which so many targets count as in answers: the first row's few, the last one's most;
    two batches are an update."""
    inputs_BL, targets_BL = counting(number)
    targets_BL[0, :14], targets_BL[1], targets_BL[2, 9:] = IGNORED, IGNORED, IGNORED
    documents_BL = (torch.arange(16) >= 5).long().expand(4, 16).contiguous()
    return inputs_BL, targets_BL, documents_BL, torch.tensor(0.7 if number % 2 else 1.3)


def test_answers_of_uneven_length_weigh_as_in_one_process(tmp_path: Path) -> None:
    adamw = OptimizerConfig(name="adamw", learning_rate=1e-3, eps=1e-6)
    for n in (1, 2, 4):
        folder = tmp_path / str(n)
        run = trainer(
            folder, n, answering, precision="fp32", optimizer=adamw, accumulate=2, threads=1
        )
        run.run()
    for name in ("2", "4"):
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "1"), abs=2e-6)
        norms = [row["grad_norm"] for row in read_json_lines(tmp_path / name / METRICS)]
        alone = [row["grad_norm"] for row in read_json_lines(tmp_path / "1" / METRICS)]
        assert norms == pytest.approx(alone, rel=1e-4)


def torn_at(step: int, how: Callable[[], None]) -> Batches:
    def batches(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == step:
            how()
        return counting(number)

    return batches


def fail() -> None:
    raise MemoryError


def test_an_interrupted_run_goes_on_bit_for_bit_with_as_many_processes(tmp_path: Path) -> None:
    calm = trainer(tmp_path / "calm", 2)
    calm.run()

    with pytest.raises(MemoryError):
        trainer(tmp_path / "torn", 2, torn_at(4, fail), save_seconds=0.0).run()
    # What the settings say now does not count: the run goes on as it began.
    resumed = trainer(tmp_path / "torn", 1)
    assert resumed.crew.n == 2
    resumed.run()
    assert losses(tmp_path / "torn") == losses(tmp_path / "calm")
    for mine, theirs in zip(resumed.model.parameters(), calm.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_member_that_is_killed_ends_the_run_with_what_to_do(tmp_path: Path) -> None:
    first = os.getpid()

    def kill_member() -> None:
        if os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(StorageError, match="the same command goes on"):
        trainer(tmp_path / "a", 2, torn_at(3, kill_member), save_seconds=0.0).run()
    trainer(tmp_path / "a", 2).run()
    assert len(losses(tmp_path / "a")) == 6


def test_no_member_outlives_the_run(tmp_path: Path) -> None:
    run = trainer(tmp_path, 2)
    members: list[int] = []
    start = run.crew.start

    def noted(follow: Any) -> None:
        start(follow)
        members.extend(line.process_id for line in run.crew._lines)

    run.crew.start = noted  # type: ignore[method-assign]
    run.run()
    assert len(members) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(members[0], 0)


def test_rows_that_cannot_be_shared_are_named() -> None:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="batch_size is 4, which 3 processes cannot share"):
        choose_members(LoopConfig(processes=3, device="cpu"), model, counting(0)[0])


def test_a_wish_for_threads_is_one_for_a_single_process() -> None:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    rows_BL = torch.zeros((8, 1024), dtype=torch.long)
    assert choose_members(LoopConfig(threads=2, device="cpu"), model, rows_BL) == 1
    wished = LoopConfig(threads=2, processes=2, device="cpu")
    assert choose_members(wished, model, rows_BL) == 2


def test_matrices_are_shared_by_their_cost() -> None:
    # Costs 16, 16, 32, 64 and 128 in elements times the shorter side.
    shapes = [(4, 2), (4, 2), (8, 2), (16, 2), (32, 2)]
    spans = [ParameterSpan(str(i), torch.Size(s), 0, "matrix") for i, s in enumerate(shapes)]
    named = [[span.name for span in share] for share in share_out(spans, 2)]
    assert named == [["0", "1", "2", "3"], ["4"]]
    assert share_out(spans[:1], 3) == [[], spans[:1], []]


def test_a_part_of_every_element_is_some_members() -> None:
    crew = Crew(3)
    parts = []
    for crew.rank in range(3):
        parts.append(crew.cut(10))
    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 6), (6, 10)]
