"""A model's shape as the metadata of a GGUF file: checkpoint/gguf.py the other way.

Input: a ModelConfig. Output: the name of the architecture, and its keys. A shape that llama.cpp
would compute otherwise is refused.

Not here: tensors (gguf_tensors.py), the tokenizer (tokens/to_gguf.py).
"""

from codling.checkpoint.settings import model_type
from codling.core.errors import CheckpointError
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig

Keys = dict[str, bool | int | float | str]

_CURE = "export it with --format hf"
_SOFTMAX = 1


def gguf_architecture(shape: ModelConfig) -> str:
    """GGUF's name of the architecture; CheckpointError for a shape that it cannot say exactly."""
    shape_metadata(shape)
    return "deepseek2" if shape.mla is not None else model_type(shape)


def shape_metadata(shape: ModelConfig) -> Keys:
    """The keys without the architecture before them."""
    found: Keys = {
        "block_count": shape.n_layers,
        "context_length": shape.max_position,
        "embedding_length": shape.hidden_size,
        "feed_forward_length": shape.intermediate_size,
        "vocab_size": shape.vocab_size,
        "attention.head_count": shape.n_heads,
        "attention.layer_norm_rms_epsilon": float(shape.rms_norm_eps),
        "rope.dimension_count": shape.rope_dim,
        "rope.freq_base": float(shape.rope.theta),
        **_rope_scaling(shape.rope, latent=shape.mla is not None),
    }
    if shape.mla is None:
        return found | {
            "attention.head_count_kv": shape.kv_heads,
            "attention.key_length": shape.head_size,
            "attention.value_length": shape.head_size,
        }
    return found | _latent_attention(shape.mla) | _experts(shape, shape.moe)


def _rope_scaling(rope: RopeConfig, *, latent: bool) -> Keys:
    if rope.scaling == "none":
        return {}
    found: Keys = {"rope.scaling.type": rope.scaling, "rope.scaling.factor": float(rope.factor)}
    if rope.scaling == "yarn":
        _check_yarn(rope, latent=latent)
        found["rope.scaling.original_context_length"] = rope.original_max_position
        if rope.mscale_all_dim:
            # llama.cpp divides it by 0.1 again, for files that were written so before.
            found["rope.scaling.yarn_log_multiplier"] = 0.1 * rope.mscale_all_dim
    return found


def _check_yarn(rope: RopeConfig, *, latent: bool) -> None:
    if (rope.beta_fast, rope.beta_slow) != (32.0, 1.0):
        raise CheckpointError("llama.cpp has no keys for this YaRN's beta; " + _CURE)
    plain = (rope.mscale, rope.mscale_all_dim) == (1.0, 0.0)
    if not plain and not (latent and rope.mscale == rope.mscale_all_dim):
        raise CheckpointError(
            "GGUF has no keys for this YaRN's mscale: with latent attention mscale must be "
            "mscale_all_dim, otherwise 1 and 0; " + _CURE
        )


def _latent_attention(mla: MLAConfig) -> Keys:
    found: Keys = {} if mla.q_lora_rank is None else {"attention.q_lora_rank": mla.q_lora_rank}
    # To llama.cpp all heads share one key, the latent one with its rotated part behind it.
    return found | {
        "attention.head_count_kv": 1,
        "attention.kv_lora_rank": mla.kv_lora_rank,
        "attention.key_length": mla.kv_lora_rank + mla.qk_rope_head_dim,
        "attention.value_length": mla.kv_lora_rank,
        "attention.key_length_mla": mla.qk_head_dim,
        "attention.value_length_mla": mla.v_head_dim,
    }


def _experts(shape: ModelConfig, moe: MoEConfig | None) -> Keys:
    if moe is None:
        # The loader of deepseek2 demands these two of dense models, too.
        return {
            "leading_dense_block_count": shape.n_layers,
            "expert_feed_forward_length": shape.intermediate_size,
            "expert_shared_count": 0,
        }
    found: Keys = {
        "leading_dense_block_count": moe.first_k_dense_replace,
        "expert_count": moe.n_routed_experts,
        "expert_used_count": moe.n_experts_per_token,
        "expert_shared_count": moe.n_shared_experts,
        "expert_feed_forward_length": moe.moe_intermediate_size,
        "expert_gating_func": _SOFTMAX,
        # llama.cpp would scale normalised gates too; DeepSeek-V2 does one or the other.
        "expert_weights_scale": 1.0 if moe.norm_topk_prob else float(moe.routed_scaling_factor),
        "expert_weights_norm": moe.norm_topk_prob,
    }
    if moe.topk_method == "group_limited_greedy":
        found |= {"expert_group_count": moe.n_group, "expert_group_used_count": moe.topk_group}
    return found
