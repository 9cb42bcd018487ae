"""The shape of a model: what Transformer builds, and config.json says in other words.

Input: numbers from a recipe, a preset (presets.py) or a checkpoint. Output: frozen configs, no
torch. One shape covers Llama, Qwen2 and DeepSeek-Coder (multi-head, multi-query or grouped-query
attention), and DeepSeek-V2 (`mla` set: latent attention; `moe` set: experts after the first dense
layers).

Not here: the published spelling of these settings (checkpoint/), and anything about training.
"""

from dataclasses import dataclass, field
from math import log
from typing import Literal

from codling.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding and how it is stretched beyond the context it was trained on."""

    theta: float = 10_000.0
    """Base of the geometric series of wavelengths."""
    scaling: Literal["none", "linear", "yarn"] = "none"
    """How positions are stretched: linear slows all turns, yarn (arXiv:2309.00071) the slow."""
    factor: float = 1.0
    """By how much the context is stretched."""
    original_max_position: int = 4096
    """The context before stretching (yarn)."""
    beta_fast: float = 32.0
    """Dimensions that turn more often than this in the original context keep their speed (yarn)."""
    beta_slow: float = 1.0
    """Dimensions that turn less often than this are slowed by the whole factor (yarn)."""
    mscale: float = 1.0
    """Strength of the yarn correction of cos and sin."""
    mscale_all_dim: float = 0.0
    """Strength of the yarn correction of the softmax scale, which cos and sin are divided by."""

    def __post_init__(self) -> None:
        if self.factor < 1 or self.theta <= 0:
            raise ConfigError(
                f"rope: factor is {self.factor} and theta {self.theta}; factor must be at least 1 "
                "and theta positive"
            )

    @property
    def amplitude(self) -> float:
        """What yarn multiplies cos and sin by."""
        if self.scaling != "yarn":
            return 1.0
        return yarn_mscale(self.factor, self.mscale) / yarn_mscale(self.factor, self.mscale_all_dim)


def yarn_mscale(factor: float, strength: float) -> float:
    """The correction of arXiv:2309.00071, section 3.4: 0.1 x strength x ln(factor) + 1.

    >>> round(yarn_mscale(40.0, 0.707), 6)
    1.260804
    """
    return 1.0 if factor <= 1 else 0.1 * strength * log(factor) + 1.0


@dataclass(frozen=True, kw_only=True)
class MLAConfig:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1)."""

    kv_lora_rank: int = 512
    """Width of the compressed keys and values, which the cache holds."""
    q_lora_rank: int | None = None
    """Width of the compressed queries; by default queries are projected in one step."""
    qk_nope_head_dim: int = 128
    """Width per head of the part of queries and keys without positions."""
    qk_rope_head_dim: int = 64
    """Width of the rotated part: per head in the query, shared by all heads in the key."""
    v_head_dim: int = 128
    """Width of the values per head."""

    @property
    def qk_head_dim(self) -> int:
        """Width per head over which query and key are compared."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim


@dataclass(frozen=True, kw_only=True)
class MoEConfig:
    """DeepSeekMoE (arXiv:2401.06066): fine-grained routed experts beside shared ones."""

    n_routed_experts: int = 64
    """Experts that the router chooses from."""
    n_shared_experts: int = 2
    """Experts that see every token, computed as one MLP of their joint width."""
    n_experts_per_token: int = 6
    """Routed experts per token."""
    moe_intermediate_size: int = 1408
    """Width of one expert."""
    first_k_dense_replace: int = 1
    """So many first layers keep a dense MLP."""
    topk_method: Literal["greedy", "group_limited_greedy"] = "greedy"
    """Choose among all experts, or only among the experts of the best groups."""
    n_group: int = 1
    """Groups of experts (devices, in training)."""
    topk_group: int = 1
    """Groups that a token may use under group_limited_greedy."""
    routed_scaling_factor: float = 1.0
    """Multiplies the gate values."""
    norm_topk_prob: bool = False
    """Normalise the chosen gate values to sum 1 instead of scaling them."""

    def __post_init__(self) -> None:
        if self.n_experts_per_token > self.n_routed_experts:
            raise ConfigError(
                f"moe: {self.n_experts_per_token} experts per token of {self.n_routed_experts}; "
                "lower n_experts_per_token"
            )
        if self.topk_method == "group_limited_greedy" and self.n_routed_experts % self.n_group:
            raise ConfigError(
                f"moe: {self.n_routed_experts} experts do not divide into {self.n_group} groups; "
                "change n_group"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole shape of a decoder-only transformer with pre-norm, SiLU-gated MLPs and RoPE."""

    vocab_size: int = 4096
    """Rows of the embedding; at least the tokenizer's size."""
    hidden_size: int = 256
    """Width of the residual stream."""
    intermediate_size: int = 704
    """Width of the (dense) MLP."""
    n_layers: int = 4
    """Blocks of attention and MLP."""
    n_heads: int = 4
    """Query heads."""
    n_kv_heads: int | None = None
    """Key and value heads; by default as many as query heads, 1 is multi-query attention."""
    head_dim: int | None = None
    """Width of a head; by default `hidden_size` / `n_heads`."""
    max_position: int = 4096
    """The longest sequence that the model is meant for, in tokens."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square in RMSNorm."""
    tie_embeddings: bool = False
    """Use the embedding matrix as output matrix."""
    attention_bias: bool = False
    """Biases on the query, key and value projections (Qwen2)."""
    qk_norm: bool = False
    """RMSNorm over each head's query and key before the rotation (Qwen3, arXiv:2505.09388)."""
    rope: RopeConfig = field(default_factory=RopeConfig)
    """Rotary position embedding."""
    mla: MLAConfig | None = None
    """Latent attention in place of keys and values per head."""
    moe: MoEConfig | None = None
    """Routed experts in place of the dense MLP."""
    init_std: float = 0.02
    """Standard deviation of the initial weights."""

    def __post_init__(self) -> None:
        if self.head_dim is None and self.mla is None and self.hidden_size % self.n_heads:
            raise ConfigError(
                f"model: hidden_size {self.hidden_size} is not a multiple of n_heads "
                f"{self.n_heads}; change one of them or set head_dim"
            )
        if self.n_heads % self.kv_heads:
            raise ConfigError(
                f"model: n_heads {self.n_heads} is not a multiple of n_kv_heads {self.kv_heads}"
            )
        if self.qk_norm and self.mla is not None:
            raise ConfigError("model: qk_norm is for ordinary attention; unset it or model.mla")
        if self.rope_dim % 2:
            raise ConfigError(f"model: RoPE needs an even head width, not {self.rope_dim}")

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def head_size(self) -> int:
        """Width of a head of ordinary attention."""
        return self.hidden_size // self.n_heads if self.head_dim is None else self.head_dim

    @property
    def rope_dim(self) -> int:
        """How many dimensions of a head are rotated."""
        return self.head_size if self.mla is None else self.mla.qk_rope_head_dim

    @property
    def softmax_scale(self) -> float:
        """What the products of queries and keys are multiplied by."""
        if self.mla is None:
            return float(self.head_size**-0.5)
        scale = float(self.mla.qk_head_dim**-0.5)
        if self.rope.scaling != "yarn":
            return scale
        # The correction is squared: once for the query, once for the key (DeepSeek-V2's code).
        return scale * yarn_mscale(self.rope.factor, self.rope.mscale_all_dim) ** 2

    @property
    def kv_elements_per_token(self) -> int:
        """Numbers that the cache holds per token, all layers together."""
        if self.mla is not None:
            return self.n_layers * (self.mla.kv_lora_rank + self.mla.qk_rope_head_dim)
        return self.n_layers * 2 * self.kv_heads * self.head_size

    def is_moe_layer(self, index: int) -> bool:
        """Whether block `index`, from 0, has routed experts."""
        return self.moe is not None and index >= self.moe.first_k_dense_replace
