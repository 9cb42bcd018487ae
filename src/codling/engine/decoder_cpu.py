"""Decoding on the CPU with one compiled loop per token, in place of a call per operation.

Input: a dense model and its cache. Output: logits after one or a few new tokens of each sequence.
The weights are packed so that what is read together is contiguous; in float32 and bfloat16 the
model's own parameters become views of the packed tensors, so nothing is held twice. int8 is a copy
with one scale per row of a matrix (weights only; sums are float32). The plain model stays the
reference and runs the prompts.

Shapes: as in kernels/decode_cpu.py. Not here: the arithmetic, latent attention, experts, GPUs.
"""

import os
import time
from collections.abc import Sequence
from itertools import accumulate
from math import gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codling.core.team import Pace, Team
from codling.engine.kernels import decode_cpu as kernels
from codling.model.config import ModelConfig
from codling.model.packed.kernels import ENTRY, entry_of, new_activations, new_scratch
from codling.model.packed.linear import PackedLinear
from codling.model.packed.matrix import LANES, TOP
from codling.model.packed.tile_ir import GROUP
from codling.model.transformer import Transformer

Array = np.ndarray[Any, Any]
_BYTES_PER_THREAD = 4_000_000
"""A smaller model takes less time than it takes two threads to synchronise."""
_MAX_TOKENS = 16
"""Up to this many tokens of a prompt are faster here than with the plain model's products."""


def can_fuse(model: Transformer) -> bool:
    """Whether the compiled loop supports this model: dense, float32 or bfloat16."""
    if os.name != "posix":
        return False
    weight = model.norm.weight
    known = weight.dtype in (torch.float32, torch.bfloat16) and weight.device.type == "cpu"
    shape = model.config
    return known and shape.mla is None and shape.moe is None


class FusedDecoder:
    """Matrices, scratch memory and threads for one model and one cache."""

    def __init__(
        self,
        model: Transformer,
        k_NBKSD: Tensor,
        v_NBKSD: Tensor,
        *,
        n_streams: int = 1,
        n_threads: int | None = None,
    ) -> None:
        config = model.config
        self._model = model
        self._max_length = k_NBKSD.shape[3]
        self.max_tokens = max(n_streams, _MAX_TOKENS)
        """Tokens per step, of all chunks together."""
        model.rope.reserve(self._max_length)
        self._rope = (_array(model.rope.cos.float()), _array(model.rope.sin.float()))
        self._cache = (_array(k_NBKSD), _array(v_NBKSD))
        self._entries, self._kept = _matrices(model)
        self._weights = _vectors(model)
        self._shape = (
            config.n_heads,
            config.kv_heads,
            config.head_size,
            float(config.rms_norm_eps),
            np.float32(config.softmax_scale),
            LANES // gcd(LANES, config.head_size),
        )
        self._team = Team(n_threads or _n_useful_threads(self._kept))
        rooms = _new_rooms(config, self.max_tokens, self._team.n_threads, self._max_length)
        self._scratch, self._works, self._shared, self._logits = rooms
        self._sync = np.zeros(16, dtype=np.int64)
        self._paces: dict[int, Pace] = {}
        self.step([[0]], [0], [0], [[0]])  # compiles at the first use, and touches all weights
        self._paces.clear()

    @torch.inference_mode()
    def step(
        self,
        chunks: Sequence[Sequence[int]],
        rows: Sequence[int],
        starts: Sequence[int],
        wanted: Sequence[Sequence[int]],
    ) -> Tensor:
        """Logits [W, V] after the tokens at the places `wanted[i]` of each chunk i; valid until the
        next step.

        Chunk i goes into cache row `rows[i]` from position `starts[i]` on; at most `max_tokens`
        tokens in all.
        """
        before = accumulate(map(len, chunks), initial=0)
        places = [n + at for n, each in zip(before, wanted, strict=False) for at in each]
        flat = [
            (row, start + i)
            for chunk, row, start in zip(chunks, rows, starts, strict=True)
            for i in range(len(chunk))
        ]
        assert len(flat) <= self.max_tokens
        columns = (*zip(*flat, strict=True), places)
        step = tuple(np.array(values, dtype=np.int64) for values in columns)
        tokens = torch.tensor([token for chunk in chunks for token in chunk])
        self._scratch[0][: len(flat)] = self._model.embed_tokens(tokens).float().numpy()
        parts = (self._sync, self._shape, step, self._entries, self._weights, self._rope)
        more = (self._cache, self._scratch, self._works, self._shared, self._logits)
        pace = self._paces.setdefault(len(flat), Pace(self._team.n_threads))
        n_best = pace.choose()
        started = time.perf_counter()
        self._team.run(lambda thread, n: kernels.decode(thread, n, *parts, *more), n_best)
        pace.record(n_best, time.perf_counter() - started)
        return torch.from_numpy(self._logits[: len(places)])

    def close(self) -> None:
        """End the helper threads."""
        self._team.close()


