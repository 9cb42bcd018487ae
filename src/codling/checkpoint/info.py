"""A model explained: its architecture in words, and what it costs to hold, run and train.

Input: a preset's name, or the path of a checkpoint. Output: text.

Not here: the arithmetic (model/sizes.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from codling.checkpoint.hub import has_model, local_path
from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.verify import verify_files
from codling.core.errors import CheckpointError, ConfigError
from codling.core.ranges import Range, Ranged
from codling.model.config import MAX_POSITION, ModelConfig
from codling.model.presets import PRESETS, preset
from codling.model.sizes import TRAIN_BYTES, flops_per_token, sizes


@dataclass(frozen=True, kw_only=True)
class InfoConfig(Ranged):
    """Settings of `codling info`."""

    model: str
    """Name of a preset, such as coder-6.7b, or a run's folder, a checkpoint's, a .gguf file, or
    ORGANISATION/MODEL on the hub."""
    context: Annotated[int, Range(0, MAX_POSITION)] = 4096
    """Tokens before the one whose arithmetic is counted."""

    verify: bool = False
    """Read every file of the checkpoint: compare it with its manifest, look at all weights."""


def info(config: InfoConfig) -> str:
    """Architecture, parameters, cache, arithmetic and memory of a preset or checkpoint.

    Example:
        codling info coder-6.7b
    """
    text = describe(config.model, config.context)
    return f"{text}\n\n{_verify(Path(config.model))}" if config.verify else text


def _verify(path: Path) -> str:
    """What was compared and found intact; CheckpointError names what is not."""
    if not has_model(path):
        raise ConfigError(f"info: {path} is not a checkpoint, so there is nothing to verify")
    path = local_path(path)
    n_files = verify_files(path)
    load_model(path, dtype=None)
    compared = f"{n_files} files are as its manifest says" if n_files else "it has no manifest"
    return f"Verified: {compared}; all weights are there, fit and are finite."


def describe(name_or_path: str, context: int = 4096) -> str:
    """What `name_or_path` is and costs; a path wins over a preset's name.

    Raises ConfigError for an unknown name, CheckpointError for a folder that is not a checkpoint.
    """
    path = Path(name_or_path)
    if not has_model(path) and _names_a_place(name_or_path):
        raise CheckpointError(f"no checkpoint at {path}; presets are {', '.join(sorted(PRESETS))}")
    config = load_config(path) if has_model(path) else preset(name_or_path)
    lines = [name_or_path, "", *_architecture(config), "", *_costs(config, context)]
    if config.kv_elements_per_token == PRESETS["v2"].kv_elements_per_token:
        lines += ["", *_claim(config)]
    return "\n".join(lines)


def _names_a_place(name: str) -> bool:
    """Whether a name can only be that of a file or folder."""
    return "/" in name or name.endswith(".gguf") or name.startswith((".", "~"))


def _architecture(config: ModelConfig) -> list[str]:
    words = [
        f"{config.n_layers} layers of width {config.hidden_size:,}, vocabulary "
        f"{config.vocab_size:,}{', output embedding shared' if config.tie_embeddings else ''}",
        _attention(config),
        _positions(config),
        _mlp(config),
    ]
    return [f"{w[0].upper()}{w[1:]}." for w in words]


def _attention(config: ModelConfig) -> str:
    heads = config.n_heads
    if mla := config.mla:
        queries = f", queries to {mla.q_lora_rank:,}" if mla.q_lora_rank else ""
        return (
            f"latent attention (MLA), {heads} heads of {mla.qk_nope_head_dim} + "
            f"{mla.qk_rope_head_dim} rotated; keys and values compressed to {mla.kv_lora_rank}"
            f"{queries}"
        )
    kinds = {heads: "multi-head attention (MHA)", 1: "multi-query attention (MQA)"}
    kind = kinds.get(config.kv_heads, "grouped-query attention (GQA)")
    biases = ", biases on q, k and v" if config.attention_bias else ""
    biases += ", RMSNorm on q and k" if config.qk_norm else ""
    return (
        f"{kind}, {heads} heads of {config.head_size} over {config.kv_heads} key/value "
        f"{'head' if config.kv_heads == 1 else 'heads'}{biases}"
    )


def _positions(config: ModelConfig) -> str:
    rope = config.rope
    pairs = "interleaved" if config.mla else "half-split"
    plain = f"rotary positions ({pairs} pairs, theta {rope.theta:,.0f})"
    window = f"{plain} for {config.max_position:,} tokens"
    match rope.scaling:
        case "none":
            return window
        case "linear":
            return f"{window}, stretched linearly by {rope.factor:g}"
        case "yarn":
            return (
                f"{window}, stretched by YaRN {rope.factor:g} times from "
                f"{rope.original_max_position:,} (mscale {rope.mscale:g}, "
                f"all dimensions {rope.mscale_all_dim:g})"
            )


def _mlp(config: ModelConfig) -> str:
    dense = f"SiLU-gated MLP of width {config.intermediate_size:,}"
    if config.moe is None:
        return dense
    moe = config.moe
    choice = "greedily"
    if moe.topk_method == "group_limited_greedy":
        choice = f"from the best {moe.topk_group} of {moe.n_group} groups"
    return (
        f"{moe.n_routed_experts} routed experts of width {moe.moe_intermediate_size:,}, "
        f"{moe.n_experts_per_token} per token chosen {choice}, beside {moe.n_shared_experts} "
        f"shared ones; before them, layers with a dense {dense}: {moe.first_k_dense_replace}"
    )


def _costs(config: ModelConfig, context: int) -> list[str]:
    count = sizes(config)
    rows = [
        ("parameters", f"{count.total:,} ({_short(count.total)})"),
        (
            "active per token",
            f"{count.active:,} ({_short(count.active)}), input embedding not counted",
        ),
        (
            "KV cache per token",
            f"{count.kv_elements:,} numbers = {_size(count.kv_bytes(16))} in bf16; "
            f"{_size(count.kv_bytes(16) * config.max_position)} at {config.max_position:,} tokens",
        ),
        (
            "arithmetic per token",
            f"{flops_per_token(config, context) / 1e9:,.2f} GFLOP at context {context:,}",
        ),
        *(
            (f"memory to load, {name}", _size(count.weight_bytes(bits)))
            for name, bits in (("fp32", 32), ("bf16", 16), ("int8", 8))
        ),
        (
            "memory to train",
            f"{_size(count.train_bytes)} (AdamW, {TRAIN_BYTES} bytes per parameter) + activations",
        ),
    ]
    width = max(len(label) for label, _ in rows)
    return [f"{label:<{width}}  {value}" for label, value in rows]


def _claim(config: ModelConfig) -> list[str]:
    """The published saving of the cache, in the published terms and at equal precision."""
    ours, reference = sizes(config).kv_elements, sizes(PRESETS["llm-67b"]).kv_elements
    published, equal = 1 - ours * 6 / (reference * 16), 1 - ours / reference
    return [
        f"Against llm-67b the cache is {published:.1%} smaller as published (6-bit here, 16-bit "
        f"there), {equal:.2%} at equal precision."
    ]


def _short(count: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _size(n_bytes: int) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes} bytes"
