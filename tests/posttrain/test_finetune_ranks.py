"""The published command on several processes, under torchrun and DeepSpeed's own launcher: it ends
with 0, and the weights are whole."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from posttrain.test_finetune import EXAMPLE, words

TORCHRUN = (
    *("torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
)


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "--faithful"])
def test_two_processes_end_with_a_whole_model(base_dir: Path, tmp_path: Path, more: str) -> None:
    finetune_64_rows(TORCHRUN, base_dir, tmp_path, more)
    check_whole_model(tmp_path / "out", base_dir)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_the_deepspeed_launcher_ends_with_a_whole_model(
    base_dir: Path, tmp_path: Path, n: int
) -> None:
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed (pip install deepspeed, with DS_BUILD_OPS=0)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ("deepspeed.launcher.runner", "--num_gpus", str(n), "--master_port", str(port))
    finetune_64_rows(launcher, base_dir, tmp_path, "")
    check_whole_model(tmp_path / "out", base_dir)


def finetune_64_rows(launcher: Sequence[str], base_dir: Path, tmp_path: Path, more: str) -> None:
    rows = [{"instruction": f"Number {i}?", "output": f"It is {i}."} for i in range(64)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = {"MODEL": base_dir, "DATA": tmp_path / "rows.jsonl", "OUT": tmp_path / "out"}
    told = words(tmp_path, more=f"--model_max_length 256 --num_train_epochs 1 --no_cuda {more}")
    done = subprocess.run(
        [
            *(sys.executable, "-m", *launcher, str(EXAMPLE)),
            *(str(places.get(word, word)) for word in told),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def check_whole_model(folder: Path, base_dir: Path) -> None:
    transformers = pytest.importorskip("transformers")
    after = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
    before = transformers.AutoModelForCausalLM.from_pretrained(base_dir).state_dict()
    assert {n: w.shape for n, w in after.items()} == {n: w.shape for n, w in before.items()}
    assert any((after[name].float() - w.float()).abs().max() > 0 for name, w in before.items())
