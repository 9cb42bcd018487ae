"""Decoding on the CPU with one compiled loop per token, in place of a call per operation.

Input: a dense model and its cache. Output: logits after one or a few new tokens of each sequence.
The weights are packed so that what is read together is contiguous; in float32 and bfloat16 the
model's own parameters become views of the packed tensors, so nothing is held twice. int8 is a copy
with one scale per row of a matrix (weights only; sums are float32). The plain model stays the
reference and runs the prompts.

Shapes: as in kernels/decode_cpu.py. Not here: the arithmetic, latent attention, experts, GPUs.
"""

import mmap
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codling.engine.kernels import decode_cpu as kernels
from codling.engine.kernels.team import Pace, Team
from codling.model.attention import Attention
from codling.model.cache import KVCache
from codling.model.config import ModelConfig
from codling.model.mlp import MLP
from codling.model.transformer import Transformer

Array = np.ndarray[Any, Any]
_BYTES_PER_THREAD = 4_000_000
"""A smaller model takes less time than it takes two threads to synchronise."""
_MAX_TOKENS = 16
"""Up to this many tokens of a prompt are faster here than with the plain model's products."""


def can_fuse(model: Transformer) -> bool:
    """Whether the compiled loop supports this model: dense, float32 or bfloat16."""
    if not hasattr(os, "sched_yield"):
        return False
    weight = model.embed_tokens.weight
    known = weight.dtype in (torch.float32, torch.bfloat16) and weight.device.type == "cpu"
    shape = model.config
    return known and shape.mla is None and shape.moe is None


def stacked_cache(
    config: ModelConfig, n_rows: int, max_length: int, dtype: torch.dtype
) -> tuple[KVCache, Tensor, Tensor]:
    """A cache whose layers lie in one tensor each for keys and values, [N, B, K, S, D].

    The memory is zero and not touched before it is used: an idle slot costs nothing.
    """
    shape = (config.n_layers, n_rows, config.kv_heads, max_length, config.head_size)
    k_NBKSD, v_NBKSD = (_sparse_zeros(shape, dtype) for _ in range(2))
    stores: list[tuple[Tensor, ...]] = [(k, v) for k, v in zip(k_NBKSD, v_NBKSD, strict=True)]
    return KVCache(stores, torch.zeros(n_rows, dtype=torch.int64)), k_NBKSD, v_NBKSD


class FusedDecoder:
    """Packed weights, scratch memory and threads for one model and one cache."""

    def __init__(
        self,
        model: Transformer,
        k_NBKSD: Tensor,
        v_NBKSD: Tensor,
        *,
        int8: bool = False,
        n_threads: int | None = None,
    ) -> None:
        config = model.config
        self._max_length = k_NBKSD.shape[3]
        self.max_tokens = max(k_NBKSD.shape[1], _MAX_TOKENS)
        """Tokens per step, of all chunks together."""
        model.rope.reserve(self._max_length)
        self._rope = (_array(model.rope.cos.float()), _array(model.rope.sin.float()))
        self._cache = (_array(k_NBKSD), _array(v_NBKSD))
        self._weights = _pack(model, int8)
        self._shape = (
            config.n_heads,
            config.kv_heads,
            config.head_size,
            float(config.rms_norm_eps),
            np.float32(config.softmax_scale),
        )
        self._team = Team(n_threads or _n_useful_threads(model))
        self._scratch = self._new_scratch(config)
        self._sync = np.zeros(16, dtype=np.int64)
        self._paces: dict[int, Pace] = {}
        self.step([[0]], [0], [0], [[0]])  # compiles at the first use, and touches all weights
        self._paces.clear()

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
            (token, row, start + i)
            for chunk, row, start in zip(chunks, rows, starts, strict=True)
            for i, token in enumerate(chunk)
        ]
        assert len(flat) <= self.max_tokens
        columns = (*zip(*flat, strict=True), places)
        step = tuple(np.array(values, dtype=np.int64) for values in columns)
        parts = (self._sync, self._shape, step, self._weights, self._rope, self._cache)
        pace = self._paces.setdefault(len(flat), Pace(self._team.n_threads))
        n = pace.choose()
        started = time.perf_counter()
        self._team.run(lambda thread: kernels.decode(thread, n, *parts, self._scratch), n)
        pace.record(n, time.perf_counter() - started)
        return torch.from_numpy(self._scratch[-1][: len(places)])

    def close(self) -> None:
        """End the helper threads."""
        self._team.close()

    def _new_scratch(self, config: ModelConfig) -> tuple[Array, ...]:
        n_threads, n_rows, hidden = self._team.n_threads, self.max_tokens, config.hidden_size
        n_heads, n_kv, width = self._shape[:3]
        shapes = (
            (n_rows, hidden),
            (n_threads, n_rows, hidden),
            (n_rows, (n_heads + 2 * n_kv) * width),
            (n_rows, n_heads * width),
            (n_rows, config.intermediate_size),
            (n_threads, self._max_length),
            (n_rows, config.vocab_size),
        )
        return tuple(np.zeros(shape, dtype=np.float32) for shape in shapes)


