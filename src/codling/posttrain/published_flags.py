"""The flags of DeepSeek-Coder's finetune_deepseekcoder.py: its own and all of transformers 4.35's
TrainingArguments. What codling does with each: a setting of ours, a reason why it does nothing, or
a refusal.

Input: words of a command line, and a DeepSpeed config. Output: values by name, and lines that say
what has no effect.

Not here: what the values become (finetune.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from codling.core.errors import ConfigError, name_faults
from codling.core.foreign_json import read_object
from codling.core.recipe import explain_unknown_key
from codling.posttrain.published_values import OPPOSITES, Value, read_value
from codling.train.config import TrackerName

DEFAULTS: Mapping[str, Value] = {
    "model_name_or_path": "deepseek-ai/deepseek-coder-6.7b-instruct",
    "data_path": [],
    "output_dir": "",
    "model_max_length": 512,
    "num_train_epochs": 3.0,
    "max_steps": -1,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 5e-5,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "warmup_steps": 0,
    "warmup_ratio": 0.0,
    "lr_scheduler_type": "linear",
    "bf16": False,
    "fp16": False,
    "seed": 42,
    "deepspeed": "",
    "optim": "adamw_torch",
    "use_cpu": False,
    "no_cuda": False,
    "per_gpu_train_batch_size": 0,
    "torch_compile": False,
    "gradient_checkpointing": False,
    "group_by_length": False,
    "fsdp": "",
    "report_to": [],
    "use_peft": False,
    "lora_rank": 16,
    "lora_alpha": 32.0,
    "fim_rate": 0.0,
    "heldout_share": 0.0,
    "chat_template": "",
    "faithful": False,
}
"""What is used, with the published defaults; the last seven are ours."""

_SILENT = (
    "do_train overwrite_output_dir local_rank save_safetensors remove_unused_columns "
    "disable_tqdm log_level log_level_replica log_on_each_node logging_nan_inf_filter ddp_timeout "
    "ddp_backend dataloader_pin_memory skip_memory_metrics run_name cache_dir tf32"
)
"""Without a word: what they ask for is so, or nobody would miss it."""
_IGNORED = {
    "metrics.jsonl has every step (for TensorBoard the folder tensorboard in the output folder)": (
        "logging_steps logging_strategy logging_first_step logging_dir include_tokens_per_second"
    ),
    "the state is saved every minute and the same command resumes; only the end is published": (
        "save_strategy save_steps save_total_limit save_on_each_node resume_from_checkpoint "
        "ignore_data_skip"
    ),
    "--heldout_share 0.02 sets rows aside, by which the best weights are chosen": (
        "evaluation_strategy eval_strategy eval_steps eval_delay per_device_eval_batch_size "
        "per_gpu_eval_batch_size eval_accumulation_steps do_eval do_predict prediction_loss_only "
        "load_best_model_at_end metric_for_best_model greater_is_better bf16_full_eval "
        "fp16_full_eval include_inputs_for_metrics jit_mode_eval"
    ),
    "codling says before it begins how much memory it needs, and what would fit": (
        "auto_find_batch_size"
    ),
    "what --gradient_checkpointing drops is computed again without reentering": (
        "gradient_checkpointing_kwargs"
    ),
    "each block is a unit of sharding": (
        "fsdp_min_num_params fsdp_config fsdp_transformer_layer_cls_to_wrap"
    ),
    "rows are measured, and none is dropped": "length_column_name dataloader_drop_last",
    "it does not change what is learned here": (
        "data_seed use_ipex fp16_opt_level half_precision_backend tpu_num_cores tpu_metrics_debug "
        "debug dataloader_num_workers past_index label_names optim_args "
        "ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers "
        "use_legacy_prediction_loop hub_strategy hub_private_repo hub_always_push fp16_backend "
        "_n_gpu mp_parameters full_determinism torchdynamo ray_scope "
        "torch_compile_backend torch_compile_mode dispatch_batches split_batches use_mps_device"
    ),
    "nothing is uploaded": (
        "push_to_hub hub_model_id hub_token push_to_hub_model_id push_to_hub_organization "
        "push_to_hub_token"
    ),
}
_NOTHING = ("no", False, 0, -1, "", ["none"], [""])
"""Values with which a flag without effect asks for nothing."""
_REFUSED = "label_smoothing_factor neftune_noise_alpha adafactor"
"""Flags that would change what is learned, and that codling does not have."""
_WHY = {name: why for why, names in _IGNORED.items() for name in names.split()}
KNOWN = {*DEFAULTS, *_SILENT.split(), *_WHY, *_REFUSED.split(), *OPPOSITES}
_OF_CONFIG = {
    "bf16.enabled": "bf16",
    "fp16.enabled": "fp16",
    "optimizer.params.lr": "learning_rate",
    "optimizer.params.eps": "adam_epsilon",
    "optimizer.params.weight_decay": "weight_decay",
    "scheduler.params.warmup_max_lr": "learning_rate",
    "scheduler.params.warmup_num_steps": "warmup_steps",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "gradient_clipping": "max_grad_norm",
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
}
"""Keys of a DeepSpeed config that say what a flag says."""
_QUIET_KEYS = ("steps_per_print", "wall_clock_breakdown", "scheduler.params.warmup_min_lr")
_SHARDING = "zero_optimization."


def read_flags(words: Sequence[str]) -> tuple[dict[str, Value], list[str]]:
    """The values that a command line gives, and lines about those that do nothing.

    Raises ConfigError for an unknown flag, a missing or ill-typed value, and what is refused.
    """
    given: dict[str, Value] = {}
    said: dict[str, list[str]] = {}
    for name, words_after in _split(words):
        value = read_value(name, words_after)
        if name in _REFUSED.split() and value not in _NOTHING:
            raise ConfigError(
                f"--{name} changes what is learned, and is not there yet; leave it out"
            )
        if name in DEFAULTS:
            given[name] = value
        elif name in _WHY and value not in _NOTHING:
            said.setdefault(_WHY[name], []).append(f"--{name}")
    others = set(given.get("report_to", [])) - {*get_args(TrackerName), "all", "none", ""}  # type: ignore[arg-type]
    if others:
        why = f"codling tells {', '.join(get_args(TrackerName))}"
        said.setdefault(why, []).append(f"--report_to {' '.join(sorted(others))}")
    return given, [f"{', '.join(names)}: no effect, {why}" for why, names in said.items()]


def read_deepspeed(
    path: Path, given: Mapping[str, Value], n_ranks: int
) -> tuple[dict[str, Value], list[str]]:
    """What a DeepSpeed config sets beside the flags, and lines about what has no effect.

    Raises ConfigError if a value contradicts a flag.
    """
    found: dict[str, Value] = {}
    unknown: list[str] = []
    sharding = False
    config = dict(_flatten(read_object(path, ConfigError, cure="correct it")))
    for key, value in config.items():
        sharding |= key.startswith(_SHARDING)
        if value == "auto" or key in _QUIET_KEYS or key.startswith(_SHARDING):
            continue
        with name_faults(path, ConfigError):
            flags = _flags_of(key, value)
        if flags is None:
            unknown.append(key)
        for name, wanted in (flags or {}).items():
            if name in given and given[name] != wanted:
                raise ConfigError(
                    f"{path} sets {key} to {wanted}, but --{name} is {given[name]}; "
                    'write "auto" there'
                )
            found[name] = wanted
    _check_batch(path, config.get("train_batch_size"), {**DEFAULTS, **found, **given}, n_ranks)
    lines = []
    if unknown:
        lines.append(f"{path}: no effect, codling knows no {', '.join(unknown)}")
    if _read_stage(path, config) == 3:
        found["fsdp"] = "full_shard"
        held = (
            f"each of {n_ranks} processes holds its share of the weights, by FSDP2"
            if n_ranks > 1
            else "which one process alone does not need"
        )
        lines.append(
            f"{path}: ZeRO stage 3, {held} (the other keys of zero_optimization have no effect); "
            "the final folder holds whole weights, where ZeRO-3 left empty ones"
        )
    elif sharding:
        lines.append(
            f"{path}: zero_optimization has no effect below stage 3, weights are whole on every "
            "process"
        )
    return found, lines


def _check_batch(path: Path, wanted: object, flags: Mapping[str, Value], n_ranks: int) -> None:
    """ConfigError if train_batch_size is not what the other sizes come to."""
    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    each, accumulate = (int(str(flags[name])) for name in names)
    if wanted not in (None, "auto", n_ranks * each * accumulate):
        raise ConfigError(
            f"{path} sets train_batch_size to {wanted}, but {n_ranks} processes x "
            f"--per_device_train_batch_size {each} x --gradient_accumulation_steps {accumulate} "
            f'are {n_ranks * each * accumulate}; write "auto" there'
        )


def scheduler_type(path: Path) -> str | None:
    """The scheduler that a DeepSpeed config brings, which then ran in place of --lr_scheduler_type;
    None if it brings none."""
    config = dict(_flatten(read_object(path, ConfigError, cure="correct it")))
    if not any(key.split(".")[0] == "scheduler" for key in config):
        return None
    return str(config.get("scheduler.type", "WarmupLR"))


def _flags_of(key: str, value: Any) -> dict[str, Value] | None:  # noqa: ANN401 -- JSON
    """The flags that a key of a DeepSpeed config stands for; None if it is unknown."""
    if key == "scheduler.type":
        return {}  # finetune.py says what becomes of it
    if key == "optimizer.type":
        if value not in ("AdamW", "Adam"):
            raise ConfigError(f"{key} is {value}, which learns otherwise; write AdamW there")
        return {}
    if key == "optimizer.params.betas" and isinstance(value, list) and len(value) == 2:
        names = ("adam_beta1", "adam_beta2")
        return {n: _read_for_flag(key, n, v) for n, v in zip(names, value, strict=True)}
    if key == "train_batch_size":
        return {}  # _check_batch
    name = _OF_CONFIG.get(key)
    if name is None or isinstance(value, (list, dict)):
        return None
    return {name: _read_for_flag(key, name, value)}


def _read_for_flag(key: str, name: str, value: object) -> Value:
    try:
        return read_value(name, [str(value)])
    except ConfigError as error:
        raise ConfigError(f"{key}, which stands for a flag: {error}") from None


def _read_stage(path: Path, config: Mapping[str, Any]) -> int | None:
    """The stage of ZeRO; None where the config says nothing of it."""
    if "zero_optimization" in config:
        raise ConfigError(
            f'{path}: zero_optimization is {config["zero_optimization"]}; write {{"stage": 3}}'
        )
    stage = config.get(f"{_SHARDING}stage")
    if stage is not None and str(stage) not in ("0", "1", "2", "3"):
        raise ConfigError(f"{path}: {_SHARDING}stage is {stage}; choose from 0, 1, 2, 3")
    return None if stage is None else int(stage)


def _split(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Flags with the words after each."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if name not in KNOWN:
                raise ConfigError(explain_unknown_key(name, KNOWN, "finetune"))
            found.append((name, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            raise ConfigError(f"{word} stands before any flag; begin with --model_name_or_path")
    return found


def _flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"bf16": {"enabled": "auto"}}` as `bf16.enabled`."""
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found
