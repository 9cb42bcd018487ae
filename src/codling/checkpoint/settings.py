"""ModelConfig and the config.json that transformers, vLLM and SGLang read.

Input: one of the two. Output: the other. Architectures: llama, qwen2, qwen3, deepseek_v2.

Not here: files and weights (store.py, load.py); the token ids in config.json (store.py).
"""

from collections.abc import Mapping
from math import log
from typing import Any, Literal

from codling.checkpoint.compressed import is_compressed
from codling.checkpoint.validation import Settings
from codling.core.errors import CheckpointError, ConfigError
from codling.model.config import (
    MAX_EXPERTS,
    MAX_HEADS,
    MAX_LAYERS,
    MAX_POSITION,
    MAX_VOCAB,
    MAX_WIDTH,
    MLAConfig,
    ModelConfig,
    MoEConfig,
    RopeConfig,
)

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
}
# DeepSeek's own code spells greedy "gready".
_ROUTING: dict[str, Literal["greedy", "group_limited_greedy"]] = {
    "greedy": "greedy",
    "gready": "greedy",
    "group_limited_greedy": "group_limited_greedy",
}


def to_published(config: ModelConfig) -> dict[str, Any]:
    """The contents of config.json; CheckpointError if no published architecture has this shape."""
    kind = model_type(config)
    settings: dict[str, Any] = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "initializer_range": config.init_std,
        "rope_theta": config.rope.theta,
        "rope_scaling": _rope_scaling(config.rope),
    }
    if config.mla is None:
        settings |= {"head_dim": config.head_size}
        if kind == "llama":
            settings |= {"attention_bias": False, "mlp_bias": False}
        if kind == "qwen3":
            settings |= {"attention_bias": False}
        return settings
    return settings | {"attention_bias": False} | _mla_settings(config.mla) | _moe_settings(config)


def model_type(config: ModelConfig) -> str:
    """The published architecture of this shape."""
    if config.mla is not None:
        if config.attention_bias:
            raise CheckpointError(
                "no published architecture has latent attention with biases; unset attention_bias"
            )
        return "deepseek_v2"
    if config.moe is not None:
        raise CheckpointError(
            "no published architecture has these experts without latent attention; set model.mla"
        )
    if config.qk_norm and config.attention_bias:
        raise CheckpointError(
            "no published architecture has both qk_norm and biases; unset attention_bias"
        )
    if config.qk_norm:
        return "qwen3"
    return "qwen2" if config.attention_bias else "llama"


def _rope_scaling(rope: RopeConfig) -> dict[str, Any] | None:
    match rope.scaling:
        case "none":
            return None
        case "linear":
            return {"type": "linear", "rope_type": "linear", "factor": rope.factor}
        case "yarn":
            return {
                "type": "yarn",
                "rope_type": "yarn",
                "factor": rope.factor,
                "original_max_position_embeddings": rope.original_max_position,
                "beta_fast": rope.beta_fast,
                "beta_slow": rope.beta_slow,
                "mscale": rope.mscale,
                "mscale_all_dim": rope.mscale_all_dim,
            }


def _mla_settings(mla: MLAConfig) -> dict[str, Any]:
    return {
        "kv_lora_rank": mla.kv_lora_rank,
        "q_lora_rank": mla.q_lora_rank,
        "qk_nope_head_dim": mla.qk_nope_head_dim,
        "qk_rope_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
    }


def _moe_settings(config: ModelConfig) -> dict[str, Any]:
    # Without experts all layers are "first dense" ones: the published format has no other way.
    moe = config.moe or MoEConfig(first_k_dense_replace=config.n_layers)
    ours = {"selection_bias": True} if moe.selection_bias else {}
    return ours | {
        "n_routed_experts": moe.n_routed_experts,
        "n_shared_experts": moe.n_shared_experts,
        "num_experts_per_tok": moe.n_experts_per_token,
        "moe_intermediate_size": moe.moe_intermediate_size,
        "first_k_dense_replace": moe.first_k_dense_replace,
        "moe_layer_freq": 1,
        "topk_method": moe.topk_method,
        "scoring_func": "softmax",
        "n_group": moe.n_group,
        "topk_group": moe.topk_group,
        "routed_scaling_factor": moe.routed_scaling_factor,
        "norm_topk_prob": moe.norm_topk_prob,
    }


def from_published(settings: Mapping[str, Any], where: str) -> ModelConfig:
    """The shape that a config.json describes; CheckpointError says what is not supported."""
    found = Settings(settings, where)
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise CheckpointError(
            f"{where}: model_type {kind!r:.60} is not supported, only {', '.join(ARCHITECTURES)}"
        )
    _refuse_variants(settings, where)
    is_compressed(settings, where)
    try:
        shape = _shape(found)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None
    for key in ("bos_token_id", "eos_token_id"):
        found.check_token_id(key, shape.vocab_size)
    # Llama's first conversions have -1 for "no padding", others an id beyond the vocabulary.
    found.check_token_id("pad_token_id", MAX_VOCAB, none=(-1,))
    return shape


