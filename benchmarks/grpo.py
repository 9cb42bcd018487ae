"""Steps of GRPO beside TRL's GRPOTrainer: the same model, prompts, answers a step and rewards.

    python benchmarks/grpo.py --model smollm2-135m.gguf --work-dir /tmp/grpo --mode lora --turns 5

needs the extra peers (trl, peft). Both sides learn all weights, or LoRA of rank 16 beside all
linear layers of the blocks, in fp32 with AdamW and the loss "dapo", ask the same chat prompts for
the same number of answers of the same greatest length, and reward them by the same trivial
function, so that no sandbox is in the figures. Ours draws answers as `--rollout-precision` says.

In turns: a step of TRL's, then one of ours, the first of each not counted. TRL's step is timed from
where ours ended; it generates with transformers, without checkpointing of gradients. One JSON line
per step, and medians at the end.

Not here: whether the losses are the same (tests/posttrain/test_grpo_trl.py).
"""

import argparse
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from measuring import cpu_name, now, report, since

from codling import __version__
from codling.checkpoint.load import load_model
from codling.checkpoint.store import save_hf
from codling.checkpoint.tokenizer_files import open_tokenizer, write_tokenizer
from codling.core.files import read_json_lines
from codling.core.log import MetricsLog
from codling.posttrain.config import GrpoConfig
from codling.posttrain.grpo_loop import METRICS, ROLLOUTS, GrpoLoop
from codling.posttrain.questions import encode
from codling.posttrain.rewards import Assessment, Said
from codling.posttrain.tasks.families import make_exercises
from codling.posttrain.weights import prepare


def worth(text: str) -> float:
    """A reward that hardly any two answers share, so that every group has a contrast."""
    return (len(text) % 17) / 17


Step = tuple[float, float, float]
"""Seconds by the clock and of processor time, which stands a busy machine; answers' mean length."""


class Lengths:
    """In place of the sandbox."""

    def assess(self, answers: Sequence[Said], **_: bool) -> list[Assessment]:
        """Some share of the tests, by the answer's length."""
        return [Assessment(grade="failed", share=worth(each.text)) for each in answers]


class Ours:
    """Our side: one step at a time."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, rows: list[Any]) -> None:
        tokenizer = open_tokenizer(folder)
        config = GrpoConfig(
            model=folder,
            tasks_dir=folder,
            mode=arguments.mode,
            rollout_precision=arguments.rollout_precision,
            max_steps=arguments.turns + 2,
            num_generations=arguments.group,
            batch_size=8,
            accumulate=arguments.answers // 8,
            max_completion_length=arguments.length,
            threads=torch.get_num_threads(),
            device="cpu",
        )
        out = folder / "ours"
        out.mkdir(exist_ok=True)
        posed = list(encode(rows, tokenizer, 4096))
        model = prepare(folder, config)
        self._loop = GrpoLoop(model, tokenizer, posed, [], config, out, Lengths())  # type: ignore[arg-type]
        self._metrics = out / METRICS
        self._logs = [MetricsLog(out / name) for name in (METRICS, ROLLOUTS, "heldout.jsonl")]

    def step(self) -> Step:
        """One step of GRPO."""
        began = now()
        self._loop._one_step(*self._logs)
        seconds = since(began, now())
        *_, row = read_json_lines(self._metrics)
        return *seconds, row["mean_length"]


def run_in_turns(
    arguments: argparse.Namespace, folder: Path, rows: list[Any], ours: Ours
) -> dict[str, list[Step]]:
    """Every step, by side."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    found: dict[str, list[Step]] = {"TRL": [], "codling": []}
    lengths: list[float] = []

    class Turns(TrainerCallback):  # type: ignore[misc]
        """After each of TRL's steps comes one of ours."""

        began = (0.0, 0.0)

        def on_train_begin(self, *_: object, **__: object) -> None:
            self.began = now()

        def on_step_end(self, *_: object, **__: object) -> None:
            found["TRL"].append((*since(self.began, now()), statistics.fmean(lengths)))
            lengths.clear()
            found["codling"].append(ours.step())
            for side, steps in found.items():
                clock, processor, length = (round(value, 2) for value in steps[-1])
                report(side=side, seconds=clock, processor_seconds=processor, length=length)
            self.began = now()

    def reward(completions: list[Any], completion_ids: list[Any], **_: object) -> list[float]:
        lengths.extend(len(ids) for ids in completion_ids)
        return [0.5 * worth(each[0]["content"]) for each in completions]

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=arguments.answers // 8,
            num_generations=arguments.group,
            max_completion_length=arguments.length,
            max_steps=arguments.turns + 1,
            learning_rate=1e-6,
            loss_type="dapo",
            scale_rewards="none",
            epsilon_high=0.28,
            beta=0.0,
            save_strategy="no",
            report_to=[],
        ),
        train_dataset=Dataset.from_list([{"prompt": [dict(row.prompt[0])]} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[Turns()],
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
        if arguments.mode == "lora"
        else None,
    )
    trainer.train()
    return {side: steps[1:] for side, steps in found.items()}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--mode", choices=("lora", "full"), default="lora")
    parser.add_argument("--rollout-precision", choices=("auto", "model", "int8"), default="auto")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--answers", type=int, default=16, help="a step's; a multiple of 8")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--length", type=int, default=48)
    arguments = parser.parse_args()
    folder = arguments.work_dir
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(arguments.model, dtype=torch.float32)
    write_tokenizer(arguments.model, folder)
    save_hf(model, model.config, folder, dtype=torch.float32)
    rows = list(make_exercises(96, 0, "chat"))
    report(
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        codling=__version__,
        **{name: version(name) for name in ("torch", "transformers", "trl")},
    )
    found = run_in_turns(arguments, folder, rows, Ours(arguments, folder, rows))
    for kind, name in enumerate(("clock", "processor")):
        rates = {
            side: [arguments.answers / step[kind] for step in steps]
            for side, steps in found.items()
        }
        pairs = zip(rates["codling"], rates["TRL"], strict=True)
        by_turn = [round(ours / theirs, 2) for ours, theirs in pairs]
        medians = {side: round(statistics.median(each), 3) for side, each in rates.items()}
        report(by=name, samples_per_second=medians, times_trl=by_turn)


if __name__ == "__main__":
    main()
