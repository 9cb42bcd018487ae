"""What kind of value each flag of the published command takes, as HfArgumentParser of transformers
4.35 reads it: one number or text, one or several words, or a switch that may stand alone.

Input: a flag's name and the words after it. Output: its value; ConfigError in one line for words
that it cannot mean, stray ones included.

Not here: what codling does with the values (published_flags.py).
"""

from collections.abc import Mapping, Sequence

from codling.core.errors import ConfigError

Value = str | int | float | bool | list[str]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SWITCHES = _names(
    "overwrite_output_dir do_train do_eval do_predict prediction_loss_only log_on_each_node "
    "logging_first_step logging_nan_inf_filter save_safetensors save_on_each_node no_cuda "
    "use_cpu use_mps_device jit_mode_eval use_ipex bf16 fp16 bf16_full_eval fp16_full_eval "
    "tf32 tpu_metrics_debug dataloader_drop_last disable_tqdm remove_unused_columns "
    "load_best_model_at_end greater_is_better ignore_data_skip adafactor group_by_length "
    "ddp_find_unused_parameters ddp_broadcast_buffers dataloader_pin_memory "
    "skip_memory_metrics use_legacy_prediction_loop push_to_hub hub_private_repo "
    "hub_always_push gradient_checkpointing include_inputs_for_metrics auto_find_batch_size "
    "full_determinism torch_compile dispatch_batches split_batches include_tokens_per_second "
    "use_peft faithful"
)
"""Alone they mean true; a word after them says which."""
OPPOSITES = _names(
    "no_log_on_each_node no_logging_nan_inf_filter no_save_safetensors "
    "no_remove_unused_columns no_dataloader_pin_memory no_skip_memory_metrics"
)
"""Switches that are on by default have one that turns them off."""
_INTEGERS = _names(
    "per_device_train_batch_size per_device_eval_batch_size per_gpu_train_batch_size "
    "per_gpu_eval_batch_size gradient_accumulation_steps eval_accumulation_steps max_steps "
    "warmup_steps save_total_limit seed data_seed local_rank tpu_num_cores "
    "dataloader_num_workers past_index fsdp_min_num_params ddp_bucket_cap_mb _n_gpu "
    "ddp_timeout model_max_length lora_rank"
)
_NUMBERS = _names(
    "eval_delay learning_rate weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm "
    "num_train_epochs warmup_ratio logging_steps save_steps eval_steps "
    "label_smoothing_factor neftune_noise_alpha lora_alpha fim_rate heldout_share"
)
_LISTS = _names("data_path report_to label_names debug")
"""Several words; the script's own --data_path takes what load_dataset takes, several files too."""
_STRATEGIES = ("no", "steps", "epoch")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "evaluation_strategy": _STRATEGIES,
    "eval_strategy": _STRATEGIES,
    "logging_strategy": _STRATEGIES,
    "save_strategy": _STRATEGIES,
    "hub_strategy": ("end", "every_save", "checkpoint", "all_checkpoints"),
    "log_level": ("detail", "debug", "info", "warning", "error", "critical", "passive"),
    "log_level_replica": ("detail", "debug", "info", "warning", "error", "critical", "passive"),
}
_NEEDED = ("model_name_or_path", "data_path", "output_dir")
"""Flags for which an empty word means nothing."""
_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


def read_value(name: str, words: Sequence[str]) -> Value:
    """The value of a flag from the words after it.

    >>> read_value("bf16", []), read_value("save_steps", ["100"]), read_value("debug", ["a", "b"])
    (True, 100.0, ['a', 'b'])
    """
    if name in OPPOSITES:
        _refuse_more(name, words, 0)
        return False
    if name in SWITCHES:
        _refuse_more(name, words, 1)
        return _read_switch(name, words[0]) if words else True
    if not words or (name in _NEEDED and not all(words)):
        hint = (
            "; the published README sets MODEL and then uses $MODEL_PATH, which is empty"
            if name == "model_name_or_path"
            else ""
        )
        raise ConfigError(f"--{name} has no value{hint}")
    if name in _LISTS:
        return list(words)
    _refuse_more(name, words, 1)
    return _read_one(name, words[0])


def _read_one(name: str, word: str) -> Value:
    try:
        if name in _INTEGERS:
            return int(word)
        if name in _NUMBERS:
            return float(word)
    except ValueError:
        needed = "whole number" if name in _INTEGERS else "number"
        raise ConfigError(f"--{name} is {word}; a {needed} is needed") from None
    if name in _CHOICES and word not in _CHOICES[name]:
        raise ConfigError(f"--{name} is {word}; choose from {', '.join(_CHOICES[name])}")
    return word


def _read_switch(name: str, word: str) -> bool:
    if word.lower() not in _TRUE + _FALSE:
        raise ConfigError(f"--{name} is {word}; a value such as True or False is needed")
    return word.lower() in _TRUE


def _refuse_more(name: str, words: Sequence[str], n: int) -> None:
    if len(words) > n:
        takes = "one value" if n else "no value"
        stray = " ".join(words[n:])
        raise ConfigError(f"--{name} takes {takes}, but {stray} follows; quote it, or leave it out")
