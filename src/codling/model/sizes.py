"""What a shape amounts to: parameters, cache, arithmetic and memory, from the config alone.

Input: a ModelConfig. Output: numbers. No weights are made; the tests compare with a model on the
meta device.

Not here: the sentences around the numbers (checkpoint/info.py).
"""

from dataclasses import dataclass

from codling.model.config import ModelConfig

TRAIN_BYTES = 16
"""Per parameter with AdamW: bf16 weight and gradient, fp32 master weight and two moments."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts of one model."""

    total: int
    """All parameters."""
    active: int
    """Parameters that one token meets, output matrix included, input embedding (a lookup) not."""
    routed: int
    """Parameters of all routed experts."""
    kv_elements: int
    """Numbers in the cache per token."""

    def weight_bytes(self, bits: int) -> int:
        """Memory of the weights at this precision."""
        return self.total * bits // 8

    def kv_bytes(self, bits: int) -> int:
        """Memory of the cache per token at this precision."""
        return self.kv_elements * bits // 8

    @property
    def train_bytes(self) -> int:
        """Memory to train with AdamW, activations not counted."""
        return self.total * TRAIN_BYTES


def sizes(config: ModelConfig) -> Sizes:
    """Count one model's parameters and cache."""
    embedding = config.vocab_size * config.hidden_size
    output = 0 if config.tie_embeddings else embedding
    layers = [_layer(config, i) for i in range(config.n_layers)]
    # One final norm.
    total = embedding + output + sum(t for t, _ in layers) + config.hidden_size
    active = embedding + sum(a for _, a in layers) + config.hidden_size
    n_moe_layers = sum(map(config.is_moe_layer, range(config.n_layers)))
    return Sizes(
        total=total,
        active=active,
        routed=n_moe_layers * config.moe.n_routed_experts * _expert(config) if config.moe else 0,
        kv_elements=config.kv_elements_per_token,
    )


def flops_per_token(config: ModelConfig, context: int) -> int:
    """Floating-point operations of a forward pass for one token that sees `context` tokens.

    Two per active weight, and two per product of queries with keys and of weights with values.
    """
    if config.mla is None:
        per_pair = 2 * config.head_size
    else:
        per_pair = config.mla.qk_head_dim + config.mla.v_head_dim
    attention = 2 * config.n_layers * config.n_heads * per_pair * context
    return 2 * sizes(config).active + attention


def _layer(config: ModelConfig, index: int) -> tuple[int, int]:
    """(total, active) parameters of one block, its two norms included."""
    shared = _attention(config) + 2 * config.hidden_size
    if config.moe is None or not config.is_moe_layer(index):
        dense = shared + 3 * config.hidden_size * config.intermediate_size
        return dense, dense
    moe, expert = config.moe, _expert(config)
    router = moe.n_routed_experts * (config.hidden_size + moe.selection_bias)
    shared += moe.n_shared_experts * expert + router
    return shared + moe.n_routed_experts * expert, shared + moe.n_experts_per_token * expert


def _expert(config: ModelConfig) -> int:
    """Parameters of one expert."""
    return 3 * config.hidden_size * config.moe.moe_intermediate_size if config.moe else 0


def _attention(config: ModelConfig) -> int:
    hidden, heads = config.hidden_size, config.n_heads
    if config.mla is None:
        queries, keys = heads * config.head_size, config.kv_heads * config.head_size
        biases = queries + 2 * keys if config.attention_bias else 0
        norms = 2 * config.head_size if config.qk_norm else 0
        return 2 * hidden * (queries + keys) + biases + norms
    mla = config.mla
    q_width = heads * mla.qk_head_dim
    if mla.q_lora_rank is None:
        queries = hidden * q_width
    else:
        queries = mla.q_lora_rank * (hidden + 1 + q_width)
    latents = hidden * (mla.kv_lora_rank + mla.qk_rope_head_dim) + mla.kv_lora_rank
    expansion = mla.kv_lora_rank * heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    return queries + latents + expansion + heads * mla.v_head_dim * hidden