def _shape(settings: Settings) -> ModelConfig:
    layers = settings.read_integer("num_hidden_layers", 1, MAX_LAYERS)
    heads = settings.read_integer("num_attention_heads", 1, MAX_HEADS)
    latent = settings.get("model_type") == "deepseek_v2"
    return ModelConfig(
        vocab_size=settings.read_integer("vocab_size", 1, MAX_VOCAB),
        hidden_size=settings.read_integer("hidden_size", 1, MAX_WIDTH),
        intermediate_size=settings.read_integer("intermediate_size", 1, 4 * MAX_WIDTH),
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=None
        if latent
        else settings.read_integer("num_key_value_heads", 1, heads, heads),
        head_dim=None if latent else _head_dim(settings),
        max_position=settings.read_integer("max_position_embeddings", 1, MAX_POSITION, 2048),
        rms_norm_eps=settings.read_number("rms_norm_eps", 0, 1, 1e-6),
        tie_embeddings=settings.read_flag("tie_word_embeddings"),
        attention_bias=settings.get("model_type") == "qwen2",
        qk_norm=settings.get("model_type") == "qwen3",
        rope=_rope(settings),
        mla=_mla(settings) if latent else None,
        moe=_moe(settings, layers) if latent else None,
        init_std=settings.read_number("initializer_range", 0, 100, 0.02),
    )


def _head_dim(settings: Settings) -> int | None:
    # Where it is absent, transformers takes 128 for Qwen3, hidden_size / heads for the others.
    stated = settings.read_optional_integer("head_dim", 2, MAX_WIDTH)
    return 128 if stated is None and settings.get("model_type") == "qwen3" else stated


def _refuse_variants(settings: Mapping[str, Any], where: str) -> None:
    """Refuse what looks like a supported architecture but computes something else."""
    expected = {
        "hidden_act": "silu",
        "mlp_bias": False,
        "attention_bias": False,
        "use_sliding_window": False,
        "moe_layer_freq": 1,
        "scoring_func": "softmax",
    }
    for key, value in expected.items():
        if (found := settings.get(key) or value) != value:
            shown = repr(found)[:200]
            raise CheckpointError(f"{where}: {key} {shown} is not supported, only {value!r}")


def _rope(settings: Settings) -> RopeConfig:
    # transformers 5 writes rope_parameters, always filled; the published files have rope_scaling.
    newer = settings.read_table("rope_parameters")
    found = newer if newer.values else settings.read_table("rope_scaling")
    theta = found.read_number(
        "rope_theta", 1.01, 1e15, settings.read_number("rope_theta", 1.01, 1e15, 10_000.0)
    )
    kind = found.read_text("rope_type", found.read_text("type", "default"))
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind not in ("linear", "yarn"):
        raise CheckpointError(
            f"{settings.where}: rope type {kind!r} is not supported, only default, linear and yarn"
        )
    factor = found.read_number("factor", 1, 1e6)
    if kind == "linear":
        return RopeConfig(theta=theta, scaling="linear", factor=factor)
    window = settings.read_integer("max_position_embeddings", 1, MAX_POSITION, 2048)
    # 0 stands for absent: transformers reads it so.
    mscale = found.read_number("mscale", 0, 100, 1.0) or 1.0
    if found.get("attention_factor") is not None and factor > 1:
        mscale = (found.read_number("attention_factor", 0, 100) - 1) / (0.1 * log(factor))
    return RopeConfig(
        theta=theta,
        scaling="yarn",
        factor=factor,
        original_max_position=found.read_integer(
            "original_max_position_embeddings", 1, MAX_POSITION, window
        ),
        beta_fast=found.read_number("beta_fast", 1e-3, 1e6, 32.0),
        beta_slow=found.read_number("beta_slow", 1e-3, 1e6, 1.0),
        mscale=mscale,
        mscale_all_dim=found.read_number("mscale_all_dim", 0, 100, 0.0),
    )


def _mla(settings: Settings) -> MLAConfig:
    return MLAConfig(
        kv_lora_rank=settings.read_integer("kv_lora_rank", 1, MAX_WIDTH),
        q_lora_rank=settings.read_optional_integer("q_lora_rank", 1, MAX_WIDTH),
        qk_nope_head_dim=settings.read_integer("qk_nope_head_dim", 1, MAX_WIDTH),
        qk_rope_head_dim=settings.read_integer("qk_rope_head_dim", 2, MAX_WIDTH),
        v_head_dim=settings.read_integer("v_head_dim", 1, MAX_WIDTH),
    )


def _moe(settings: Settings, n_layers: int) -> MoEConfig | None:
    first_dense = settings.read_integer("first_k_dense_replace", 0, MAX_LAYERS, 0)
    experts = settings.read_integer("n_routed_experts", 0, MAX_EXPERTS, 0)
    if first_dense >= n_layers or not experts:
        return None
    method = settings.read_text("topk_method", "greedy")
    if method not in _ROUTING:
        raise CheckpointError(
            f"{settings.where}: topk_method {method!r} is not supported, only {', '.join(_ROUTING)}"
        )
    groups = settings.read_integer("n_group", 1, experts, 1)
    return MoEConfig(
        n_routed_experts=experts,
        n_shared_experts=settings.read_integer("n_shared_experts", 0, MAX_EXPERTS, 0),
        n_experts_per_token=settings.read_integer("num_experts_per_tok", 1, experts),
        moe_intermediate_size=settings.read_integer("moe_intermediate_size", 1, MAX_WIDTH),
        first_k_dense_replace=first_dense,
        topk_method=_ROUTING[method],
        n_group=groups,
        topk_group=settings.read_integer("topk_group", 1, groups, 1),
        routed_scaling_factor=settings.read_number("routed_scaling_factor", 1e-6, 1e6, 1.0),
        norm_topk_prob=settings.read_flag("norm_topk_prob"),
        selection_bias=settings.read_flag("selection_bias"),
    )