def _new_rooms(
    config: ModelConfig, n_rows: int, n_threads: int, max_length: int
) -> tuple[Any, Any, Any, Array]:
    """Memory that all threads share, that each has for itself, for rounded activations, and for
    logits."""
    hidden, width = config.hidden_size, config.head_size
    heads, inner = config.n_heads, config.intermediate_size
    widths = (hidden, (heads + 2 * config.kv_heads) * width, heads * width, inner, inner)
    scratch = tuple(np.zeros((n_rows, n), dtype=np.float32) for n in widths)
    n_groups = -(-max(widths) // TOP) * (TOP // GROUP)
    own = _activations(kernels.FEW, n_groups)
    works = tuple(
        (
            *(np.zeros_like(each) for each in own),
            np.zeros(n_rows * hidden, dtype=np.float32),
            np.zeros(max_length, dtype=np.float32),
            new_scratch(n_groups),
        )
        for _ in range(n_threads)
    )
    logits = np.zeros((n_rows, config.vocab_size), dtype=np.float32)
    return scratch, works, _activations(n_rows, n_groups), logits


def _activations(n_tokens: int, n_groups: int) -> tuple[Array, Array]:
    bytes_RM, factors_RF = new_activations(n_tokens, n_groups)
    return bytes_RM.reshape(-1), factors_RF.reshape(-1)


def _matrices(model: Transformer) -> tuple[Array, list[Array]]:
    """What the kernel is told of the matrices of each layer, [N + 1, 7, ENTRY], and their memory.

    The output matrix is the first of the last row. Float parameters become views of memory from
    numpy.
    """
    kept: list[Array] = []
    rows = []
    for block in model.layers:
        attention: Any = block.self_attn
        mlp: Any = block.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        linears = (*projections, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        rows.append([_entry(linear, kept) for linear in linears])
    head = _entry(model.lm_head, kept)
    model.tie()
    rows.append([head, *([0] * ENTRY for _ in range(6))])
    return np.array(rows, dtype=np.int64), kept


def _entry(linear: nn.Module, kept: list[Array]) -> list[int]:
    if isinstance(linear, PackedLinear):
        matrix = linear.matrix
        kept += [matrix.codes, matrix.scales, matrix.tops]
        return entry_of(matrix)
    assert isinstance(linear, nn.Linear)
    weight = linear.weight
    moved = _zeros(tuple(weight.shape), weight.dtype)
    moved.copy_(weight.detach())
    linear.weight.data = moved
    kept.append(_array(moved))
    kind = kernels.FLOAT32 if weight.dtype == torch.float32 else kernels.BFLOAT16
    return [kind, *weight.shape, 0, kept[-1].ctypes.data, *([0] * (ENTRY - 5))]


def _vectors(model: Transformer) -> tuple[Any, ...]:
    """Biases [N, X] and norms [N, 2, D] of queries, keys and values; norms [N, 2, E] and [E]."""
    config = model.config
    attentions: list[Any] = [block.self_attn for block in model.layers]
    width = (config.n_heads + 2 * config.kv_heads) * config.head_size
    bias_NX = torch.zeros(config.n_layers, width)
    if config.attention_bias:
        biases = [[p.bias for p in (a.q_proj, a.k_proj, a.v_proj)] for a in attentions]
        bias_NX = torch.stack([torch.cat([b.float() for b in row]) for row in biases])
    norms = [
        torch.stack([b.input_layernorm.weight, b.post_attention_layernorm.weight])  # type: ignore[list-item,union-attr]
        for b in model.layers
    ]
    return (
        (_array(bias_NX), _norms_of_heads(config, attentions)),
        (_array(torch.stack(norms).float()), _array(model.norm.weight.float())),
    )


def _norms_of_heads(config: ModelConfig, attentions: list[Any]) -> Array:
    """Weights of the norms of queries and keys, [N, 2, D]; [N, 0, D] where there are none."""
    if not config.qk_norm:
        return _array(torch.empty(config.n_layers, 0, config.head_size))
    pairs = [torch.stack([a.q_norm.weight, a.k_norm.weight]) for a in attentions]
    return _array(torch.stack(pairs).float())


def _n_useful_threads(kept: list[Array]) -> int:
    """All of torch's threads, but only as many as have megabytes to read between two barriers."""
    n_bytes = sum(array.nbytes for array in kept)
    return max(1, min(torch.get_num_threads(), n_bytes // _BYTES_PER_THREAD))


def _array(tensor: Tensor) -> Array:
    """The same memory as a numpy array; bfloat16 as its bits."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    array: Array = tensor.numpy()
    return array


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in memory from numpy: not touched before use, and in huge pages where Linux has them.

    Reading a model's weights from huge pages is up to three times as fast as from torch's.
    """
    kinds = {torch.float32: np.float32, torch.bfloat16: np.uint16}
    return torch.from_numpy(np.zeros(shape, dtype=kinds[dtype])).view(dtype)
