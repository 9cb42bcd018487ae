"""What the processes of the tests run: tiny models, and a Trainer over counting sequences."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig, LoopConfig, OptimizerConfig
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.optim.optimizer import Optimizer
from codling.train.optim.sharded_optimizer import ShardedOptimizer
from codling.train.parallel.mesh import RankLayout, parse_layout
from codling.train.parallel.ranks import Ranks, join_ranks
from codling.train.parallel.share import share_model
from codling.train.pipeline_step import PipelineStep
from codling.train.run import run_watched
from codling.train.step import LossStep
from codling.train.trainer import Trainer

DENSE = ModelConfig(
    vocab_size=64, hidden_size=32, intermediate_size=64, n_layers=4, n_heads=4, max_position=32
)
EXPERTS = replace(
    DENSE,
    init_std=0.1,  # affinities so far apart that a rounded bit does not send a token elsewhere
    mla=MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8),
    moe=MoEConfig(
        n_routed_experts=8,
        n_experts_per_token=2,
        moe_intermediate_size=16,
        n_group=4,
        topk_group=2,
        topk_method="group_limited_greedy",
    ),
)
BIASED = replace(EXPERTS, moe=replace(EXPERTS.moe, selection_bias=True))  # type: ignore[type-var]
BALANCE = ExpertsConfig(device_alpha=0.01, communication_alpha=0.01)


def learn(kind: str, name: str, layout: RankLayout | None, ranks: Ranks) -> list[float]:
    """Losses of 20 steps of two micro-batches, and held-out ones, on one process or several.

    With documents every row holds two, which do not see each other.
    """
    shape = DENSE if kind.startswith("dense") else EXPERTS
    starts = torch.tensor([[5], [9], [16], [3], [8], [12], [7], [15]])
    documents = (torch.arange(16) >= starts).long() if kind.endswith("documents") else None
    model = Transformer(shape, torch.Generator().manual_seed(0))
    config = OptimizerConfig(name=name, learning_rate=3e-3, eps=1e-8, weight_decay=0.1)  # type: ignore[arg-type]
    optimizer: Optimizer = FlatOptimizer(FlatWeights(model, torch.float32), config)
    rows, step = slice(0, 8), LossStep(model, compiled=False, experts=BALANCE)
    if layout is not None:
        ranks = layout.place(ranks)
        sharing = share_model(model, torch.float32, layout)
        optimizer, rows = ShardedOptimizer(model, config, sharing), ranks.rows(8)
        step = LossStep(model, compiled=False, experts=BALANCE, windows=sharing.windows)
        if sharing.pipeline is not None:
            step = PipelineStep(model, sharing, BALANCE)
    # With seed 1 a rounded bit sends a token of these documents to another expert, by step 16.
    generator, found = torch.Generator().manual_seed(1 if documents is None else 3), []
    for _ in range(20):
        ids = [torch.randint(0, 64, (8, 17), generator=generator)[rows] for _ in range(2)]
        beside = () if documents is None else (documents[rows],)
        batches = [(each[:, :-1], each[:, 1:], *beside) for each in ids]
        total, n = step.accumulate(batches, optimizer)
        mean = total / n
        found.append(float(optimizer.average(ranks, mean) if layout is not None else mean))
        optimizer.step(1.0, n_summed=n)
    ids_BL = torch.randint(0, 64, (8, 17), generator=generator)
    found.append(step.evaluate(ids_BL[:, :-1], ids_BL[:, 1:]))
    found += step.evaluate_rows(ids_BL[:, :-1], ids_BL[:, 1:]).tolist()
    optimizer.restore()
    if ranks.is_main:
        assert all(p.isfinite().all() for p in model.parameters())
    return found


def compare(ranks: Ranks, cases: list[str]) -> None:
    """Print the greatest difference of each case, "dense adamw fsdp=2", to one process."""
    alone: dict[tuple[str, str], list[float]] = {}
    for case in cases:
        kind, name, words = case.split()
        found = learn(kind, name, parse_layout(words, ranks.n_ranks), ranks)
        if ranks.is_main:  # alone: the others would only take its processor time
            if (kind, name) not in alone:
                alone[kind, name] = learn(kind, name, None, ranks)
            apart = max(abs(a - b) for a, b in zip(found, alone[kind, name], strict=True))
            sys.stdout.write(json.dumps({"case": case, "apart": apart}) + "\n")
            sys.stdout.flush()


def train(ranks: Ranks, words: str, kind: str, folder: Path, trouble: str = "none") -> None:
    """Eight steps into `folder`; no words: the whole model in every process.

    `trouble`: at step 4 stop, all processes; kill, hang: what the second one does.
    """
    layout = parse_layout(words, ranks.n_ranks) if words else None
    if layout is not None:
        ranks = layout.place(ranks)
    first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"

    def batches(number: int) -> tuple[Tensor, Tensor]:
        if number == 4 and trouble == "stop":
            raise InterruptedError
        if number == 4 and ranks.rank == 1 and trouble == "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        if number == 4 and ranks.rank == 1 and first_try and trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        generator = torch.Generator().manual_seed(number)
        starts = torch.randint(0, 64, (4, 1), generator=generator)
        tokens = ((starts + torch.arange(17)) % 64)[ranks.rows(4)]
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    config = LoopConfig(
        max_steps=8,
        compile=False,
        threads=1,
        device="cpu",
        precision="fp32",
        save_seconds=0.0,
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-2, eps=1e-8),
    )
    shape = DENSE if kind == "dense" else BIASED
    model = Transformer(shape, torch.Generator().manual_seed(0))
    experts = replace(BALANCE, bias_step=0.01) if kind == "experts" else None
    made = Trainer(model, batches, config, folder, ranks=ranks, layout=layout, experts=experts)
    try:
        run_watched(made, folder, ranks)
        if ranks.is_main:
            save_file(dict(model.named_parameters()), folder / "weights.safetensors")
    except InterruptedError:
        made.saves.wait()


if __name__ == "__main__":
    torch.set_num_threads(1)
    joined = join_ranks(seconds=float(os.environ.get("SECONDS_TO_WAIT", "600")), alone=True)
    if sys.argv[1] == "compare":
        compare(joined, sys.argv[2:])
    else:
        # layout:kind:trouble:folder, or with another folder behind that it begins as, one by one.
        for case in sys.argv[2:]:
            layout_words, kind_of_model, what, place, *source = case.split(":")
            if source and joined.is_main:
                shutil.copytree(source[0], place)
            joined.wait()
            train(joined, layout_words, kind_of_model, Path(place), what)
    dist.destroy_process_group()
