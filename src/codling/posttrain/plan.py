"""What an adaptation will cost, before it begins: parameters, memory, and what would fit instead.

Input: the base's shape, the settings, the memory that is left. Output: sentences, or ConfigError
with the cure. Counted are weights, gradients, moments, activations and the logits of a chunk; what
was measured besides is in docs/adapting.md.

Not here: how long it takes (trainer.py times its first steps and says so).
"""

from dataclasses import dataclass, replace

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.sizes import sizes
from codling.posttrain.config import AdaptConfig, AdaptMode
from codling.posttrain.lora import n_lora_parameters

_TRAINED_BYTES = 24
"""Per trained parameter: fp32 master, best, gradient and two moments, bf16 weight and gradient."""
_LOADED_BYTES = 28
"""Per parameter where all are trained: the temporaries of an update too."""
_FIXED_BYTES = 600_000_000
"""The program and its libraries."""
_LOGIT_BYTES = 16
_CHUNK_LOGITS = 1 << 25
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The size of one adaptation."""

    n_parameters: int
    n_trained: int
    n_bytes: int
    """Memory at its peak, about."""

    def __str__(self) -> str:
        share = self.n_trained / self.n_parameters
        return (
            f"{self.n_trained:,} of {self.n_parameters:,} parameters are trained ({share:.1%}), in "
            f"about {self.n_bytes / _GIB:.1f} GiB of memory"
        )


def plan(shape: ModelConfig, config: AdaptConfig, context: int) -> MemoryPlan:
    """The plan of `config` in windows of `context` tokens."""
    total = sizes(shape).total
    trained = total if config.mode == "full" else n_lora_parameters(shape, config.rank)
    weights = (
        _LOADED_BYTES * total
        if config.mode == "full"
        else total * (2 if config.precision == "bf16" else 4) + _TRAINED_BYTES * trained
    )
    n_tokens = config.batch_size * context
    return MemoryPlan(
        n_parameters=total,
        n_trained=trained,
        n_bytes=_FIXED_BYTES
        + weights
        + n_tokens * _activation_bytes(shape, context)
        + _head_bytes(shape, n_tokens, config.mode),
    )


def check_memory(
    shape: ModelConfig, config: AdaptConfig, context: int, available: int | None
) -> MemoryPlan:
    """The plan; ConfigError, with what would fit, if `available` bytes are too few for it."""
    found = plan(shape, config, context)
    if available is None or found.n_bytes <= available:
        return found
    raise ConfigError(
        f"adapting {config.model} needs about {found.n_bytes / _GIB:.1f} GiB, and "
        f"{available / _GIB:.1f} GiB are free; {_what_fits(shape, config, context, available)}"
    )


def _what_fits(shape: ModelConfig, config: AdaptConfig, context: int, available: int) -> str:
    """The smallest change of the settings that fits, or how large a model may be."""
    modes: list[AdaptMode] = [config.mode, "lora"] if config.mode == "full" else ["lora"]
    for mode in modes:
        for length in (context, 512, 256):
            for batch in (max(1, config.batch_size >> n) for n in range(8)):
                smaller = replace(config, mode=mode, batch_size=batch)
                if length <= context and plan(shape, smaller, length).n_bytes <= available:
                    wanted = {"mode": (config.mode, mode), "batch-size": (config.batch_size, batch)}
                    wanted["context"] = (context, length)
                    flags = (f"--{k} {now}" for k, (was, now) in wanted.items() if was != now)
                    return f"{' '.join(flags)} would fit"
    per_parameter = plan(shape, replace(config, mode="lora", batch_size=1), min(context, 256))
    least = per_parameter.n_bytes - _FIXED_BYTES
    room = max(0, available - _FIXED_BYTES)
    n_fitting = int(per_parameter.n_parameters * room / least)
    return f"a base of about {n_fitting / 1e6:,.0f}M parameters would fit"


def _activation_bytes(shape: ModelConfig, context: int) -> int:
    """Kept for the backward pass per token: bf16 states, and the attention weights."""
    if shape.mla is None:
        queries, keys = shape.n_heads * shape.head_size, shape.kv_heads * shape.head_size
    else:
        queries = keys = shape.n_heads * shape.mla.qk_head_dim
    width = shape.intermediate_size
    if shape.moe is not None:
        moe = shape.moe
        width = moe.moe_intermediate_size * (moe.n_experts_per_token + moe.n_shared_experts)
    states = 2 * (6 * shape.hidden_size + 6 * queries + 4 * keys + 5 * width)
    weights = 10 * shape.n_heads * context * 5 // 8
    return shape.n_layers * (states + weights)


def _head_bytes(shape: ModelConfig, n_tokens: int, mode: AdaptMode) -> int:
    logits = _LOGIT_BYTES * min(_CHUNK_LOGITS, n_tokens * shape.vocab_size)
    gradient = 12 * shape.vocab_size * shape.hidden_size if mode == "full" else 0
    return logits + gradient
