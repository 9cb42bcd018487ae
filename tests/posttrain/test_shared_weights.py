"""Weights shared out among two processes: killed and resumed they learn the same, and no process
holds the whole base."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codling.checkpoint.store import WEIGHTS, save_hf
from codling.core.files import read_json_lines
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.posttrain.config import TuneConfig
from codling.posttrain.plan import RankShare, plan
from codling.tokens.dialogues import DialoguesConfig, dialogues
from posttrain.tiny_base import SHAPE

TUNE = """
import os, signal, sys
from pathlib import Path
from codling.posttrain.config import TuneConfig
from codling.posttrain.tune import tune
from codling.train.trainer import Trainer

one_step = Trainer._one_step

def killed(self, log):
    if os.environ.get("KILL_AT") == str(self.position.step) and self.ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    one_step(self, log)

Trainer._one_step = killed
model, made, out = map(Path, sys.argv[1:])
tune(TuneConfig(model=model, dialogues_dir=made, out_dir=out, mode="full", shard=True,
                max_steps=8, batch_size=2, accumulate=2, compile=False, device="cpu", threads=1,
                save_seconds=0.0, n_samples=0, n_heldout_evals=2, precision="fp32"))
"""
HOLD = """
import sys, threading, time
from pathlib import Path
import torch
from codling.model.transformer import Transformer
from codling.posttrain.config import TuneConfig
from codling.posttrain.weights import prepare
from codling.train.parallel.mesh import RankLayout
from codling.train.parallel.ranks import join_ranks
from codling.train.parallel.share import share_model
from posttrain.tiny_base import SHAPE

def anonymous():  # not the pages of files
    rows = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(rows["RssAnon"].split()[0]) * 1024

def watch():
    while not done.wait(0.002):
        peaks.append(anonymous())

torch.set_num_threads(1)
ranks = join_ranks()
two = RankLayout(fsdp=2)
share_model(Transformer(SHAPE, torch.Generator().manual_seed(3)), torch.float32, two)
before, peaks, done = anonymous(), [0], threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
path = Path(sys.argv[1])
model = prepare(path, TuneConfig(model=path, mode="full"), shared=sys.argv[2] == "shared")
n_bytes = 4 * model.n_parameters()
share_model(model, torch.float32, two)
done.set()
watcher.join()
if ranks.is_main:
    print("HELD", (max(peaks) - before) / n_bytes)
"""


def launch(program: str, tmp_path: Path, *words: object, **environment: str) -> tuple[int, str]:
    file = tmp_path / "program.py"
    file.write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(file)]
    tests = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | environment,
    )
    return done.returncode, done.stdout + done.stderr[-9000:]


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_go_on_as_if_nothing_were(
    base_dir: Path, tmp_path: Path
) -> None:
    rows = [f'{{"instruction": "Number {i}?", "output": "It is {i}."}}\n' for i in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    made = dialogues(
        DialoguesConfig(
            files=(tmp_path / "rows.jsonl",),
            tokenizer_dir=base_dir,
            out_dir=tmp_path / "made",
            template="codling",
            context=128,
            heldout_share=0.1,
        )
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    code, said = launch(TUNE, tmp_path, base_dir, made.path, whole)
    assert code == 0, said
    code, said = launch(TUNE, tmp_path, base_dir, made.path, cut, KILL_AT="5")
    assert code != 0
    assert not cut.exists()
    code, said = launch(TUNE, tmp_path, base_dir, made.path, cut)
    assert code == 0, said
    losses = [[r["loss"] for r in read_json_lines(p / "metrics.jsonl")] for p in (whole, cut)]
    assert len(losses[0]) == 8
    assert losses[0] == losses[1]
    weights, again = load_file(whole / WEIGHTS), load_file(cut / WEIGHTS)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert weights["model.embed_tokens.weight"].shape == (SHAPE.vocab_size, SHAPE.hidden_size)


@pytest.mark.slow
def test_a_process_never_holds_the_whole_base(tmp_path: Path) -> None:
    shape = ModelConfig(
        vocab_size=448, hidden_size=512, intermediate_size=1408, n_layers=20, n_heads=8,
        max_position=256,
    )  # fmt: skip
    model = Transformer(shape, torch.Generator().manual_seed(0))
    save_hf(model, shape, tmp_path / "base", dtype=torch.bfloat16)
    held = {}
    for kind in ("whole", "shared"):
        code, said = launch(HOLD, tmp_path, tmp_path / "base", kind)
        assert code == 0, said
        held[kind] = float(said.split("HELD ")[1].split()[0])
    assert held["whole"] > 0.95, held
    assert held["shared"] < 0.75, held  # half, and a block whole for a moment


def test_the_plan_of_one_of_two_processes_counts_its_share() -> None:
    config = TuneConfig(model=Path("m"), mode="full", batch_size=4)
    alone, two = plan(SHAPE, config, 64), plan(SHAPE, config, 64, RankShare(2, of_weights=True))
    copies = plan(SHAPE, config, 64, RankShare(2))
    assert two.n_bytes < copies.n_bytes < alone.n_bytes
