"""DeepSeek-Coder's published finetune command, word for word: the data and tuning that it means.

Input: the words after finetune_deepseekcoder.py. Output: dialogues in OUTPUT_DIR.dialogues and in
OUTPUT_DIR the checkpoint (with --use_peft an adapter). Every flag of 2023 is known; what has no
effect is said in one line.

By default its faults are mended, and that is said: the rate follows --lr_scheduler_type, which
DeepSpeed's own scheduler silently overrode; cut answers, which lose their end token, are left out;
documents are packed. With --faithful the labels are the published ones to the token, one row is one
window, and a DeepSpeed config with a scheduler holds the rate after the warm-up, as it did then.

Not here: the flags one by one (published_flags.py).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError
from codling.core.log import say
from codling.posttrain.config import TuneConfig
from codling.posttrain.published_flags import DEFAULTS, has_scheduler, read_deepspeed, read_flags
from codling.posttrain.tune import tune
from codling.tokens.dialogues import DialoguesConfig, dialogues
from codling.train.config import OptimizerConfig, ScheduleConfig
from codling.train.parallel.ranks import join_ranks

_FAITHFUL = (
    "faithful: labels as published, cut answers too; one row a window; warm-up rises linearly, "
    "where DeepSpeed's rose with the logarithm"
)
_MENDED = (
    "mended: answers that do not fit are left out and counted, each answer keeps its end token, "
    "rows share windows without seeing each other, and the prompt is the model's own template "
    "(--faithful for the published labels)"
)


@dataclass(frozen=True)
class PublishedRun:
    """What a published command means, and what has to be said of it."""

    dialogues: DialoguesConfig
    tuning: TuneConfig
    lines: tuple[str, ...]


def finetune(words: Sequence[str]) -> Artifact:
    """Run a published command; the model in --output_dir.

    Raises ConfigError for what it cannot mean, in one line.
    """
    run = plan_run(words, n_ranks=int(os.environ.get("WORLD_SIZE", "1")))
    for line in run.lines:
        say(line)
    ranks = join_ranks()
    if ranks.is_main:
        dialogues(run.dialogues)
    ranks.wait()
    return tune(run.tuning)


def plan_run(words: Sequence[str], *, n_ranks: int = 1) -> PublishedRun:
    """The settings that a published command means on `n_ranks` processes."""
    given, lines = read_flags(words)
    deepspeed = Path(str(given["deepspeed"])) if given.get("deepspeed") else None
    if deepspeed is not None:
        more, said = read_deepspeed(deepspeed, given)
        given, lines = {**more, **given}, [*lines, *said]
    flags: Mapping[str, Any] = {**DEFAULTS, **given}
    for name in ("data_path", "output_dir"):
        if not flags[name]:
            raise ConfigError(f"--{name} is missing")
    schedule, said = _schedule(flags, deepspeed)
    lines += [_FAITHFUL if flags["faithful"] else _MENDED, *said]
    if flags["optim"] not in ("adamw_torch", "adamw_hf", "adamw_torch_fused"):
        lines.append(f"--optim {flags['optim']}: no effect, AdamW is used")
    if flags["fp16"]:
        lines.append("--fp16: bf16 is used, which needs no loss scaling")
    return PublishedRun(
        _dialogues_config(flags), _tune_config(flags, schedule, n_ranks), tuple(lines)
    )


def _dialogues_config(flags: Mapping[str, Any]) -> DialoguesConfig:
    return DialoguesConfig(
        files=tuple(Path(each) for each in flags["data_path"]),
        tokenizer_dir=Path(flags["model_name_or_path"]),
        out_dir=_dialogues_dir(flags),
        labels="published" if flags["faithful"] else "answers",
        context=flags["model_max_length"],
        heldout_share=0.0,
        seed=flags["seed"],
    )


def _tune_config(flags: Mapping[str, Any], schedule: ScheduleConfig, n_ranks: int) -> TuneConfig:
    per_device = flags["per_gpu_train_batch_size"] or flags["per_device_train_batch_size"]
    optimizer = OptimizerConfig(
        name="adamw",
        learning_rate=flags["learning_rate"],
        betas=(flags["adam_beta1"], flags["adam_beta2"]),
        eps=flags["adam_epsilon"],
        weight_decay=flags["weight_decay"],
        clip_norm=flags["max_grad_norm"],
    )
    return TuneConfig(
        model=Path(flags["model_name_or_path"]),
        dialogues_dir=_dialogues_dir(flags),
        out_dir=Path(flags["output_dir"]),
        mode="lora" if flags["use_peft"] else "full",
        rank=flags["lora_rank"],
        alpha=flags["lora_alpha"],
        full_rate_share=1.0,
        batch_size=per_device * n_ranks,
        accumulate=flags["gradient_accumulation_steps"],
        epochs=flags["num_train_epochs"],
        max_steps=flags["max_steps"] if flags["max_steps"] > 0 else None,
        packing=not flags["faithful"],
        optimizer=optimizer,
        schedule=schedule,
        precision="bf16" if flags["bf16"] or flags["fp16"] else "fp32",
        device="cpu" if flags["use_cpu"] or flags["no_cuda"] else "auto",
        seed=flags["seed"],
        compile=flags["torch_compile"],
    )


def _schedule(flags: Mapping[str, Any], deepspeed: Path | None) -> tuple[ScheduleConfig, list[str]]:
    """The learning rate over the run, and what has to be said of it."""
    name, lines = flags["lr_scheduler_type"], []
    if deepspeed is not None and has_scheduler(deepspeed):
        if flags["faithful"]:
            lines.append(f"--lr_scheduler_type {name}: {deepspeed}'s scheduler holds the rate")
            name = "constant_with_warmup"
        else:
            lines.append(
                f"the rate follows --lr_scheduler_type {name}; in 2023 {deepspeed}'s scheduler "
                "held it constant all the same"
            )
    if flags["warmup_ratio"]:
        lines.append("--warmup_ratio: no effect, give --warmup_steps")
    n_warmup = 0 if name == "constant" else flags["warmup_steps"]
    if n_warmup:
        lines.append("--warmup_steps: at most a tenth of the run")
    made = {
        "cosine": ScheduleConfig(name="cosine", warmup_steps=n_warmup),
        "linear": ScheduleConfig(name="wsd", warmup_steps=n_warmup),
        "constant": ScheduleConfig(name="wsd", warmup_steps=0, floor=1.0),
        "constant_with_warmup": ScheduleConfig(name="wsd", warmup_steps=n_warmup, floor=1.0),
    }
    if name not in made:
        raise ConfigError(f"--lr_scheduler_type is {name}; choose from {', '.join(made)}")
    return made[name], lines


def _dialogues_dir(flags: Mapping[str, Any]) -> Path:
    out_dir = Path(flags["output_dir"]).absolute()
    return out_dir.with_name(out_dir.name + ".dialogues")
