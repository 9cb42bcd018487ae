"""Adaptation throughput and memory: our LoRA beside peft with the Trainer of transformers.

The base is the same for both (a GGUF file or checkpoint, which codling writes as a Hugging Face
folder), held in bf16; rank, adapted layers (q k v o gate up down), batch, length and optimiser are
the same, the tokens are random and the same. Each side runs in a process of its own, as a user
would start it, and the two take turns. A repeat's figure is the median tokens per second of the
steps after the first two, which compile and warm up; a side's figure is the median over the
repeats. Peak memory is that of the whole process.

    python benchmarks/adapt.py --model smollm2-135m.gguf --repeats 5 --peer-python PEFT/bin/python

`--sides tune,trl --dialogues DIR` compares tuning instead: the documents of `codling data
dialogues` with their marks of what counts, packed into windows without one seeing another on both
sides, by the loop of `codling tune` and by TRL's SFTTrainer (packing "bfd", the default). Their
tokens are those of documents; what fills a window's end does not count.

Prints one JSON line per measurement and a last one with the ratios. `--side` is how it calls
itself; the peer's Python needs peft, transformers, accelerate, for tuning trl too, and codling.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Seconds, cpu_name, now, refuse_starved, report, since, versions

if TYPE_CHECKING:
    import torch

WARM_STEPS = 2
SETTINGS = ("steps", "batch", "length", "rank", "threads", "recompute", "rows")
ADAPTED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATE = 5e-4
Step = tuple[Seconds, int]
"""How long a step took, and how many tokens it learned from."""


def main() -> None:
    """Read the command line; measure both sides in turn, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a .gguf file or a checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="timed steps per repeat")
    parser.add_argument("--batch", type=int, default=4, help="windows per step")
    parser.add_argument("--length", type=int, default=512, help="tokens of a window")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: every core")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with peft")
    parser.add_argument("--recompute", type=int, default=0, help="1: gradient checkpointing")
    parser.add_argument("--dialogues", type=Path, help="for tune and trl: an artefact of dialogues")
    parser.add_argument("--rows", default="", help=argparse.SUPPRESS)
    parser.add_argument("--sides", default="ours,peft", help="which ones, in their order")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        steps = SIDES[arguments.side](arguments)
        rates = [[n / seconds[kind] for seconds, n in steps] for kind in range(2)]
        print(json.dumps({"rates": rates, "peak_bytes": peak_bytes()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        publish(arguments.model, Path(folder))
        if arguments.dialogues:
            arguments.rows = str(write_rows(arguments.dialogues, Path(folder)))
        arguments.model = Path(folder)
        interleave(arguments)


def publish(model: Path, folder: Path) -> None:
    """Write the base as a Hugging Face folder in bf16."""
    import torch

    from codling.checkpoint.load import load_model
    from codling.checkpoint.store import save_hf

    loaded = load_model(model, dtype=torch.bfloat16)
    save_hf(loaded, loaded.config, folder, dtype=torch.bfloat16)


def write_rows(dialogues: Path, folder: Path) -> Path:
    """Write the training documents as JSON: ids, and which of them count."""
    from codling.tokens.dialogue_files import open_labelled

    stream = open_labelled(dialogues, "train")
    spans = zip(stream.starts.tolist(), stream.lengths.tolist(), strict=True)
    rows = [
        {
            "input_ids": stream.ids[start : start + n].tolist(),
            "completion_mask": stream.counted[start : start + n].astype(int).tolist(),
        }
        for start, n in spans
    ]
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def read_rows(arguments: argparse.Namespace) -> list[dict[str, list[int]]]:
    """The rows that fit into a window."""
    rows = json.loads(Path(arguments.rows).read_text(encoding="utf-8"))
    return [row for row in rows if len(row["input_ids"]) <= arguments.length]


def interleave(arguments: argparse.Namespace) -> None:
    """Let the sides take turns; print every figure, and the ratios of the first to the last."""
    sides = arguments.sides.split(",")
    figures: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
    for repeat in range(arguments.repeats):
        for side in sides:
            rates, peak = measure(side, arguments)
            clock, processor = (statistics.median(kind) for kind in rates)
            figures[side].append((clock, processor, peak / 1e6))
            report(
                side=side,
                repeat=repeat,
                tokens_per_second=round(clock, 1),
                tokens_per_processor_second=round(processor, 1),
                peak_mb=round(peak / 1e6),
                load=round(os.getloadavg()[0], 1),
            )
    clock, processor, memory = (
        {side: round(statistics.median(f[kind] for f in figures[side]), 1) for side in sides}
        for kind in range(3)
    )
    report(
        date=date.today().isoformat(),
        machine=f"{platform.machine()}, {cpu_name()}",
        versions=versions(),
        **{name: getattr(arguments, name) for name in ("repeats", *SETTINGS)},
        tokens_per_second=clock,
        ratio=round(clock[sides[0]] / clock[sides[-1]], 3),
        tokens_per_processor_second=processor,
        processor_ratio=round(processor[sides[0]] / processor[sides[-1]], 3),
        peak_mb=memory,
        memory_ratio=round(memory[sides[0]] / memory[sides[-1]], 3),
    )


def measure(side: str, arguments: argparse.Namespace) -> tuple[list[list[float]], int]:
    """Tokens per second of each timed step of one side, by clock and by processor; peak memory."""
    python = sys.executable if side in ("ours", "tune") else arguments.peer_python
    command = [python, __file__, "--side", side, "--model", str(arguments.model)]
    for name in SETTINGS:
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["rates"], found["peak_bytes"]


def ours(arguments: argparse.Namespace) -> list[Step]:
    """The timed steps of the stage adapt's loop."""
    from codling.core.threads import wait_passively

    wait_passively()  # as every verb begins
    import torch

    from codling.checkpoint.load import load_model
    from codling.posttrain.adapt import AdaptConfig
    from codling.posttrain.lora import add_lora
    from codling.train.trainer import Trainer

    config = AdaptConfig(
        model=arguments.model,
        max_steps=arguments.steps + WARM_STEPS + 1,
        batch_size=arguments.batch,
        rank=arguments.rank,
        threads=arguments.threads,
        recompute=bool(arguments.recompute),
    )
    model = load_model(arguments.model, dtype=torch.bfloat16)
    add_lora(model, config.rank, config.alpha, torch.Generator().manual_seed(0))
    asked: dict[int, Seconds] = {}

    def batches(number: int) -> "tuple[torch.Tensor, torch.Tensor]":
        asked[number] = now()
        tokens = random_tokens(arguments, model.config.vocab_size, number)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    with tempfile.TemporaryDirectory() as folder:
        Trainer(model, batches, config, Path(folder)).run()
        refuse_starved(Path(folder))
    # A step lasts from its batch to the next one's.
    timed = range(WARM_STEPS, WARM_STEPS + arguments.steps)
    n_tokens = arguments.batch * arguments.length
    return [(since(asked[i], asked[i + 1]), n_tokens) for i in timed]


def tune_loop(arguments: argparse.Namespace) -> list[Step]:
    """The timed steps of the stage tune's loop."""
    from codling.core.threads import wait_passively

    wait_passively()
    import numpy as np
    import torch

    from codling.checkpoint.load import load_model
    from codling.posttrain.config import TuneConfig
    from codling.posttrain.lora import add_lora
    from codling.posttrain.windows import Windows
    from codling.tokens.dialogue_files import LabelledStream
    from codling.train.parallel.ranks import Ranks
    from codling.train.trainer import Trainer

    config = TuneConfig(
        model=arguments.model,
        max_steps=arguments.steps + WARM_STEPS + 1,
        batch_size=arguments.batch,
        rank=arguments.rank,
        threads=arguments.threads,
        recompute=bool(arguments.recompute),
    )
    rows = read_rows(arguments)
    lengths = np.array([len(row["input_ids"]) for row in rows], dtype=np.int64)
    ids = np.array([i for row in rows for i in row["input_ids"]], dtype=np.uint32)
    counted = np.array([i for row in rows for i in row["completion_mask"]], dtype=np.bool_)
    stream = LabelledStream(ids, counted, np.cumsum(lengths) - lengths, lengths)
    windows = Windows(stream, arguments.length, 0, 0)
    model = load_model(arguments.model, dtype=torch.bfloat16)
    add_lora(model, config.rank, config.alpha, torch.Generator().manual_seed(0))
    asked: dict[int, Seconds] = {}
    n_tokens: dict[int, int] = {}

    def batches(number: int) -> "tuple[torch.Tensor, ...]":
        asked[number] = now()
        made = windows.micro_batch(number, arguments.batch, 1, Ranks())
        n_tokens[number] = int((made[2] > 0).sum())
        return made

    with tempfile.TemporaryDirectory() as folder:
        Trainer(model, batches, config, Path(folder)).run()
        refuse_starved(Path(folder))
    timed = range(WARM_STEPS, WARM_STEPS + arguments.steps)
    return [(since(asked[i], asked[i + 1]), n_tokens[i]) for i in timed]


def trl_trainer(arguments: argparse.Namespace) -> list[Step]:
    """The timed steps of TRL's SFTTrainer with LoRA and packing."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    base = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16)
    lora = LoraConfig(
        r=arguments.rank,
        lora_alpha=2 * arguments.rank,
        target_modules=ADAPTED,
        task_type="CAUSAL_LM",
    )
    # Rows are tokens already; a tokenizer is only asked for the names of padding and end.
    vocabulary = {"<end>": 0, "<pad>": 1}
    named = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<end>")),
        eos_token="<end>",
        pad_token="<pad>",
    )
    steps: list[Step] = []

    class Timed(SFTTrainer):  # type: ignore[misc]
        def training_step(self, model: object, inputs: dict, *rest: object) -> object:
            self.started = now()
            mask = inputs.get("attention_mask")
            ids = inputs["input_ids"]
            self.n_tokens = ids.numel() if mask is None else int(mask.sum())
            return super().training_step(model, inputs, *rest)

    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            steps.append((since(trainer.started, now()), trainer.n_tokens))

    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder,
            max_steps=arguments.steps + WARM_STEPS,
            per_device_train_batch_size=arguments.batch,
            max_length=arguments.length,
            packing=True,
            completion_only_loss=True,
            gradient_checkpointing=bool(arguments.recompute),
            bf16=True,
            learning_rate=RATE,
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Timed(
            model=base,
            args=settings,
            train_dataset=Dataset.from_list(read_rows(arguments)),
            processing_class=named,
            peft_config=lora,
            callbacks=[Clock()],
        )
        trainer.train()
    return steps[WARM_STEPS:]


def peft_trainer(arguments: argparse.Namespace) -> list[Step]:
    """The timed steps of transformers.Trainer with a model of peft and bf16=True."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    base = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16)
    lora = LoraConfig(r=arguments.rank, lora_alpha=2 * arguments.rank, target_modules=ADAPTED)
    model = get_peft_model(base, lora)
    n_steps = arguments.steps + WARM_STEPS
    rows = [
        {"input_ids": row[:-1], "labels": row[:-1].clone()}
        for number in range(n_steps)
        for row in random_tokens(arguments, base.config.vocab_size, number)
    ]
    steps: list[Step] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            self.started = now()

        def on_step_end(self, *_: object, **__: object) -> None:
            steps.append((since(self.started, now()), arguments.batch * arguments.length))

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=n_steps,
            per_device_train_batch_size=arguments.batch,
            bf16=True,
            learning_rate=RATE,
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(model=model, args=settings, train_dataset=rows, callbacks=[Clock()]).train()
    return steps[WARM_STEPS:]


SIDES = {"ours": ours, "peft": peft_trainer, "tune": tune_loop, "trl": trl_trainer}


def random_tokens(arguments: argparse.Namespace, vocabulary: int, number: int) -> "torch.Tensor":
    """A batch [B, L+1] of random ids, the same for the same number."""
    import torch

    generator = torch.Generator().manual_seed(number)
    shape = (arguments.batch, arguments.length + 1)
    return torch.randint(0, vocabulary, shape, generator=generator)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
