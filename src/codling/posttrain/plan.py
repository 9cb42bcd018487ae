"""What training a published model will cost, before it begins: parameters, memory, what would fit.

Input: the base's shape, the settings, the memory that is left. Output: sentences, or ConfigError
with the cure. Counted are weights, gradients, moments, what the backward pass needs of every layer,
the logits of a chunk, and the holes between all these that the allocator keeps. The shares were
measured on the CPU (docs/adapting.md); a test holds the sum to the peak of a real run.

Not here: how long it takes (train/trainer.py times its first steps and says so).
"""

from dataclasses import dataclass, replace

import torch

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.device import choose_device, choose_type
from codling.model.sizes import sizes
from codling.posttrain.config import PosttrainConfig, TrainMode
from codling.posttrain.lora import n_lora_parameters
from codling.train.loss import CHUNK_LOGITS
from codling.train.machine import has_compiler
from codling.train.run_memory import state_bytes

_TRAINED_BYTES = 24
"""Per trained parameter: fp32 master, best, gradient and two moments, bf16 weight and gradient."""
_LOADED_BYTES = 28
"""Per parameter where all are trained: the temporaries of an update too."""
_WHOLE_BYTES = 12
"""Per number of the embedding, which is whole on every process while it is used and when it is read
(fp32, and in the type of the products with its gradient); blocks are whole one at a time."""
_FIXED_BYTES, _COMPILER_BYTES = 450_000_000, 150_000_000
"""The program and its libraries; what torch.compile loads besides."""
_HOLES, _EAGER_HOLES = 1.15, {"bf16": 1.9, "fp32": 2.25}
"""Memory taken per byte of states: uncompiled, large temporaries leave holes between them."""
_AGAIN, _EAGER_AGAIN = {"bf16": 2.7, "fp32": 0.6}, {"bf16": 4.7, "fp32": 1.1}
"""The same with states computed again: in bf16 per byte of one layer's. In fp32 per byte of every
layer's: glibc hands the blocks that one layer freed to the next one only in part."""
_LOGIT_BYTES = 16
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The size of one run."""

    n_parameters: int
    n_trained: int
    n_bytes: int
    """Memory at its peak, about."""
    n_fixed: int
    """What the program takes of it, whatever the model."""

    def __str__(self) -> str:
        share = self.n_trained / self.n_parameters
        return (
            f"{self.n_trained:,} of {self.n_parameters:,} parameters are trained ({share:.1%}), in "
            f"about {self.n_bytes / _GIB:.1f} GiB of memory"
        )


@dataclass(frozen=True)
class RankShare:
    """What one of several processes has of the work: of every batch its rows, and perhaps of the
    weights no more than its share."""

    n_ranks: int = 1
    of_weights: bool = False


def plan(
    shape: ModelConfig, config: PosttrainConfig, context: int, share: RankShare = RankShare()
) -> MemoryPlan:
    """The plan of one process, in windows of `context` tokens."""
    total = sizes(shape).total
    trained = total if config.mode == "full" else n_lora_parameters(shape, config.rank)
    weights = (
        _LOADED_BYTES * total
        if config.mode == "full"
        else total * (2 if _is_short(config) else 4) + _TRAINED_BYTES * trained
    )
    if share.of_weights and share.n_ranks > 1:
        weights = weights // share.n_ranks + _WHOLE_BYTES * shape.vocab_size * shape.hidden_size
    n_tokens = max(1, config.batch_size // share.n_ranks) * context
    compiles = config.compile and has_compiler(choose_device(config.device))
    fixed = _FIXED_BYTES + (_COMPILER_BYTES if compiles else 0)
    states = n_tokens * _kept_bytes(shape, config, context, compiles)
    return MemoryPlan(
        n_parameters=total,
        n_trained=trained,
        n_fixed=fixed,
        n_bytes=fixed + weights + int(states) + _head_bytes(shape, n_tokens, config.mode),
    )


def check_memory(
    shape: ModelConfig,
    config: PosttrainConfig,
    context: int,
    available: int | None,
    share: RankShare = RankShare(),
) -> MemoryPlan:
    """The plan; ConfigError, with what would fit, if `available` bytes are too few for it."""
    found = plan(shape, config, context, share)
    if available is None or found.n_bytes <= available:
        return found
    fitting = _what_fits(shape, config, context, available, share)
    raise ConfigError(
        f"training {config.model} needs about {found.n_bytes / _GIB:.1f} GiB, and "
        f"{available / _GIB:.1f} GiB are free; {fitting}"
    )


def _what_fits(
    shape: ModelConfig, config: PosttrainConfig, context: int, available: int, share: RankShare
) -> str:
    """The smallest change of the settings that fits, or how large a model may be."""
    if not config.recompute:
        again = replace(config, recompute=True)
        if plan(shape, again, context, share).n_bytes <= available:
            return "--recompute would fit, and is about a third slower"
    modes: list[TrainMode] = [config.mode, "lora"] if config.mode == "full" else ["lora"]
    for mode in modes:
        for length in (context, 512, 256):
            for batch in (max(1, config.batch_size >> n) for n in range(8)):
                smaller = replace(config, mode=mode, batch_size=batch)
                if length <= context and plan(shape, smaller, length, share).n_bytes <= available:
                    wanted = {"mode": (config.mode, mode), "batch-size": (config.batch_size, batch)}
                    wanted["context"] = (context, length)
                    flags = (f"--{k} {now}" for k, (was, now) in wanted.items() if was != now)
                    return f"{' '.join(flags)} would fit"
    per_parameter = plan(
        shape, replace(config, mode="lora", batch_size=1), min(context, 256), share
    )
    least = per_parameter.n_bytes - per_parameter.n_fixed
    room = max(0, available - per_parameter.n_fixed)
    n_fitting = int(per_parameter.n_parameters * room / least)
    return f"a base of about {n_fitting / 1e6:,.0f}M parameters would fit"


def _kept_bytes(shape: ModelConfig, config: PosttrainConfig, context: int, compiles: bool) -> float:
    """What one token leaves in all layers, holes included; recomputed: the input of each, and what
    stands of the layers that are computed again."""
    of_one_layer = _state_bytes(shape, config, context, compiles)
    precision = "bf16" if _is_short(config) else "fp32"
    holes = _HOLES if compiles else _EAGER_HOLES[precision]
    kept = holes * shape.n_layers * of_one_layer
    if not config.recompute:
        return kept
    is_short = _is_short(config)
    inputs = shape.n_layers * (2 if is_short else 4) * shape.hidden_size
    n_standing = 1 if is_short else shape.n_layers
    again = (_AGAIN if compiles else _EAGER_AGAIN)[precision]
    return min(kept, again * (inputs + n_standing * of_one_layer))


def _state_bytes(shape: ModelConfig, config: PosttrainConfig, context: int, compiles: bool) -> int:
    """What one token leaves in one layer for the backward pass; frozen norms keep half."""
    norms = 4 if config.mode == "full" else 2
    size = 2 if _is_short(config) else 4
    return state_bytes(shape, context, size, compiles=compiles, norms=norms)


def _is_short(config: PosttrainConfig) -> bool:
    """Whether products are bf16."""
    return choose_type(config.precision, choose_device(config.device)) == torch.bfloat16


def _head_bytes(shape: ModelConfig, n_tokens: int, mode: TrainMode) -> int:
    logits = _LOGIT_BYTES * min(CHUNK_LOGITS, n_tokens * shape.vocab_size)
    gradient = 12 * shape.vocab_size * shape.hidden_size if mode == "full" else 0
    return logits + gradient
