"""The shape of a model: what Transformer builds, and config.json says in other words.

Input: numbers from a recipe, a preset (presets.py) or a checkpoint. Output: frozen configs, no
torch. One shape covers Llama, Qwen2 and DeepSeek-Coder (multi-head, multi-query or grouped-query
attention), and DeepSeek-V2 (`mla` set: latent attention; `moe` set: experts after the first dense
layers).

Not here: the published spelling of these settings (checkpoint/), and anything about training.
"""

from dataclasses import dataclass, field
from math import log
from typing import Annotated, Literal

from codling.core.errors import ConfigError
from codling.core.ranges import Range, Ranged, Strength

MAX_VOCAB = 1 << 24
MAX_WIDTH = 1 << 20
"""Of the residual stream, a head, a latent or an expert; an MLP may have four times as many."""
MAX_LAYERS = 4096
MAX_HEADS = 1 << 14
MAX_EXPERTS = 1 << 14
MAX_POSITION = 1 << 30
# Several times the largest published model's, and small enough that no shape made of them
# overflows or keeps a loop busy.
Width = Annotated[int, Range(1, MAX_WIDTH)]


@dataclass(frozen=True, kw_only=True)
class RopeConfig(Ranged):
    """Rotary position embedding and how it is stretched beyond the context it was trained on."""

    theta: Annotated[float, Range(0, 1e12, above=True)] = 10_000.0
    """Base of the geometric series of wavelengths."""
    scaling: Literal["none", "linear", "yarn"] = "none"
    """How positions are stretched: linear slows all turns, yarn (arXiv:2309.00071) the slow."""
    factor: Annotated[float, Range(1, 1e6)] = 1.0
    """By how much the context is stretched."""
    original_max_position: Annotated[int, Range(1, MAX_POSITION)] = 4096
    """The context before stretching (yarn)."""
    beta_fast: Strength = 32.0
    """Dimensions that turn more often than this in the original context keep their speed (yarn)."""
    beta_slow: Strength = 1.0
    """Dimensions that turn less often than this are slowed by the whole factor (yarn)."""
    mscale: Strength = 1.0
    """Strength of the yarn correction of cos and sin."""
    mscale_all_dim: Strength = 0.0
    """Strength of the yarn correction of the softmax scale, which cos and sin are divided by."""

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
class MLAConfig(Ranged):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1)."""

    kv_lora_rank: Width = 512
    """Width of the compressed keys and values, which the cache holds."""
    q_lora_rank: Width | None = None
    """Width of the compressed queries; by default queries are projected in one step."""
    qk_nope_head_dim: Width = 128
    """Width per head of the part of queries and keys without positions."""
    qk_rope_head_dim: Width = 64
    """Width of the rotated part: per head in the query, shared by all heads in the key."""
    v_head_dim: Width = 128
    """Width of the values per head."""

    @property
    def qk_head_dim(self) -> int:
        """Width per head over which query and key are compared."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim


@dataclass(frozen=True, kw_only=True)
class MoEConfig(Ranged):
    """DeepSeekMoE (arXiv:2401.06066): fine-grained routed experts beside shared ones."""

    n_routed_experts: Annotated[int, Range(1, MAX_EXPERTS)] = 64
    """Experts that the router chooses from."""
    n_shared_experts: Annotated[int, Range(0, MAX_EXPERTS)] = 2
    """Experts that see every token, computed as one MLP of their joint width."""
    n_experts_per_token: Annotated[int, Range(1, MAX_EXPERTS)] = 6
    """Routed experts per token."""
    moe_intermediate_size: Width = 1408
    """Width of one expert."""
    first_k_dense_replace: Annotated[int, Range(0, MAX_LAYERS)] = 1
    """How many of the first layers keep a dense MLP."""
    topk_method: Literal["greedy", "group_limited_greedy"] = "greedy"
    """Choose among all experts, or only among the experts of the best groups."""
    n_group: Annotated[int, Range(1, MAX_EXPERTS)] = 1
    """Groups of experts (devices, in training)."""
    topk_group: Annotated[int, Range(1, MAX_EXPERTS)] = 1
    """Groups that a token may use under group_limited_greedy."""
    routed_scaling_factor: Strength = 1.0
    """Multiplies the gate values."""
    norm_topk_prob: bool = False
    """Normalise the chosen gate values to sum 1 instead of scaling them."""
    selection_bias: bool = False
    """Choose by affinity plus a number per expert that training moves against its load
    (arXiv:2408.15664); gate values stay without it. Other programs do not know it in this shape."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_experts_per_token > self.n_routed_experts:
            raise ConfigError(
                f"moe: {self.n_experts_per_token} experts per token of {self.n_routed_experts}; "
                "lower n_experts_per_token"
            )
        if self.topk_method == "group_limited_greedy":
            self._check_groups()

    def _check_groups(self) -> None:
        if self.n_routed_experts % self.n_group:
            raise ConfigError(
                f"moe: {self.n_routed_experts} experts do not divide into {self.n_group} groups; "
                "change n_group"
            )
        if self.topk_group > self.n_group:
            raise ConfigError(
                f"moe: {self.topk_group} of {self.n_group} groups per token; lower topk_group"
            )
        reached = self.topk_group * (self.n_routed_experts // self.n_group)
        if self.n_experts_per_token > reached:
            raise ConfigError(
                f"moe: {self.n_experts_per_token} experts per token, but topk_group "
                f"{self.topk_group} reaches {reached}; raise topk_group"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Ranged):
    """The whole shape of a decoder-only transformer with pre-norm, SiLU-gated MLPs and RoPE."""

    vocab_size: Annotated[int, Range(1, MAX_VOCAB)] = 4096
    """Rows of the embedding; at least the tokenizer's size."""
    hidden_size: Width = 256
    """Width of the residual stream."""
    intermediate_size: Annotated[int, Range(1, 4 * MAX_WIDTH)] = 704
    """Width of the (dense) MLP."""
    n_layers: Annotated[int, Range(1, MAX_LAYERS)] = 4
    """Blocks of attention and MLP."""
    n_heads: Annotated[int, Range(1, MAX_HEADS)] = 4
    """Query heads."""
    n_kv_heads: Annotated[int, Range(1, MAX_HEADS)] | None = None
    """Key and value heads; by default as many as query heads, 1 is multi-query attention."""
    head_dim: Annotated[int, Range(2, MAX_WIDTH)] | None = None
    """Width of a head; by default `hidden_size` / `n_heads`."""
    max_position: Annotated[int, Range(1, MAX_POSITION)] = 4096
    """The longest sequence that the model is meant for, in tokens."""
    rms_norm_eps: Annotated[float, Range(0, 1)] = 1e-6
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
    init_std: Strength = 0.02
    """Standard deviation of the initial weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