def quantise_rows(w_NM: Tensor) -> tuple[Tensor, Tensor]:
    """int8 weights and a float32 scale per row: w is about q x scale, to half a step of scale.

    >>> q, scale = quantise_rows(torch.tensor([[0.5, -1.27]]))
    >>> q.tolist(), round(scale.item(), 4)
    ([[50, -127]], 0.01)
    """
    w_NM = w_NM.float()
    scale_N = w_NM.abs().amax(dim=-1).clamp_min(1e-12) / 127
    return (w_NM / scale_N[..., None]).round_().to(torch.int8), scale_N


def _pack(model: Transformer, int8: bool) -> tuple[Any, ...]:
    attentions: list[Attention] = [block.self_attn for block in model.layers]  # type: ignore[misc]
    mlps: list[MLP] = [block.mlp for block in model.layers]  # type: ignore[misc]
    qkv = _matrix([[a.q_proj, a.k_proj, a.v_proj] for a in attentions], int8)
    biases = [[p.bias for p in (a.q_proj, a.k_proj, a.v_proj)] for a in attentions]
    has_bias = model.config.attention_bias
    bias_NX = torch.zeros(qkv[0].shape[:2])
    if has_bias:
        bias_NX = torch.stack([torch.cat([b.float() for b in row]) for row in biases])
    norms = [
        torch.stack([b.input_layernorm.weight, b.post_attention_layernorm.weight])  # type: ignore[list-item,union-attr]
        for b in model.layers
    ]
    head, head_scale = _matrix([[model.lm_head]], int8)
    embed = _array(model.embed_tokens.weight)  # after the head, whose tensor it may be
    return (
        embed,
        (qkv, _array(bias_NX), _norms_of_heads(model.config, attentions)),
        _matrix([[a.o_proj] for a in attentions], int8),
        _matrix([[m.gate_proj, m.up_proj] for m in mlps], int8),
        _matrix([[m.down_proj] for m in mlps], int8),
        (_array(torch.stack(norms).float()), _array(model.norm.weight.float())),
        (head[0], head_scale[0]),
    )


def _norms_of_heads(config: ModelConfig, attentions: list[Attention]) -> Array:
    """Weights of the norms of queries and keys, [N, 2, D]; [N, 0, D] where there are none."""
    if not config.qk_norm:
        return _array(torch.empty(config.n_layers, 0, config.head_size))
    pairs = [torch.stack([a.q_norm.weight, a.k_norm.weight]) for a in attentions]
    return _array(torch.stack(pairs).float())


def _matrix(layers: list[list[nn.Linear]], int8: bool) -> tuple[Array, Array]:
    """The weights of each layer's linears one below the other, [N, rows, columns], and row scales.

    Without int8 the linears' parameters become views of the result.
    """
    n_rows, width = sum(p.out_features for p in layers[0]), layers[0][0].in_features
    scale_NX = torch.ones(len(layers), n_rows)
    dtype = torch.int8 if int8 else layers[0][0].weight.dtype
    packed_NXM = _zeros((len(layers), n_rows, width), dtype)
    for layer, linears in enumerate(layers):
        start = 0
        for linear in linears:
            place = slice(start, start + linear.out_features)
            if int8:
                packed_NXM[layer, place], scale_NX[layer, place] = quantise_rows(linear.weight)
            else:
                packed_NXM[layer, place] = linear.weight
                linear.weight.data = packed_NXM[layer, place]
            start = place.stop
    return _array(packed_NXM), _array(scale_NX)


def _n_useful_threads(model: Transformer) -> int:
    """All of torch's threads, but only as many as have megabytes to read between two barriers."""
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    return max(1, min(torch.get_num_threads(), n_bytes // _BYTES_PER_THREAD))


def _array(tensor: Tensor) -> Array:
    """The same memory as a numpy array; bfloat16 as its bits."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    array: Array = tensor.numpy()
    return array


def _sparse_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros of which only the pages in use are in memory.

    Not in huge pages: of those a single token takes one per layer and head, which is soon all of
    them.
    """
    memory = mmap.mmap(-1, max(1, prod(shape) * dtype.itemsize))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype, count=prod(shape)).view(shape)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in memory from numpy: not touched before use, and in huge pages where Linux has them.

    Reading a model's weights from huge pages is up to three times as fast as from torch's.
    """
    kinds = {torch.float32: np.float32, torch.bfloat16: np.uint16, torch.int8: np.int8}
    return torch.from_numpy(np.zeros(shape, dtype=kinds[dtype])).view(dtype)
