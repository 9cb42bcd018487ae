"""A few tokens through a dense model as one compiled loop for the CPU.

Input: packed weights (float32, bfloat16 bits, or int8 with a scale per row), the cache, R tokens,
each with its cache row and position. Output: logits of W of them. Tokens of one row see each other
in order, because all keys are written before any token looks back.

All threads run `decode` at once, each on its share of the rows of every matrix, and meet at
barriers; so a token costs little more than reading the weights once, where a call per operation
costs more than the arithmetic. decoder_cpu.py packs and starts the threads.

Shapes: N layers, R tokens, E hidden size, H query heads, K kv heads, D head width, F MLP width,
V vocabulary, B rows of the cache, S slots, T threads. Not here: long prompts (the plain model runs
them), latent attention, experts.
"""

# ruff: noqa: ANN401, PLR0913 -- arrays of any number type; a kernel takes its parts one by one
# mypy: disable-error-code="untyped-decorator"

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types

_intrinsic: Any = extending.intrinsic  # its stub demands the context argument of every caller
_FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning."""
_SPINS = 4000
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
_FLOAT = ir.FloatType()
_SCHED_YIELD = types.ExternalFunction("sched_yield", types.int32())


@_intrinsic
def _to_f32(_context: Any, kind: Any) -> Any:
    """A stored number as float32: itself, int8, or the bits of a bfloat16."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        if kind == types.float32:
            return args[0]
        if kind == types.int8:
            return builder.sitofp(args[0], _FLOAT)
        bits = builder.shl(builder.zext(args[0], _INT32), ir.Constant(_INT32, 16))
        return builder.bitcast(bits, _FLOAT)

    return types.float32(kind), generate


@_intrinsic
def _to_stored(_context: Any, like: Any, value: Any) -> Any:
    """A float32 as the number type of the array `like`: itself, or rounded to bfloat16's bits."""
    kind = like.dtype

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        if kind == types.float32:
            return args[1]
        bits = builder.bitcast(args[1], _INT32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_INT32, 16)), ir.Constant(_INT32, 1))
        rounded = builder.add(bits, builder.add(odd, ir.Constant(_INT32, 0x7FFF)))
        return builder.trunc(builder.lshr(rounded, ir.Constant(_INT32, 16)), ir.IntType(16))

    return kind(like, value), generate


@_intrinsic
def _power_of_two(_context: Any, _exponent: Any) -> Any:
    """2 to an int32 between -126 and 127, by its bits."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        bits = builder.add(args[0], ir.Constant(_INT32, 127))
        return builder.bitcast(builder.shl(bits, ir.Constant(_INT32, 23)), _FLOAT)

    return types.float32(types.int32), generate


@_intrinsic
def _atomic_add(_context: Any, array: Any, index: Any) -> Any:
    """Add 1 to an int64 that threads share; gives the value before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args)
        return builder.atomic_rmw("add", pointer, ir.Constant(_INT64, 1), "seq_cst")

    return types.int64(array, index), generate


@_intrinsic
def _atomic_load(_context: Any, array: Any, index: Any) -> Any:
    """Read an int64 that another thread may write."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, index), generate


@_intrinsic
def _atomic_store(_context: Any, array: Any, index: Any, _value: Any) -> Any:
    """Write an int64 that another thread may read."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args)
        builder.store_atomic(args[2], pointer, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, index, types.int64), generate


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], signature.args[1], types.int64)
    return builder.gep(array.data, [index])


@njit(nogil=True, cache=True)
def _meet(sync: Any, n_threads: int) -> None:
    """Wait until all threads are here. sync[0] counts arrivals, sync[8] the meetings so far."""
    if n_threads == 1:
        return
    meeting = _atomic_load(sync, 8)
    if _atomic_add(sync, 0) == n_threads - 1:
        _atomic_store(sync, 0, 0)
        _atomic_store(sync, 8, meeting + 1)
        return
    spins = 0
    while _atomic_load(sync, 8) == meeting:
        spins += 1
        if spins > _SPINS:  # the other thread's core is taken: let it have this one
            _SCHED_YIELD()


