"""Processes that share a model learn what one process does, in every layout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.model.config import ModelConfig, MoEConfig
from codling.train.parallel.mesh import RankLayout, parse_layout
from codling.train.parallel.ranks import Ranks
from train.parallel.programs import train

PROGRAM = Path(__file__).with_name("programs.py")


def launch(
    n: int, *words: str, restarts: int = 0, **settings: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable]
    if n > 1:
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(n)]
        command += ["--max-restarts", str(restarts)]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    return subprocess.run(
        [*command, str(PROGRAM), *words],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | settings,
    )


def losses(folder: Path) -> list[float]:
    rows = list(read_json_lines(folder / "metrics.jsonl"))
    assert [row["step"] for row in rows] == list(range(8))
    return [row["loss"] for row in rows]


def run(n: int, *cases: str, ok: bool = True, restarts: int = 0, **settings: str) -> str:
    done = launch(n, "train", *cases, restarts=restarts, **settings)
    assert (done.returncode == 0) == ok, done.stderr[-3000:]
    return done.stderr


ON_TWO = (
    "dense adamw fsdp=2",
    "dense adamw dp=2",
    "dense adamw tp=2",
    "dense muon fsdp=2",
    "experts adamw fsdp=2",
    "experts adamw tp=2",
    "experts adamw fsdp=2,ep=2",
)
ON_FOUR = (
    "dense adamw dp=2,fsdp=2",
    "dense adamw dp=2,tp=2",
    "dense adamw fsdp=2,tp=2",
    "dense muon fsdp=2,tp=2",
    "experts adamw dp=2,fsdp=2,ep=2",
    "experts adamw fsdp=2,tp=2,ep=2",
)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "cases"), [(2, ON_TWO), (4, ON_FOUR)])
def test_losses_of_20_steps_are_those_of_one_process(n: int, cases: tuple[str, ...]) -> None:
    done = launch(n, "compare", *cases)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {row["case"]: row["apart"] for row in map(json.loads, done.stdout.splitlines())}
    # Muon orthogonalises in bf16, where other shapes of the same product round differently.
    limits = {case: 1e-2 if "muon" in case else 1e-5 for case in cases}
    assert {case: apart for case, apart in found.items() if apart > limits[case]} == {}
    assert set(found) == set(cases)


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_any_layout_of_any_number_of_processes(tmp_path: Path) -> None:
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    for folder in (calm, torn):
        folder.mkdir()
    train(Ranks(), "", "experts", calm)
    run(4, f"fsdp=2,tp=2:experts:stop:{torn}")
    for name in ("on-four", "on-two"):
        shutil.copytree(torn, tmp_path / name)
    run(4, f"dp=2,fsdp=2,ep=2:experts:none:{tmp_path / 'on-four'}")
    run(2, f"tp=2:experts:none:{tmp_path / 'on-two'}")
    run(1, f"fsdp=1:experts:none:{torn}")
    for folder in (torn, tmp_path / "on-two", tmp_path / "on-four"):
        assert losses(folder) == pytest.approx(losses(calm), abs=1e-5), folder


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_run_goes_on(tmp_path: Path) -> None:
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    for folder in (calm, torn):
        folder.mkdir()
    train(Ranks(), "", "dense", calm)
    said = run(2, f"fsdp=2:dense:kill:{torn}", restarts=1)
    assert "exitcode: -9" in said
    assert losses(torn) == pytest.approx(losses(calm), abs=1e-5)


@pytest.mark.slow
def test_a_process_that_hangs_is_named_in_one_line(tmp_path: Path) -> None:
    said = run(2, f"fsdp=2:dense:hang:{tmp_path}", ok=False, SECONDS_TO_WAIT="10")
    assert "rank 0 waited in vain at step 4: rank 1 did not answer" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dp=2", "is for 2 processes, but there are 4; start it by torchrun --nproc-per-node 2"),
        ("pp=4", "'pp=4' is not understood"),
        ("fsdp=2,fsdp=2", "is not understood"),
        ("fsdp=0", "is not understood"),
    ],
)
def test_layouts_that_cannot_be_are_refused(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_layout(words, 4)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (RankLayout(tp=3), "tp=3 does not divide 4 kv heads"),
        (RankLayout(fsdp=2, ep=2), "ep is for models with routed experts"),
    ],
)
def test_models_that_cannot_be_shared_are_refused(layout: RankLayout, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layout.check(ModelConfig(n_heads=4))


def test_experts_are_spread_over_the_processes_that_share_weights() -> None:
    shape = ModelConfig(moe=MoEConfig(n_routed_experts=8, n_experts_per_token=2))
    with pytest.raises(ConfigError, match="set fsdp=4 or leave ep out"):
        RankLayout(fsdp=2, dp=2, ep=4).check(shape)
    with pytest.raises(ConfigError, match="ep=3 does not divide 8 experts"):
        RankLayout(fsdp=3, ep=3).check(shape)
