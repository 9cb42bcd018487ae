"""The verb finetune: DeepSeek-Coder's published command, word for word.

Input: the words after finetune_deepseekcoder.py. Output: dialogues in OUTPUT_DIR.dialogues and in
OUTPUT_DIR the checkpoint (with --use_peft an adapter). Every flag of 2023 is known; what has no
effect is said in one line.

By default its faults are mended, and that is said: the rate follows --lr_scheduler_type, which
DeepSpeed's own scheduler silently overrode; cut answers, which lose their end token, are left out;
documents are packed; every counted token of an update weighs the same. With --faithful the labels
are the published ones to the token, one row is one window, every micro-batch weighs the same, and
the rate is the one that a DeepSpeed config with a scheduler gave.

Not here: the flags one by one (published_flags.py).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from codling.checkpoint.hub import local_path
from codling.checkpoint.load import is_gguf, load_config
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.verify import check_files
from codling.core.artifact import Artifact
from codling.core.errors import ConfigError
from codling.core.flags import name_flags_in_error
from codling.core.log import say
from codling.core.ranges import Ranged
from codling.core.recipe import aside
from codling.posttrain.adopt import AdoptConfig, adopt
from codling.posttrain.config import TuneConfig
from codling.posttrain.published_flags import DEFAULTS, read_deepspeed, read_flags, scheduler_type
from codling.posttrain.tune import tune
from codling.tokens.chat import ChatFormat
from codling.tokens.dialogues import DialoguesConfig, dialogues
from codling.train.config import OptimizerConfig, ScheduleConfig, TrackerName
from codling.train.parallel.ranks import join_ranks

_FAITHFUL = (
    "faithful: labels as published, cut answers too; one row a window; every micro-batch weighs "
    "the same, however few of its tokens count"
)
_MENDED = (
    "mended: answers that do not fit or are cut, repeated rows and rows with secrets are left out "
    "and counted, each answer keeps its end token, rows share windows without seeing each other, "
    "an update has as many rows as asked for, and the prompt is the model's own template "
    "(--faithful for the published labels)"
)


_PLAIN = "v2"
"""The template of models that have none: its special tokens are bos and eos alone."""
_NO_CLIPPING = 1e12
"""What --max_grad_norm 0 means to transformers: no gradient has such a norm."""
_OPTIMIZERS = ("adamw_torch", "adamw_hf", "adamw_torch_fused", "adamw_apex_fused")
_SCHEDULES = {
    "linear": ScheduleConfig(name="wsd", form="transformers"),
    "cosine": ScheduleConfig(name="cosine", form="transformers"),
    "cosine_with_restarts": ScheduleConfig(name="cosine", form="transformers"),
    "constant": ScheduleConfig(name="wsd", form="transformers", floor=1.0),
    "constant_with_warmup": ScheduleConfig(name="wsd", form="transformers", floor=1.0),
}
"""What --lr_scheduler_type means; without settings, cosine_with_restarts has one fall."""


_FLAG_OF = {
    "context": "--model_max_length",
    "template": "--chat_template",
    "heldout_share": "--heldout_share",
    "batch_size": "--per_device_train_batch_size",
    "accumulate": "--gradient_accumulation_steps",
    "epochs": "--num_train_epochs",
    "max_steps": "--max_steps",
    "seed": "--seed",
    "learning_rate": "--learning_rate",
    "eps": "--adam_epsilon",
    "betas": "--adam_beta1 or --adam_beta2",
    "weight_decay": "--weight_decay",
    "clip_norm": "--max_grad_norm",
    "warmup_steps": "--warmup_steps",
    "fim_rate": "--fim_rate",
    "warmup_share": "--warmup_ratio",
    "rank": "--lora_rank",
    "alpha": "--lora_alpha",
}
"""Our settings in the words of the command, for errors."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Ranged):
    """Settings of finetune."""

    words: tuple[str, ...] = aside()
    """The published command's flags with their values."""


@dataclass(frozen=True)
class PublishedRun:
    """What a published command means, and what has to be said of it."""

    dialogues: DialoguesConfig
    tuning: TuneConfig
    lines: tuple[str, ...]


