"""Training throughput: our loop beside the Trainer of transformers and litgpt, in turns.

The model is the same Llama shape for all (d 384, 6 layers, vocabulary 8192, context 1024), the
tokens are random, the optimiser is AdamW with clipping. Ours computes as `codling pretrain` does by
default (in fp32 where a CPU has no bf16 instructions), the Trainer with bf16=True, litgpt's own
pretraining in bf16-true; --fp32: all in fp32. Each side runs in a process of its own, as a
user would start it, and they take turns. A repeat's figure is the median tokens per second of the
steps after the first two, which compile and warm up; a side's figure is the median over the
repeats. After every turn of ours, products of large matrices are timed on all cores: `share` is
what the model's own arithmetic has of that peak.

    python benchmarks/train.py --repeats 5
    python benchmarks/train.py --fp32
    python benchmarks/train.py --sides ours,hf-trainer,litgpt --peer-python LITGPT/bin/python

    python benchmarks/train.py --sides moe,moe-dense

The sides moe and moe-dense: a model with routed experts, and the dense one with as much arithmetic
a token, so that their ratio is that of FLOP rates.

Prints one JSON line per measurement and a last one with the ratios of the first side to the others.
The peer's Python needs litgpt alone. `--side` is how it calls itself.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import (
    Seconds,
    clock_members,
    cpu_name,
    now,
    refuse_starved,
    report,
    since,
    versions,
)

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
    parser.add_argument("--fp32", action="store_true", help="every side, whatever the CPU has")
    parser.add_argument("--sides", default="ours,hf-trainer", help="which ones, in their order")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with litgpt")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side == "peak":
        print(json.dumps(measure_peaks(arguments.threads)))
    elif arguments.side:
        size = (arguments.batch, arguments.steps, arguments.threads)
        steps = SIDES[arguments.side](*size, fp32=arguments.fp32)
        tokens = arguments.batch * CONTEXT
        print(json.dumps([[tokens / each for each in kind] for kind in zip(*steps, strict=True)]))
    else:
        interleave(arguments)


def interleave(arguments: argparse.Namespace) -> None:
    """Let the sides take turns; print every figure, and the ratios of the first to the others."""
    sides = arguments.sides.split(",")
    figures: dict[str, list[list[float]]] = {side: [] for side in sides}
    shares: dict[str, list[float]] = {}
    for repeat in range(arguments.repeats):
        for side in sides:
            figures[side].append([statistics.median(kind) for kind in measure(side, arguments)])
            by_clock, by_processor = (round(f, 1) for f in figures[side][-1])
            found = find_shares(by_clock, arguments) if side == "ours" else {}
            for kind, share in found.items():
                shares.setdefault(kind, []).append(share)
            report(
                side=side,
                repeat=repeat,
                tokens_per_second=by_clock,
                tokens_per_processor_second=by_processor,
                share=found,
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
        fp32=arguments.fp32,
        tokens_per_second=clock,
        ratios={each: round(clock[sides[0]] / clock[each], 3) for each in sides[1:]},
        tokens_per_processor_second=processor,
        processor_ratios={
            each: round(processor[sides[0]] / processor[each], 3) for each in sides[1:]
        },
        share={kind: round(statistics.median(each), 3) for kind, each in shares.items()},
    )


def find_shares(tokens_per_second: float, arguments: argparse.Namespace) -> dict[str, float]:
    """What ours has of the machine's products of large matrices in this minute, by their type."""
    from codling.model.sizes import flops_per_token

    flops = 3 * flops_per_token(dense_shape(), CONTEXT // 2) * tokens_per_second
    return {kind: round(flops / peak, 3) for kind, peak in ask("peak", arguments).items()}


def measure_peaks(threads: int) -> dict[str, float]:
    """Operations a second of products of large matrices on all cores, in bf16 and fp32."""
    import torch

    from codling.train.rates import measure_flops

    if threads:
        torch.set_num_threads(threads)
    types = (torch.bfloat16, torch.float32)
    return {
        str(each).partition(".")[2]: max(measure_flops(torch.device("cpu"), each) for _ in range(5))
        for each in types
    }


def measure(side: str, arguments: argparse.Namespace) -> list[list[float]]:
    """Tokens per second of each timed step of one side, by clock and by processor time."""
    rates: list[list[float]] = ask(side, arguments)
    return rates


def ask(side: str, arguments: argparse.Namespace) -> Any:  # noqa: ANN401 -- as JSON gives it
    """What a side prints last, in a process of its own."""
    python = arguments.peer_python if side == "litgpt" else sys.executable
    command = [python, __file__, "--side", side]
    for name in ("steps", "batch", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    command += ["--fp32"] if arguments.fp32 else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def ours(batch: int, n_steps: int, threads: int, *, fp32: bool) -> list[Seconds]:
    """The timed steps of codling.train.Trainer."""
    return time_steps(dense_shape(), batch, n_steps, threads, fp32=fp32)


def dense_shape() -> "ModelConfig":
    """The shape of all sides but those with experts."""
    from codling.model.config import ModelConfig

    return ModelConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=FFN,
        n_layers=LAYERS,
        n_heads=HEADS,
        max_position=CONTEXT,
        init_std=0.02,
    )


def moe(batch: int, n_steps: int, threads: int, *, fp32: bool) -> list[Seconds]:
    """Of the preset tiny-moe: latent attention, 16 experts of which a token meets 3 and 2 more."""
    from codling.model.presets import preset

    return time_steps(preset("tiny-moe"), batch, n_steps, threads, fp32=fp32)


def moe_dense(batch: int, n_steps: int, threads: int, *, fp32: bool) -> list[Seconds]:
    """Of its dense equivalent: MLPs as wide as the experts that a token meets together."""
    from dataclasses import replace

    from codling.model.presets import preset

    shape = preset("tiny-moe")
    assert shape.moe is not None
    met = shape.moe.n_experts_per_token + shape.moe.n_shared_experts
    dense = replace(shape, moe=None, intermediate_size=met * shape.moe.moe_intermediate_size)
    return time_steps(dense, batch, n_steps, threads, fp32=fp32)


def time_steps(
    shape: "ModelConfig", batch: int, n_steps: int, threads: int, *, fp32: bool
) -> list[Seconds]:
    """The timed steps of codling.train.Trainer for a shape, as `codling pretrain` runs it."""
    from codling.core.threads import wait_passively

    wait_passively()  # as every verb begins
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
        precision="fp32" if fp32 else "auto",
    )

    asked: dict[int, Seconds] = {}

    def batches(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        asked[number] = clock_members()
        tokens = random_tokens(batch, number)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    with tempfile.TemporaryDirectory() as folder:
        experts = ExpertsConfig()
        trainer = Trainer(
            Transformer(shape), batches, config, Path(folder), experts=experts, crew=True
        )
        trainer.run()
        refuse_starved(Path(folder))
    # A step lasts from its batch to the next one's.
    return [since(asked[i], asked[i + 1]) for i in range(WARM_STEPS, WARM_STEPS + n_steps)]


def hf_trainer(batch: int, n_steps: int, threads: int, *, fp32: bool) -> list[Seconds]:
    """The timed steps of transformers.Trainer, by default with bf16=True."""
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
            bf16=not fp32,
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


def litgpt(batch: int, n_steps: int, threads: int, *, fp32: bool) -> list[Seconds]:
    """The timed steps of litgpt's pretraining, bf16-true by default; it compiles the model."""
    import tempfile

    import torch
    from litgpt import Config
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.data import DataModule
    from litgpt.pretrain import setup

    if threads:
        torch.set_num_threads(threads)
    asked: list[Seconds] = []
    n_batches = WARM_STEPS + n_steps

    class Rows(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, n_rows: int, *, counts: bool) -> None:
            self.n_rows, self.counts = n_rows, counts

        def __len__(self) -> int:
            return self.n_rows

        def __getitem__(self, place: int) -> torch.Tensor:
            number, row = divmod(place, batch)
            if self.counts and row == 0:
                asked.append(now())
                if number == n_batches:  # before it saves its model and settings
                    raise StopAsyncIteration
            return random_tokens(batch, number)[row]

    class Random(DataModule):
        def connect(self, *_: object, **__: object) -> None:
            """Nothing: the tokens are random."""

        def train_dataloader(self) -> torch.utils.data.DataLoader[torch.Tensor]:
            rows = Rows(batch * (n_batches + 2), counts=True)
            return torch.utils.data.DataLoader(rows, batch_size=batch)

        def val_dataloader(self) -> torch.utils.data.DataLoader[torch.Tensor]:
            return torch.utils.data.DataLoader(Rows(batch, counts=False), batch_size=batch)

    shape = Config(
        name="llama",
        block_size=CONTEXT,
        vocab_size=VOCABULARY,
        padded_vocab_size=VOCABULARY,
        n_layer=LAYERS,
        n_head=HEADS,
        n_embd=WIDTH,
        intermediate_size=FFN,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    train = TrainArgs(
        save_interval=None,
        log_interval=1,
        global_batch_size=batch,
        micro_batch_size=batch,
        max_tokens=batch * (n_batches + 2) * CONTEXT,
        max_norm=1.0,
        min_lr=1e-4,
        lr_warmup_steps=1,
    )
    with tempfile.TemporaryDirectory() as folder, suppress(StopAsyncIteration):
        setup(
            "llama",
            shape,
            out_dir=Path(folder),
            precision="32-true" if fp32 else "bf16-true",
            data=Random(),
            train=train,
            eval=EvalArgs(interval=10**9, max_iters=1, final_validation=False),
            optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4}},
            devices=1,
            logger_name="csv",
        )
    return [since(asked[i], asked[i + 1]) for i in range(WARM_STEPS, n_batches)]


SIDES = {
    "ours": ours,
    "hf-trainer": hf_trainer,
    "litgpt": litgpt,
    "moe": moe,
    "moe-dense": moe_dense,
}


def random_tokens(batch: int, number: int) -> "torch.Tensor":
    """A batch [B, T+1] of random ids, the same for the same number."""
    import torch

    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, VOCABULARY, (batch, CONTEXT + 1), generator=generator)


if __name__ == "__main__":
    main()
