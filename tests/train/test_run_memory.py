"""What a run on CPUs takes: each part by hand, and the sum beside the peak of real runs."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.core.errors import ConfigError
from codling.core.log import say
from codling.model.config import ModelConfig
from codling.model.device import choose_type
from codling.model.presets import preset
from codling.model.sizes import sizes
from codling.model.transformer import Transformer
from codling.train import run_memory
from codling.train.cluster_plan import PlanConfig, plan
from codling.train.config import LoopConfig, OptimizerConfig
from codling.train.run_memory import count_run_memory, foresee_memory, state_bytes

SHAPE = ModelConfig(
    vocab_size=1024, hidden_size=64, intermediate_size=128, n_layers=4, n_heads=4, max_position=64
)
ALONE: dict[str, Any] = {"batch_size": 8, "threads": 1, "compile": False, "precision": "fp32"}


def test_weights_gradients_and_moments_by_hand() -> None:
    n, tables = sizes(SHAPE).total, 2 * 1024 * 64
    parts = count_run_memory(SHAPE, LoopConfig(**ALONE), 64)
    assert parts["weights"] == 8 * n
    assert parts["gradients"] == 4 * n
    assert parts["optimizer"] == 4 * n + 4 * tables
    assert parts["logits"] == 16 * 512 * 1024 + 12 * 1024 * 64
    short = LoopConfig(**ALONE | {"precision": "bf16", "optimizer": OptimizerConfig(name="adamw")})
    parts = count_run_memory(SHAPE, short, 64)
    assert (parts["weights"], parts["optimizer"]) == (6 * n, 8 * n)


def test_processes_have_a_gradient_each_and_share_the_rest() -> None:
    one, two = (
        count_run_memory(SHAPE, LoopConfig(**ALONE | {"threads": 0, "processes": k}), 64)
        for k in (1, 2)
    )
    assert two["gradients"] == 2 * one["gradients"]
    assert all(one[name] == two[name] for name in ("weights", "optimizer", "activations"))
    assert two["program"] > one["program"]


def test_computed_again_a_layer_leaves_its_input() -> None:
    parts = count_run_memory(SHAPE, LoopConfig(**ALONE, recompute=True), 64)
    one = state_bytes(SHAPE, 64, 4, compiles=False, norms=4)
    assert parts["activations"] == 8 * 64 * (4 * 4 * 64 + one)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "length"), [("dense", 256), ("moe", 128), ("gqa", 512)])
def test_an_eager_layer_keeps_what_is_counted(name: str, length: int, precision: str) -> None:
    shape = replace(preset(f"tiny-{name}"), vocab_size=64)
    dtype = choose_type(precision, torch.device("cpu"))
    two, three = (_kept(replace(shape, n_layers=n), length, dtype) for n in (2, 3))
    counted = state_bytes(shape, length, dtype.itemsize, compiles=False, norms=4)
    assert (three - two) / length == pytest.approx(counted, rel=0.04)


def _kept(shape: ModelConfig, length: int, dtype: torch.dtype) -> int:
    """Bytes of the distinct memory that a forward pass keeps for the backward one."""
    model = Transformer(shape).to(dtype).train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.zeros((1, length), dtype=torch.int64)).sum()
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in weights)


def test_a_run_says_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("")
    config = LoopConfig(**ALONE, device="cpu")
    monkeypatch.setattr(run_memory, "available_share", lambda: 1 << 40)
    foresee_memory(SHAPE, config, 64)
    assert "parameters; training takes about 0.6 GiB\n" in capsys.readouterr().err
    monkeypatch.setattr(run_memory, "available_share", lambda: 1 << 28)
    foresee_memory(SHAPE, config, 64)
    assert "0.6 GiB, and 0.2 GiB are free; --recompute takes less\n" in capsys.readouterr().err


def test_a_run_far_beyond_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    need = sum(count_run_memory(SHAPE, LoopConfig(**ALONE, device="cpu"), 64).values())
    monkeypatch.setattr(run_memory, "total_bytes", lambda: need // 2)
    with pytest.raises(ConfigError, match=r"takes about 0.6 GiB, and this machine has 0.3 GiB"):
        foresee_memory(SHAPE, LoopConfig(**ALONE, device="cpu"), 64)
    monkeypatch.setattr(run_memory, "total_bytes", lambda: need)
    foresee_memory(SHAPE, LoopConfig(**ALONE, device="cpu"), 64)


def test_a_plan_for_this_machine_has_the_same_sum() -> None:
    text = plan(PlanConfig(model="tiny", gpu="cpu"))
    assert "tiny on this machine's CPUs" in text
    assert "memory of the run" in text
    assert "  activations" in text


RUN = """
import json, resource, sys
from pathlib import Path
from codling.core.recipe import build
from codling.train.pretrain import PretrainConfig, pretrain
settings = json.loads(sys.argv[1])
pretrain(build(PretrainConfig, settings, "test"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def warm(tokens_dir: Path, tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A first run, which compiles what later ones find in caches: that takes memory of its own."""
    settings = {**ALONE, "max_steps": 1, "device": "cpu", "model": _given(asdict(SHAPE))}
    settings |= {"tokens_dir": str(tokens_dir), "tokenizer_dir": str(tokenizer_dir)}
    _peak_of(settings | {"out_dir": str(tmp_path_factory.mktemp("warm") / "out")})


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "context", "batch_size"), [("dense", 1024, 2), ("moe", 512, 4), ("gqa", 2048, 1)]
)
def test_the_peak_of_an_uncompiled_run_is_within_a_tenth_of_its_plan(
    tokens_dir: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
    name: str,
    context: int,
    batch_size: int,
    precision: str,
) -> None:
    shape = replace(preset(f"tiny-{name}"), vocab_size=8192)
    settings: dict[str, Any] = {**ALONE, "precision": precision, "max_steps": 2, "device": "cpu"}
    settings |= {"batch_size": batch_size, "n_heldout_evals": 0}
    planned = sum(count_run_memory(shape, LoopConfig(**settings), context).values())
    paths = {"tokens_dir": tokens_dir, "tokenizer_dir": tokenizer_dir, "out_dir": tmp_path / "out"}
    settings |= {key: str(path) for key, path in paths.items()}
    settings |= {"model": _given(asdict(shape)), "vocab_multiple": 8192, "context": context}
    peak = _peak_of(settings)
    assert peak == pytest.approx(planned, rel=0.1), f"{planned / 1e6:.0f} {peak / 1e6:.0f} MB"


COMPILED_OR_SHARED = [
    ("dense", 1024, 2, {"compile": True}),
    ("moe", 512, 4, {"compile": True}),
    ("dense", 512, 8, {"compile": True, "threads": 0, "processes": 2}),
    ("gqa", 2048, 2, {"compile": True, "threads": 0, "processes": 2}),
    ("dense", 1024, 4, {"threads": 0, "processes": 2}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "context", "batch_size", "how"), COMPILED_OR_SHARED)
def test_the_peak_of_compiled_runs_and_of_several_processes_is_within_a_tenth(
    tokens_dir: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
    name: str,
    context: int,
    batch_size: int,
    how: dict[str, Any],
) -> None:
    shape = replace(preset(f"tiny-{name}"), vocab_size=8192)
    settings: dict[str, Any] = {**ALONE, "max_steps": 4, "device": "cpu"} | how
    settings |= {"batch_size": batch_size, "n_heldout_evals": 0}
    planned = sum(count_run_memory(shape, LoopConfig(**settings), context).values())
    settings |= {"tokens_dir": str(tokens_dir), "tokenizer_dir": str(tokenizer_dir)}
    settings |= {"model": _given(asdict(shape)), "vocab_multiple": 8192, "context": context}
    if settings["compile"]:  # the compiler's own processes are not counted
        _peak_of(settings | {"out_dir": str(tmp_path / "warm"), "max_steps": 1})
    peak = _peak_of_all(settings | {"out_dir": str(tmp_path / "out")})
    assert peak == pytest.approx(planned, rel=0.1), f"{planned / 1e6:.0f} {peak / 1e6:.0f} MB"


def _peak_of_all(settings: dict[str, Any]) -> int:
    """The same of a training and the processes that share its batches, as seen from outside."""
    command = [sys.executable, "-c", RUN, json.dumps(settings)]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            members = _read_kilobytes(run.pid, "smaps_rollup"), *_read_children(run.pid)
            own = sum(each.get("Pss_Anon", 0) + each.get("Pss_Shmem", 0) for each in members)
            files = _read_kilobytes(run.pid, "status").get("RssFile", 0)
            peak = max(peak, 1024 * (own + files))
            time.sleep(0.005)
    assert not run.returncode
    return peak


def _read_children(process: int) -> list[dict[str, int]]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [_read_kilobytes(int(each), "smaps_rollup") for each in children]


def _read_kilobytes(process: int, name: str) -> dict[str, int]:
    """The lines in kB of one of the kernel's files about a process; none where it has ended."""
    try:
        lines = Path(f"/proc/{process}/{name}").read_text().splitlines()
    except OSError:
        return {}
    fields = [line.split() for line in lines if line.endswith(" kB")]
    return {each[0].rstrip(":"): int(each[1]) for each in fields if len(each) == 3}


def _peak_of(settings: dict[str, Any]) -> int:
    """The largest resident memory of a training in a process of its own, bytes."""
    command = [sys.executable, "-c", RUN, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return int(done.stdout.splitlines()[-1])


def _given(table: dict[str, Any]) -> dict[str, Any]:
    """Without what is not set, as a recipe is written."""
    nested = {k: _given(v) if isinstance(v, dict) else v for k, v in table.items()}
    return {k: v for k, v in nested.items() if v is not None}