def finetune(config: FinetuneConfig) -> Artifact:
    """DeepSeek-Coder's published fine-tuning command, with its flags as they were written.

    All flags of its script and of transformers 4.35 are known: what has no effect here is said, and
    so are the faults of then that are mended (--faithful keeps them). Ours beside them:
    --fim-rate, --heldout-share, --chat-template, --use-peft with --lora-rank and --lora-alpha,
    --faithful. Under torchrun or `deepspeed`, name examples/finetune_deepseekcoder.py. The pages:
    docs/tuning.md.

    Raises ConfigError for what the words cannot mean, in one line.

    Example:
        codling finetune --model-name-or-path models/deepseek-coder-1.3b-base --data-path \
rows.jsonl --output-dir tuned --model-max-length 1024 --learning-rate 2e-5 --lr-scheduler-type \
cosine --bf16 True
    """
    run = fit_to_base(plan_run(config.words, n_ranks=int(os.environ.get("WORLD_SIZE", "1"))))
    ranks = join_ranks()
    if ranks.is_main:
        for line in run.lines:
            say(line)
        dialogues(replace(run.dialogues, tokenizer_dir=_find_tokenizer(run.tuning)))
    ranks.wait()
    return tune(run.tuning)


def fit_to_base(run: PublishedRun) -> PublishedRun:
    """The run in the length that its base reads, and with a template that its tokenizer can end.

    Raises what a base raises that cannot be read, before anything is written.
    """
    base = local_path(run.tuning.model)
    check_files(base)
    longest, tokenizer = load_config(base).max_position, open_tokenizer(base)
    if run.tuning.fim_rate and not tokenizer.can_insert:
        raise ConfigError(f"--fim_rate needs a base that inserts, and {base} has no FIM tokens")
    made, lines = run.dialogues, list(run.lines)
    if made.context > longest:
        lines.append(f"--model_max_length {made.context}: {base} reads {longest}, which is used")
        made = replace(made, context=longest)
    knows_one = ChatFormat(tokenizer).can_chat or tokenizer.family.template is not None
    if made.labels == "answers" and made.template is None and not knows_one:
        lines.append(
            f"{base} has no chat template and is of no known family: {_PLAIN}'s is taught, which "
            "ends answers with eos (--chat_template for another)"
        )
        made = replace(made, template=_PLAIN)
    return replace(run, dialogues=made, lines=tuple(lines))


def _find_tokenizer(tuning: TuneConfig) -> Path:
    """The folder with the base's tokenizer; that of a GGUF file is written beside the output."""
    base = local_path(tuning.model)
    if not is_gguf(base):
        return base
    beside = tuning.out_dir.absolute().with_name(tuning.out_dir.name + ".tokenizer")
    return adopt(AdoptConfig(model=base, out_dir=beside)).path


def plan_run(words: Sequence[str], *, n_ranks: int = 1) -> PublishedRun:
    """The settings that a published command means on `n_ranks` processes."""
    given, lines = read_flags(words)
    deepspeed = Path(str(given["deepspeed"])) if given.get("deepspeed") else None
    if deepspeed is not None:
        more, said = read_deepspeed(deepspeed, given, n_ranks)
        given, lines = {**more, **given}, [*lines, *said]
    flags: Mapping[str, Any] = {**DEFAULTS, **given}
    _refuse_words(flags)
    lines += [_FAITHFUL if flags["faithful"] else _MENDED, *_optimizer_lines(str(flags["optim"]))]
    if flags["fp16"]:
        lines.append("--fp16: bf16 is used, which needs no loss scaling")
    try:
        schedule, said = _schedule(flags, deepspeed)
        made = _dialogues_config(flags), _tune_config(flags, schedule, n_ranks)
    except ConfigError as error:
        raise ConfigError(name_flags_in_error(str(error), _FLAG_OF)) from None
    return PublishedRun(*made, (*lines, *said))


