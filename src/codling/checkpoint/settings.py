"""ModelConfig and the config.json that transformers, vLLM and SGLang read.

Input: one of the two. Output: the other. Architectures: llama, qwen2, deepseek_v2.

Not here: files and weights (store.py, load.py); the token ids in config.json (store.py).
"""

from collections.abc import Mapping
from math import log
from typing import Any, Literal

from codling.core.errors import CheckpointError, ConfigError
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
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
    return {
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
    kind = settings.get("model_type")
    if kind not in ARCHITECTURES:
        raise CheckpointError(
            f"{where}: model_type {kind!r} is not supported, only {', '.join(ARCHITECTURES)}"
        )
    _refuse_variants(settings, where)
    try:
        return _shape(settings, where)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None


def _shape(settings: Mapping[str, Any], where: str) -> ModelConfig:
    heads = _number(settings, "num_attention_heads", where)
    latent = settings["model_type"] == "deepseek_v2"
    return ModelConfig(
        vocab_size=_number(settings, "vocab_size", where),
        hidden_size=_number(settings, "hidden_size", where),
        intermediate_size=_number(settings, "intermediate_size", where),
        n_layers=_number(settings, "num_hidden_layers", where),
        n_heads=heads,
        n_kv_heads=None if latent else settings.get("num_key_value_heads") or heads,
        head_dim=None if latent else settings.get("head_dim"),
        max_position=settings.get("max_position_embeddings", 2048),
        rms_norm_eps=settings.get("rms_norm_eps", 1e-6),
        tie_embeddings=bool(settings.get("tie_word_embeddings", False)),
        attention_bias=settings["model_type"] == "qwen2",
        rope=_rope(settings, where),
        mla=_mla(settings, where) if latent else None,
        moe=_moe(settings, where) if latent else None,
        init_std=settings.get("initializer_range", 0.02),
    )


def _refuse_variants(settings: Mapping[str, Any], where: str) -> None:
    """What looks like a supported architecture but computes something else."""
    expected = {
        "hidden_act": "silu",
        "mlp_bias": False,
        "attention_bias": False,
        "use_sliding_window": False,
        "moe_layer_freq": 1,
        "scoring_func": "softmax",
        "quantization_config": None,
    }
    for key, value in expected.items():
        if (found := settings.get(key) or value) != value:
            raise CheckpointError(f"{where}: {key} {found!r} is not supported, only {value!r}")


def _rope(settings: Mapping[str, Any], where: str) -> RopeConfig:
    # transformers 5 writes rope_parameters, always filled; the published files have rope_scaling.
    found = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    theta = float(found.get("rope_theta") or settings.get("rope_theta") or 10_000.0)
    kind = found.get("rope_type") or found.get("type") or "default"
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind not in ("linear", "yarn"):
        raise CheckpointError(
            f"{where}: rope type {kind!r} is not supported, only default, linear and yarn"
        )
    factor = found.get("factor")
    if not isinstance(factor, (int, float)):
        raise CheckpointError(f"{where}: the factor of the rope scaling is {factor!r}")
    factor = float(factor)
    if kind == "linear":
        return RopeConfig(theta=theta, scaling="linear", factor=factor)
    original = found.get("original_max_position_embeddings")
    mscale = float(found.get("mscale") or 1.0)
    if found.get("attention_factor") is not None and factor > 1:
        mscale = (float(found["attention_factor"]) - 1) / (0.1 * log(factor))
    return RopeConfig(
        theta=theta,
        scaling="yarn",
        factor=factor,
        original_max_position=int(original or settings.get("max_position_embeddings", 2048)),
        beta_fast=float(found.get("beta_fast") or 32),
        beta_slow=float(found.get("beta_slow") or 1),
        mscale=mscale,
        mscale_all_dim=float(found.get("mscale_all_dim") or 0.0),
    )


def _mla(settings: Mapping[str, Any], where: str) -> MLAConfig:
    return MLAConfig(
        kv_lora_rank=_number(settings, "kv_lora_rank", where),
        q_lora_rank=settings.get("q_lora_rank"),
        qk_nope_head_dim=_number(settings, "qk_nope_head_dim", where),
        qk_rope_head_dim=_number(settings, "qk_rope_head_dim", where),
        v_head_dim=_number(settings, "v_head_dim", where),
    )


def _moe(settings: Mapping[str, Any], where: str) -> MoEConfig | None:
    first_dense = settings.get("first_k_dense_replace", 0)
    if first_dense >= settings["num_hidden_layers"] or not settings.get("n_routed_experts"):
        return None
    method = settings.get("topk_method") or "greedy"
    if method not in _ROUTING:
        raise CheckpointError(
            f"{where}: topk_method {method!r} is not supported, only {', '.join(_ROUTING)}"
        )
    return MoEConfig(
        n_routed_experts=settings["n_routed_experts"],
        n_shared_experts=settings.get("n_shared_experts") or 0,
        n_experts_per_token=_number(settings, "num_experts_per_tok", where),
        moe_intermediate_size=_number(settings, "moe_intermediate_size", where),
        first_k_dense_replace=first_dense,
        topk_method=_ROUTING[method],
        n_group=settings.get("n_group") or 1,
        topk_group=settings.get("topk_group") or 1,
        routed_scaling_factor=float(settings.get("routed_scaling_factor") or 1.0),
        norm_topk_prob=bool(settings.get("norm_topk_prob")),
    )


def _number(settings: Mapping[str, Any], key: str, where: str) -> int:
    value = settings.get(key)
    if not isinstance(value, int):
        raise CheckpointError(f"{where}: {key} is {value!r}, but must be a whole number")
    return value
