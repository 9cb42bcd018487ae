"""Weights shared out among processes learn what whole ones learn."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import torch
import torch.distributed as dist

from codling.model.transformer import Transformer
from codling.train.config import OptimizerConfig
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.optim.sharded_optimizer import ShardedOptimizer
from codling.train.parallel.mesh import RankLayout
from codling.train.parallel.share import share_model
from codling.train.parallel.ranks import join_ranks
from codling.train.step import LossStep
from posttrain.tiny_base import SHAPE

torch.set_num_threads(1)
ranks = join_ranks()
config = OptimizerConfig(name="adamw", learning_rate=1e-2, eps=1e-8, weight_decay=0.1)

def learn(shard):
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    if shard:
        sharing = share_model(model, torch.float32, RankLayout(fsdp=ranks.n_ranks))
        optimizer = ShardedOptimizer(model, config, sharing)
        held = sum(master.numel() for master in optimizer.weights().values())
        assert abs(2 * held / model.n_parameters() - 1) < 0.05, held
        optimizer.publish()  # as after a state is loaded
    else:
        optimizer = FlatOptimizer(FlatWeights(model, torch.float32), config)
    step, found = LossStep(model, compiled=False), []
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        for micro in range(2):
            ids = torch.randint(0, SHAPE.vocab_size, (4, 33), generator=generator)
            ids = ids[ranks.rows(4)]
            loss = step.loss(ids[:, :-1], ids[:, 1:])
            loss.backward()
            optimizer.add_gradients(first=micro == 0)
        found.append(float(optimizer.average(ranks, loss.detach())))
        found.append(float(optimizer.step(1.0, n_summed=2)))
        found.append(step.evaluate(ids[:, :-1], ids[:, 1:]))
    optimizer.restore()
    return torch.tensor(found), model

(whole, first), (shared, second) = learn(False), learn(True)
torch.testing.assert_close(shared, whole, atol=1e-5, rtol=1e-5)
if ranks.is_main:
    for (name, own), (_, other) in zip(first.named_parameters(), second.named_parameters()):
        torch.testing.assert_close(other, own, atol=1e-4, rtol=0, msg=name)
    print("EQUAL")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_with_shards_learn_what_two_with_whole_weights_do(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    tests = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*launch, str(program)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "EQUAL" in done.stdout