def _refuse_words(flags: Mapping[str, Any]) -> None:
    """ConfigError for what cannot be meant, before anything is written."""
    for name in ("data_path", "output_dir"):
        if not flags[name]:
            raise ConfigError(f"--{name} is missing")
    if Path(flags["output_dir"]).is_file():
        raise ConfigError(f"--output_dir {flags['output_dir']} is a file; name a folder")
    if flags["max_steps"] <= 0 and not flags["num_train_epochs"] > 0:
        raise ConfigError(
            f"--num_train_epochs is {flags['num_train_epochs']:g}; choose a number above 0"
        )


def _dialogues_config(flags: Mapping[str, Any]) -> DialoguesConfig:
    return DialoguesConfig(
        files=tuple(Path(each) for each in flags["data_path"]),
        tokenizer_dir=Path(flags["model_name_or_path"]),
        out_dir=_dialogues_dir(flags),
        template=flags["chat_template"] or None,
        labels="published" if flags["faithful"] else "answers",
        secrets="keep" if flags["faithful"] else "drop",
        context=flags["model_max_length"],
        heldout_share=flags["heldout_share"],
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
        clip_norm=flags["max_grad_norm"] or _NO_CLIPPING,
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
        rows_per_update=per_device * n_ranks * flags["gradient_accumulation_steps"],
        group_by_length=flags["group_by_length"],
        shard="full_shard" in flags["fsdp"] and n_ranks > 1,
        fim_rate=flags["fim_rate"],
        weigh="batches" if flags["faithful"] else "tokens",
        optimizer=optimizer,
        schedule=schedule,
        precision="bf16" if flags["bf16"] or flags["fp16"] else "fp32",
        device="cpu" if flags["use_cpu"] or flags["no_cuda"] else "auto",
        seed=flags["seed"],
        compile=flags["torch_compile"],
        recompute=flags["gradient_checkpointing"],
        report_to=_trackers(flags["report_to"]),
    )


def _schedule(flags: Mapping[str, Any], deepspeed: Path | None) -> tuple[ScheduleConfig, list[str]]:
    """The learning rate over the run, and what has to be said of it."""
    name = flags["lr_scheduler_type"]
    lines: list[str] = []
    if name not in _SCHEDULES:
        raise ConfigError(f"--lr_scheduler_type is {name}; choose from {', '.join(_SCHEDULES)}")
    n_warmup = 0 if name == "constant" else flags["warmup_steps"]
    share = 0.0 if name == "constant" else flags["warmup_ratio"]
    usual = replace(_SCHEDULES[name], warmup_steps=n_warmup, warmup_share=share)
    kind = scheduler_type(deepspeed) if deepspeed is not None else None
    if kind is None:
        return usual, lines
    if not flags["faithful"]:
        did = "scheduler held it constant" if kind == "WarmupLR" else f"{kind} ran in its place"
        lines.append(
            f"the rate follows --lr_scheduler_type {name}; in 2023 {deepspeed}'s {did} all the same"
        )
        return usual, lines
    if kind != "WarmupLR":
        raise ConfigError(
            f"--faithful repeats the rate of WarmupLR, but {deepspeed} has scheduler.type {kind}; "
            "write WarmupLR there, or leave --faithful out"
        )
    lines.append(
        f"--lr_scheduler_type {name}: no effect, {deepspeed}'s scheduler rises with the logarithm "
        "and then stays"
    )
    return ScheduleConfig(form="deepspeed", warmup_steps=flags["warmup_steps"]), lines


def _optimizer_lines(name: str) -> list[str]:
    """What has to be said of --optim; ConfigError if it is no AdamW."""
    if name in _OPTIMIZERS:
        return []
    if name.startswith(("adamw_", "paged_adamw_")):
        return [f"--optim {name}: no effect, AdamW in fp32 is used"]
    raise ConfigError(f"--optim is {name}, which learns otherwise; choose adamw_torch")


def _trackers(names: Sequence[str]) -> tuple[TrackerName, ...]:
    """Who is told the metrics: those of ours that are named; `all` means TensorBoard."""
    known = get_args(TrackerName)
    wanted = ["tensorboard" if name == "all" else name for name in names]
    return tuple(name for name in known if name in wanted)


def _dialogues_dir(flags: Mapping[str, Any]) -> Path:
    out_dir = Path(flags["output_dir"]).absolute()
    return out_dir.with_name(out_dir.name + ".dialogues")