@njit(nogil=True, cache=True, fastmath=_FAST)
def _dot(w: Any, x: Any) -> Any:
    total = np.float32(0)
    for i in range(x.shape[0]):
        total += _to_f32(w[i]) * x[i]
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _exp(x: Any) -> Any:
    """exp in float32 for -87 to 88, right to 5e-7 near 0; written so that loops vectorise."""
    scaled = min(max(x, np.float32(-87.0)), np.float32(88.0)) * np.float32(1.44269504)
    whole = np.floor(scaled + np.float32(0.5))
    f = (scaled - whole) * np.float32(0.6931471805599453)
    p = np.float32(1.0 / 720)
    p = p * f + np.float32(1.0 / 120)
    p = p * f + np.float32(1.0 / 24)
    p = p * f + np.float32(1.0 / 6)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1.0)
    p = p * f + np.float32(1.0)
    return p * _power_of_two(np.int32(whole))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _normalise(x_RE: Any, weight_E: Any, eps: float, out_RE: Any) -> None:
    for r in range(x_RE.shape[0]):
        _normalise_row(x_RE[r], weight_E, eps, out_RE[r])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _normalise_row(x_E: Any, weight_E: Any, eps: float, out_E: Any) -> None:
    """RMSNorm; `out_E` may be `x_E`."""
    total = np.float32(0)
    for i in range(x_E.shape[0]):
        total += x_E[i] * x_E[i]
    factor = np.float32(1.0 / np.sqrt(total / np.float32(x_E.shape[0]) + np.float32(eps)))
    for i in range(x_E.shape[0]):
        out_E[i] = x_E[i] * factor * weight_E[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _rotate(x_D: Any, cos_P: Any, sin_P: Any) -> None:
    """RoPE in place, pairs (i, i + D/2)."""
    half = cos_P.shape[0]
    for i in range(half):
        a, b = x_D[i], x_D[i + half]
        x_D[i] = a * cos_P[i] - b * sin_P[i]
        x_D[i + half] = b * cos_P[i] + a * sin_P[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _attend(q_D: Any, k_SD: Any, v_SD: Any, scale: Any, scores_S: Any, out_D: Any) -> None:
    """softmax(scale x q k^T) v over all slots of k and v."""
    n_slots, width = k_SD.shape
    highest = np.float32(-3e38)
    for s in range(n_slots):
        scores_S[s] = _dot(k_SD[s], q_D) * scale
        highest = max(highest, scores_S[s])
    total = np.float32(0)
    for s in range(n_slots):
        scores_S[s] = _exp(scores_S[s] - highest)
        total += scores_S[s]
    out_D[:] = np.float32(0)
    for s in range(n_slots):
        share = scores_S[s] / total
        for d in range(width):
            out_D[d] += share * _to_f32(v_SD[s, d])


@njit(nogil=True, cache=True)
def _share(n: int, thread: int, n_threads: int) -> tuple[int, int]:
    return n * thread // n_threads, n * (thread + 1) // n_threads


@njit(nogil=True, cache=True, fastmath=_FAST)
def _project_heads(
    share: Any, layer: int, shape: Any, rows: Any, starts: Any, h_RE: Any, weights: Any,
    rope: Any, cache: Any, qkv_RX: Any,
) -> None:  # fmt: skip
    """Queries, keys and values of the heads in `share`; keys and values go into the cache."""
    (qkv_NXE, scale_NX), bias_NX, norm_N2D = weights
    (cos_SP, sin_SP), (k_NBKSD, v_NBKSD) = rope, cache
    n_heads, n_kv, width, eps = shape
    for head in range(*share):
        for n in range(head * width, (head + 1) * width):
            w, scale, bias = qkv_NXE[layer, n], scale_NX[layer, n], bias_NX[layer, n]
            for r in range(h_RE.shape[0]):
                qkv_RX[r, n] = _dot(w, h_RE[r]) * scale + bias
        for r in range(h_RE.shape[0]):
            x_D = qkv_RX[r, head * width : (head + 1) * width]
            if head < n_heads + n_kv:
                if norm_N2D.shape[1]:
                    _normalise_row(x_D, norm_N2D[layer, int(head >= n_heads)], eps, x_D)
                _rotate(x_D, cos_SP[starts[r]], sin_SP[starts[r]])
            if head < n_heads:
                continue
            if head < n_heads + n_kv:
                slot = k_NBKSD[layer, rows[r], head - n_heads, starts[r]]
            else:
                slot = v_NBKSD[layer, rows[r], head - n_heads - n_kv, starts[r]]
            for d in range(width):
                slot[d] = _to_stored(slot, x_D[d])


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add_product(share: Any, w_NM: Any, scale_N: Any, x_RM: Any, out_RN: Any) -> None:
    """out += x w^T, for the rows of w in `share`."""
    for n in range(*share):
        w, scale = w_NM[n], scale_N[n]
        for r in range(x_RM.shape[0]):
            out_RN[r, n] += _dot(w, x_RM[r]) * scale


@njit(nogil=True, cache=True, fastmath=_FAST)
def _gate(share: Any, w_GE: Any, scale_G: Any, h_RE: Any, out_RF: Any) -> None:
    """silu(gate) x up; the first half of w is the gate, the second half up."""
    half = out_RF.shape[1]
    for f in range(*share):
        gate, up = w_GE[f], w_GE[half + f]
        for r in range(h_RE.shape[0]):
            g = _dot(gate, h_RE[r]) * scale_G[f]
            u = _dot(up, h_RE[r]) * scale_G[half + f]
            out_RF[r, f] = g * u / (np.float32(1) + _exp(-g))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _score(share: Any, w_VE: Any, scale_V: Any, h_RE: Any, wanted: Any, out_WV: Any) -> None:
    """Scores of the words in `share` after each of the wanted tokens."""
    for v in range(*share):
        w, scale = w_VE[v], scale_V[v]
        for i in range(wanted.shape[0]):
            out_WV[i, v] = _dot(w, h_RE[wanted[i]]) * scale


@njit(nogil=True, cache=True)
def decode(
    thread: int, n_threads: int, sync: Any, shape: Any, step: Any, weights: Any, rope: Any,
    cache: Any, scratch: Any,
) -> None:  # fmt: skip
    """All of R tokens through the model; scratch's logits_WV then hold the scores of `wanted`."""
    tokens, rows, starts, wanted = step
    embed_VE, qkv, (o_NEX, o_scale), (gate_NGE, gate_scale), (down_NEF, down_scale) = weights[:5]
    (norm_N2E, norm_E), (head_VE, head_scale) = weights[5:]
    x_RE, h_TRE, qkv_RX, att_RX, act_RF, scores_TS, logits_WV = scratch
    n_heads, n_kv, width, eps, scale = shape
    n_rows = tokens.shape[0]
    x, h, scores = x_RE[:n_rows], h_TRE[thread, :n_rows], scores_TS[thread]
    att, act = att_RX[:n_rows], act_RF[:n_rows]
    head_share = _share(n_heads + 2 * n_kv, thread, n_threads)
    item_share = _share(n_rows * n_heads, thread, n_threads)
    e_share = _share(x.shape[1], thread, n_threads)
    f_share = _share(act.shape[1], thread, n_threads)
    for i in range(*e_share):
        for r in range(n_rows):
            x[r, i] = _to_f32(embed_VE[tokens[r], i])
    _meet(sync, n_threads)
    for layer in range(o_NEX.shape[0]):
        _normalise(x, norm_N2E[layer, 0], eps, h)
        heads = (n_heads, n_kv, width, eps)
        _project_heads(head_share, layer, heads, rows, starts, h, qkv, rope, cache, qkv_RX)
        _meet(sync, n_threads)
        for item in range(*item_share):
            r, head = item // n_heads, item % n_heads
            kv, n_slots = head * n_kv // n_heads, starts[r] + 1
            span = slice(head * width, (head + 1) * width)
            k_SD = cache[0][layer, rows[r], kv, :n_slots]
            v_SD = cache[1][layer, rows[r], kv, :n_slots]
            _attend(qkv_RX[r, span], k_SD, v_SD, scale, scores, att[r, span])
        _meet(sync, n_threads)
        _add_product(e_share, o_NEX[layer], o_scale[layer], att, x)
        _meet(sync, n_threads)
        _normalise(x, norm_N2E[layer, 1], eps, h)
        _gate(f_share, gate_NGE[layer], gate_scale[layer], h, act)
        _meet(sync, n_threads)
        _add_product(e_share, down_NEF[layer], down_scale[layer], act, x)
        _meet(sync, n_threads)
    _normalise(x, norm_E, eps, h)
    _score(_share(head_VE.shape[0], thread, n_threads), head_VE, head_scale, h, wanted, logits_WV)
    _meet(sync, n_threads)
