"""How much memory a run of the training loop takes on this machine's CPUs, before it begins.

Input: a shape, the loop's settings, the length of a window. Output: bytes by part, at the peak,
which is the end of a forward pass: the weights and what the optimiser keeps, the states that the
backward pass needs, the logits of a chunk, the program, and the holes that glibc leaves between
all these. The gradients of the pass itself come as the states go. What a layer keeps follows from
the operations; the program and the holes were measured (docs/training.md), and tests hold the sum
to the peaks of real runs.

Not here: GPUs and clusters (layout.py), LoRA and a frozen base (posttrain/plan.py).

Legend: E hidden width, Q width of all query heads, F width of the MLP that a token meets.
"""

from codling.core.errors import ConfigError
from codling.core.log import say
from codling.core.memory import available_share, total_bytes
from codling.model.config import ModelConfig
from codling.model.device import choose_device, choose_type
from codling.model.ops.blocked import query_blocks
from codling.model.sizes import sizes
from codling.train.config import LoopConfig
from codling.train.crew import count_members
from codling.train.loss import rows_of_chunk
from codling.train.machine import has_compiler

_PROGRAM, _MEMBER, _EAGER_MEMBER = 600_000_000, 60_000_000, 350_000_000
"""Bytes of the program with its libraries and tables, and of what another process does not share
with the first: uncompiled, much of the heap that it was forked with."""
_HOLES = 0.18
"""Share of the tensors' memory that lies between them where nothing is compiled."""
_LOGIT, _HEAD = 16, 12
"""Bytes at the head: of a logit (scores, their exponentials, probabilities, gradient), of a weight
(fp32 sum, a chunk's addend, the rounded result)."""
_HOPELESS = 1.5
"""So many times the machine's memory are not tried: the count is not that far off."""
_GIB = 2**30


def count_run_memory(shape: ModelConfig, config: LoopConfig, context: int) -> dict[str, int]:
    """Bytes by part of all processes that share the batches of a run on CPUs."""
    device = choose_device("cpu")
    n, size = sizes(shape).total, choose_type(config.precision, device).itemsize
    tables = shape.vocab_size * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    compiles = config.compile and has_compiler(device)
    members = count_members(config, shape.moe is not None, n, config.batch_size, context)
    n_tokens = config.batch_size * context
    moments = 8 * n if config.optimizer.name == "adamw" else 4 * n + 4 * tables
    rows = members * min(rows_of_chunk(shape.vocab_size, "cpu"), n_tokens // members)
    parts = {
        "weights": (4 + size) * n,
        "gradients": 4 * members * n,
        "optimizer": moments,
        "activations": n_tokens * _kept_bytes(shape, config, context, size, compiles=compiles),
        "logits": _LOGIT * rows * shape.vocab_size
        + members * _HEAD * shape.vocab_size * shape.hidden_size,
    }
    parts["holes"] = 0 if compiles else int(_HOLES * sum(parts.values()))
    parts["program"] = _PROGRAM + (members - 1) * (_MEMBER if compiles else _EAGER_MEMBER)
    return parts


def foresee_memory(shape: ModelConfig, config: LoopConfig, context: int) -> None:
    """Say what a run on CPUs takes, and what to change where less is free.

    Raises ConfigError if it takes far more than the machine has.
    """
    if choose_device(config.device).type != "cpu":
        return
    need, left = sum(count_run_memory(shape, config, context).values()), available_share()
    said = f"{sizes(shape).total:,} parameters; training takes about {need / _GIB:,.1f} GiB"
    total = total_bytes()
    if total is not None and need > _HOPELESS * total:
        has = f"this machine has {total / _GIB:,.1f} GiB"
        raise ConfigError(f"{said}, and {has}; choose fewer or shorter windows, or a smaller model")
    if left is not None and need > left:
        said += f", and {left / _GIB:.1f} GiB are free; {name_cure(config)}"
    say(said)


def name_cure(config: LoopConfig) -> str:
    """What takes less memory."""
    return "a smaller --batch-size takes less" if config.recompute else "--recompute takes less"


def state_bytes(shape: ModelConfig, context: int, size: int, *, compiles: bool, norms: int) -> int:
    """What one token leaves in one layer for the backward pass, in products of `size` bytes.

    Compiled: five states of E, three of Q, three of F. Uncompiled: one more of F, and `norms` fp32
    copies of E. Routed experts take and give a state of E for every assignment. The softmax keeps
    its weights in fp32, and rounded where the products are bf16.
    """
    hidden, queries, width = shape.hidden_size, _query_width(shape), _mlp_width(shape)
    n_scores = sum((end - start) * end for start, end in query_blocks(context))
    softmax = shape.n_heads * n_scores * (6 if size == 2 else 4) // context
    routed = 0
    if shape.moe is not None:
        routed = 2 * hidden * (shape.moe.n_experts_per_token + 1) * size
        routed += 4 * hidden if size == 2 else 0  # the router's input in fp32
    if compiles:
        return size * (5 * hidden + 3 * queries + 3 * width) + routed + softmax
    return size * (3 * hidden + 3 * queries + 4 * width) + 4 * norms * hidden + routed + softmax


def _kept_bytes(
    shape: ModelConfig, config: LoopConfig, context: int, size: int, *, compiles: bool
) -> int:
    """What one token leaves in all layers; computed again: the input of each, and one layer's."""
    of_one_layer = state_bytes(shape, context, size, compiles=compiles, norms=4)
    if config.recompute:
        return size * shape.n_layers * shape.hidden_size + of_one_layer
    return shape.n_layers * of_one_layer


def _query_width(shape: ModelConfig) -> int:
    return shape.n_heads * (shape.head_size if shape.mla is None else shape.mla.qk_head_dim)


def _mlp_width(shape: ModelConfig) -> int:
    """Width of the MLP that a token passes: with routed experts, of those that it is sent to."""
    if shape.moe is None:
        return shape.intermediate_size
    n_experts = shape.moe.n_experts_per_token + shape.moe.n_shared_experts
    return shape.moe.moe_intermediate_size * n_experts
