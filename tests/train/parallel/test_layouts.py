"""Processes that share a model learn what one process does, in every layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.model.config import ModelConfig, MoEConfig
from codling.train.parallel.context import check_window
from codling.train.parallel.mesh import RankLayout, parse_layout
from codling.train.parallel.pipeline import count_rows
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
    "dense adamw pp=2",
    "dense adamw pp=2,vp=2",
    "experts adamw pp=2",
    "experts adamw pp=2,vp=2",
    "dense adamw cp=2",
    "dense+documents adamw cp=2",
    "experts+documents adamw cp=2",
)
ON_FOUR = (
    "dense adamw dp=2,fsdp=2",
    "dense adamw fsdp=2,tp=2",
    "dense muon fsdp=2,tp=2",
    "experts adamw dp=2,fsdp=2,ep=2",
    "experts adamw fsdp=2,tp=2,ep=2",
    "dense adamw pp=4",
    "dense adamw pp=2,fsdp=2",
    "experts adamw pp=2,vp=2,fsdp=2,ep=2",
    "dense+documents adamw cp=4",
    "experts adamw cp=4",
    "dense adamw fsdp=2,cp=2",
    "experts+documents adamw fsdp=2,cp=2,ep=2",
    "experts adamw pp=2,cp=2",
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
    on_four, on_two, on_one = (tmp_path / f"on-{n}" for n in (4, 2, 1))
    stopped = f"pp=2,fsdp=2:experts:stop:{torn}"
    run(4, stopped, f"fsdp=2,tp=2:experts:none:{on_four}:{torn}")
    run(2, f"pp=2,vp=2:experts:none:{on_two}:{torn}")
    run(1, f"fsdp=1:experts:none:{on_one}:{torn}")
    expected = load_file(calm / "weights.safetensors")
    for folder in (on_four, on_two, on_one):
        assert losses(folder) == pytest.approx(losses(calm), abs=1e-5), folder
        assert_close(load_file(folder / "weights.safetensors"), expected, atol=1e-3, rtol=0)


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
        ("xp=4", "'xp=4' is not understood"),
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
        (RankLayout(pp=2, vp=8), "16 stages are more than 4 layers"),
        (RankLayout(vp=2), "vp is how many stages of a pipeline a process has; set pp"),
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


def test_embedding_and_head_of_one_tensor_are_not_put_apart() -> None:
    with pytest.raises(ConfigError, match="they are one tensor here"):
        RankLayout(pp=2).check(ModelConfig(tie_embeddings=True))


@pytest.mark.parametrize(
    ("n_rows", "n_batches", "layout", "rows"),
    [
        (8, 1, RankLayout(pp=2), 2),  # four groups: twice as many as processes
        (8, 4, RankLayout(pp=2), 8),  # each batch is a group
        (3, 1, RankLayout(pp=2), 1),
        (2, 1, RankLayout(pp=2), 1),  # no more than two are there
        (6, 1, RankLayout(pp=4, vp=2), 1),  # six groups: one round of all
    ],
)
def test_rows_pass_a_pipeline_in_as_many_groups_as_keep_it_busy(
    n_rows: int, n_batches: int, layout: RankLayout, rows: int
) -> None:
    assert count_rows(n_rows, n_batches, layout) == rows


def test_too_few_rows_for_a_pipeline_are_refused() -> None:
    with pytest.raises(ConfigError, match="a step of 1 x 3 rows cannot fill a pipeline of 4"):
        count_rows(3, 1, RankLayout(pp=4))


def test_windows_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ConfigError, match="cp=4 cuts a window into 8 equal pieces, which 20"):
        check_window(20, 4)


def test_processes_have_rows_by_layout() -> None:
    layout = RankLayout(pp=2, fsdp=2, cp=2)
    rows = [layout.place(Ranks(rank, 8)).rows(4) for rank in range(8)]
    assert rows == 2 * (2 * [slice(0, 2)] + 2 * [slice(2, 4)])
