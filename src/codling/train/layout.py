"""How a model lies on many GPUs, and what one of them must hold, from the shape alone.

Input: a shape, a layout, how much is computed at a time. Output: bytes by part, of the GPU that
holds most: the first stage of a pipeline. Weights are bf16, gradients are summed in fp32, AdamW
keeps an fp32 master copy and two moments. Activations are those that a compiled backward pass needs
with attention computed in blocks (as arXiv:2205.05198 counts them, for the products of this shape).

Not here: time and sentences (cluster_plan.py), training one published model on this machine
(posttrain/plan.py).

Legend: E hidden width, F width of the MLP.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from codling.core.errors import ConfigError
from codling.core.ranges import Range, Ranged
from codling.model.config import ModelConfig
from codling.model.sizes import sizes
from codling.train.parallel.mesh import count_cut_heads

Degree = Annotated[int, Range(1, 65_536)]
_WEIGHT, _GRADIENT, _OPTIMIZER = 2, 4, 12
_LOGIT = 6
"""Bytes of one logit: bf16, and fp32 for the softmax."""
_LIBRARIES = 2 << 30
_GAPS = 0.05
"""Share of the tensors' memory that lies between them."""


@dataclass(frozen=True, kw_only=True)
class ParallelLayout(Ranged):
    """What every GPU has a part of; the product of all but expert and data divides the GPUs."""

    gpus: Degree = 8
    """GPUs in all."""
    tensor: Degree = 1
    """GPUs that share every matrix, and the tokens between matrices (sequence parallel)."""
    pipeline: Degree = 1
    """GPUs that each hold some of the layers (one forward, one backward)."""
    context_parallel: Degree = 1
    """GPUs that share every window."""
    expert: Degree = 1
    """GPUs among which the routed experts are spread; they are data parallel for the rest."""
    shard: Literal["full", "optimizer", "none"] = "full"
    """What data-parallel GPUs hold once among them: weights, gradients and moments (ZeRO-3, FSDP),
    the optimizer's states (ZeRO-1), or nothing."""
    micro_batch: Degree = 1
    """Windows that one GPU computes at a time."""
    recompute: bool = False
    """Keep only every layer's input, and compute the rest again in the backward pass."""

    @property
    def data(self) -> int:
        """How many groups compute different windows."""
        return self.gpus // (self.tensor * self.pipeline * self.context_parallel)

    def check(self, shape: ModelConfig) -> None:
        """Raise ConfigError if the degrees do not divide what they share, as a run would."""
        used = self.tensor * self.pipeline * self.context_parallel
        if self.gpus % used:
            raise ConfigError(
                f"{self.gpus} GPUs cannot be laid out as {self.tensor} x {self.pipeline} x "
                f"{self.context_parallel} (tensor x pipeline x context); {used} must divide them"
            )
        heads, kind = count_cut_heads(shape)
        if heads % self.tensor:
            raise ConfigError(f"--tensor {self.tensor} does not divide {heads} {kind}")
        if self.tensor > 1 and shape.qk_norm:
            raise ConfigError("--tensor cuts heads whose norms are shared (qk_norm); leave it out")
        if self.pipeline > 1 and shape.tie_embeddings:
            raise ConfigError(
                "--pipeline puts embedding and head on different GPUs, but they are one tensor "
                "here (tie_embeddings); leave it out"
            )
        if self.pipeline > shape.n_layers:
            raise ConfigError(f"--pipeline {self.pipeline} is more than {shape.n_layers} layers")
        n_experts = 1 if shape.moe is None else shape.moe.n_routed_experts
        if n_experts % self.expert:
            raise ConfigError(f"--expert {self.expert} does not divide {n_experts} experts")
        if (self.data * self.context_parallel) % self.expert:
            raise ConfigError(
                f"--expert {self.expert} does not divide the {self.data * self.context_parallel} "
                "GPUs that are data parallel"
            )


def count_memory(
    shape: ModelConfig, layout: ParallelLayout, window: int, n_windows: int
) -> dict[str, int]:
    """Bytes by part on the GPU that holds most, for steps of `n_windows` windows."""
    layers = -(-shape.n_layers // layout.pipeline)
    others, experts = _stage_parameters(shape, layout, layers)
    copies = layout.data * layout.context_parallel
    kept = others + experts
    once = others / copies + experts / (copies // layout.expert)
    gathered = 2 * _WEIGHT * kept / layers if layout.shard == "full" and copies > 1 else 0
    parts = {
        "weights": _WEIGHT * (once if layout.shard == "full" else kept) + gathered,
        "gradients": _GRADIENT * (once if layout.shard == "full" else kept),
        "optimizer": _OPTIMIZER * (kept if layout.shard == "none" else once),
        "activations": _activations(shape, layout, window, n_windows, layers),
        "logits": _LOGIT * shape.vocab_size * _tokens(layout, window),
    }
    parts["libraries and gaps"] = _LIBRARIES + _GAPS * sum(parts.values())
    return {name: int(n_bytes) for name, n_bytes in parts.items()}


def _stage_parameters(
    shape: ModelConfig, layout: ParallelLayout, layers: int
) -> tuple[float, float]:
    """Of one stage of the pipeline, on one GPU: parameters but for experts', and experts'."""
    embedding = shape.vocab_size * shape.hidden_size
    ends = embedding * (1 if shape.tie_embeddings else 2)
    count = sizes(shape)
    inner = count.total - ends - count.routed
    share = layers / shape.n_layers / layout.tensor
    own_ends = (ends if layout.pipeline == 1 else embedding) / layout.tensor
    return inner * share + own_ends, count.routed * share / layout.expert


def _tokens(layout: ParallelLayout, window: int) -> float:
    """Tokens of which one GPU holds activations at a time."""
    return layout.micro_batch * window / layout.context_parallel / layout.tensor


def _activations(
    shape: ModelConfig, layout: ParallelLayout, window: int, n_windows: int, layers: int
) -> float:
    n_micro = max(1, n_windows // (layout.data * layout.micro_batch))
    in_flight = layers * min(layout.pipeline, n_micro)
    whole = count_activations(shape)
    per_layer = _WEIGHT * shape.hidden_size if layout.recompute else whole
    return _tokens(layout, window) * (in_flight * per_layer + layout.recompute * whole)


def count_activations(shape: ModelConfig) -> int:
    """Bytes that one token leaves in one layer for the backward pass, in bf16.

    Both residual states and their norms, queries, keys, values and the attention's output, and of
    the MLP gate, value and their product; a routed expert also takes and gives a state of its own.
    """
    hidden = shape.hidden_size
    if mla := shape.mla:
        latents = 2 * (mla.kv_lora_rank + (mla.q_lora_rank or 0)) + mla.qk_rope_head_dim
        attention = latents + 2 * shape.n_heads * (mla.qk_head_dim + mla.v_head_dim)
    else:
        attention = 2 * shape.head_size * (shape.n_heads + shape.kv_heads)
    mlp = 3 * shape.intermediate_size
    if moe := shape.moe:
        met = moe.n_experts_per_token + moe.n_shared_experts
        mlp = 3 * moe.moe_intermediate_size * met + 2 * hidden * moe.n_experts_per_token
    return _WEIGHT * (4 * hidden + attention + mlp)
