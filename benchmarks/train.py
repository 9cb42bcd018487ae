"""Training throughput: our loop beside the Trainer of transformers, interleaved in one run.

The model is the same Llama shape for both (d 384, 6 layers, vocabulary 8192, context 1024), the
tokens are random, the optimiser is AdamW with clipping; both compute in bf16. Each side runs in a
process of its own, as a user would start it, and the two take turns. A repeat's figure is the
median tokens per second of the steps after the first two, which compile and warm up; a side's
figure is the median over the repeats.

    python benchmarks/train.py --repeats 5

    python benchmarks/train.py --sides moe,moe-dense

The sides moe and moe-dense: a model with routed experts, and the dense one with as much arithmetic
a token, so that their ratio is that of FLOP rates.

Prints one JSON line per measurement and a last one with the ratio. `--side` is how it calls itself.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Seconds, cpu_name, now, report, since, versions

if TYPE_CHECKING:
    import torch

    from codling.model.config import ModelConfig

VOCABULARY, WIDTH, FFN, LAYERS, HEADS, CONTEXT = 8192, 384, 1024, 6, 6, 1024
WARM_STEPS = 2


def main() -> None:
    """Read the command line; measure all sides in turn, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="timed steps per repeat")
    parser.add_argument("--batch", type=int, default=4, help="windows of 1024 tokens per step")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: every core")
    parser.add_argument("--sides", default="ours,hf-trainer", help="which ones, in their order")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        steps = SIDES[arguments.side](arguments.batch, arguments.steps, arguments.threads)
        tokens = arguments.batch * CONTEXT
        print(json.dumps([[tokens / each for each in kind] for kind in zip(*steps, strict=True)]))
        return
    interleave(arguments)


def interleave(arguments: argparse.Namespace) -> None:
    """Let the sides take turns; print every figure, and the ratio of the first to the last."""
    sides = arguments.sides.split(",")
    figures: dict[str, list[list[float]]] = {side: [] for side in sides}
    for repeat in range(arguments.repeats):
        for side in sides:
            figures[side].append([statistics.median(kind) for kind in measure(side, arguments)])
            by_clock, by_processor = (round(f, 1) for f in figures[side][-1])
            report(
                side=side,
                repeat=repeat,
                tokens_per_second=by_clock,
                tokens_per_processor_second=by_processor,
            )
    clock, processor = (
        {side: round(statistics.median(f[kind] for f in figures[side]), 1) for side in sides}
        for kind in range(2)
    )
    report(
        date=date.today().isoformat(),
        machine=f"{platform.machine()}, {cpu_name()}",
        versions=versions(),
        repeats=arguments.repeats,
        threads=arguments.threads,
        tokens_per_second=clock,
        ratio=round(clock[sides[0]] / clock[sides[-1]], 3),
        tokens_per_processor_second=processor,
        processor_ratio=round(processor[sides[0]] / processor[sides[-1]], 3),
    )


def measure(side: str, arguments: argparse.Namespace) -> list[list[float]]:
    """Tokens per second of each timed step of one side, by clock and by processor time."""
    command = [sys.executable, __file__, "--side", side]
    for name in ("steps", "batch", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    rates: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return rates


def ours(batch: int, n_steps: int, threads: int) -> list[Seconds]:
    """The timed steps of codling.train.Trainer."""
    from codling.model.config import ModelConfig

    shape = ModelConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=FFN,
        n_layers=LAYERS,
        n_heads=HEADS,
        max_position=CONTEXT,
        init_std=0.02,
    )
    return time_steps(shape, batch, n_steps, threads)


def moe(batch: int, n_steps: int, threads: int) -> list[Seconds]:
    """Of the preset tiny-moe: latent attention, 16 experts of which a token meets 3 and 2 more."""
    from codling.model.presets import preset

    return time_steps(preset("tiny-moe"), batch, n_steps, threads)


def moe_dense(batch: int, n_steps: int, threads: int) -> list[Seconds]:
    """Of its dense equivalent: MLPs as wide as the experts that a token meets together."""
    from dataclasses import replace

    from codling.model.presets import preset

    shape = preset("tiny-moe")
    assert shape.moe is not None
    met = shape.moe.n_experts_per_token + shape.moe.n_shared_experts
    dense = replace(shape, moe=None, intermediate_size=met * shape.moe.moe_intermediate_size)
    return time_steps(dense, batch, n_steps, threads)


def time_steps(shape: "ModelConfig", batch: int, n_steps: int, threads: int) -> list[Seconds]:
    """The timed steps of codling.train.Trainer for a shape."""
    import tempfile

    import torch

    from codling.model.transformer import Transformer
    from codling.train.config import ExpertsConfig, LoopConfig, OptimizerConfig
    from codling.train.trainer import Trainer

    config = LoopConfig(
        max_steps=n_steps + WARM_STEPS + 1,
        batch_size=batch,
        threads=threads,
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-4),
    )

    asked: dict[int, Seconds] = {}

    def batches(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        asked[number] = now()
        tokens = random_tokens(batch, number)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    with tempfile.TemporaryDirectory() as folder:
        experts = ExpertsConfig()
        Trainer(Transformer(shape), batches, config, Path(folder), experts=experts).run()
    # A step lasts from its batch to the next one's.
    return [since(asked[i], asked[i + 1]) for i in range(WARM_STEPS, WARM_STEPS + n_steps)]


def hf_trainer(batch: int, n_steps: int, threads: int) -> list[Seconds]:
    """The timed steps of transformers.Trainer with bf16=True."""
    import tempfile

    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    if threads:
        torch.set_num_threads(threads)
    shape = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=None,
    )
    rows = [
        {"input_ids": row[:-1], "labels": row[:-1].clone()}
        for number in range(n_steps + WARM_STEPS)
        for row in random_tokens(batch, number)
    ]
    steps: list[Seconds] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            self.started = now()

        def on_step_end(self, *_: object, **__: object) -> None:
            steps.append(since(self.started, now()))

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=n_steps + WARM_STEPS,
            per_device_train_batch_size=batch,
            bf16=True,
            learning_rate=1e-4,
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        model = LlamaForCausalLM(shape)
        Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Clock()]).train()
    return steps[WARM_STEPS:]


SIDES = {"ours": ours, "hf-trainer": hf_trainer, "moe": moe, "moe-dense": moe_dense}


def random_tokens(batch: int, number: int) -> "torch.Tensor":
    """A batch [B, T+1] of random ids, the same for the same number."""
    import torch

    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, VOCABULARY, (batch, CONTEXT + 1), generator=generator)


if __name__ == "__main__":
    main()
