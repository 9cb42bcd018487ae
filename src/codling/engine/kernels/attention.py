"""Attention of the compiled loop: one query over the cache, or up to 48 that see the same keys.

Input: queries, keys and values as the cache holds them (float32, bfloat16 bits, or bytes with a
scale per slot), how many slots each query sees. Output: softmax(scale x q k^T) v.

A query alone reads every key once, which is all that its arithmetic costs. Many together turn 64
slots at a time into float32 and go over them in registers, 6 queries by 16 numbers at once, with
the softmax carried from block to block (Milakov and Gimelshein, arXiv:1805.02867): a third of the
time per query (docs/benchmarks.md).

Shapes: Q queries, S slots, D head width, B the slots of a block, W head width in whole sixteens.
Not here: which queries those are (decode_cpu.py), latent attention (decode_experts.py).
"""

# ruff: noqa: ANN401, PLR0913 -- arrays of any number type; a kernel takes its parts one by one
# mypy: disable-error-code="untyped-decorator"

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types
from numba.core import cgutils

from codling.model.packed.instructions import splat

_intrinsic: Any = extending.intrinsic  # its stub demands the context argument of every caller
_build: Any = cgutils  # so is numba's own library
FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning."""
TOGETHER = 6
"""From so many queries on, going together is faster."""
MOST = 48
"""Queries that go together at most, in whole tiles."""
_TILE, _LANES, _BLOCK = 6, 16, 64
_LOWEST = np.float32(-3e38)
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, _LANES)


@_intrinsic
def widen(_context: Any, kind: Any) -> Any:
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
def _power_of_two(_context: Any, _exponent: Any) -> Any:
    """2 to an int32 between -126 and 127, by its bits."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        bits = builder.add(args[0], ir.Constant(_INT32, 127))
        return builder.bitcast(builder.shl(bits, ir.Constant(_INT32, 23)), _FLOAT)

    return types.float32(types.int32), generate


@njit(nogil=True, cache=True, fastmath=FAST)
def add_products(w: Any, x: Any) -> Any:
    """The sum of w x, as long as `x` is."""
    total = np.float32(0)
    for i in range(x.shape[0]):
        total += widen(w[i]) * x[i]
    return total


@njit(nogil=True, cache=True, fastmath=FAST)
def approximate_exp(x: Any) -> Any:
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


@njit(nogil=True, cache=True, fastmath=FAST)
def soften(scores_S: Any, scale_S: Any, scale: Any) -> None:
    """softmax(scale x scores) in place, each times its slot's own scale if it has one."""
    highest = np.float32(-3e38)
    for s in range(scale_S.shape[0]):
        scores_S[s] *= scale_S[s]
    for s in range(scores_S.shape[0]):
        scores_S[s] *= scale
        highest = max(highest, scores_S[s])
    total = np.float32(0)
    for s in range(scores_S.shape[0]):
        scores_S[s] = approximate_exp(scores_S[s] - highest)
        total += scores_S[s]
    for s in range(scores_S.shape[0]):
        scores_S[s] /= total


@njit(nogil=True, cache=True, fastmath=FAST)
def mix(shares_S: Any, v_SD: Any, scale_S: Any, out_D: Any) -> None:
    """The sum of all slots' values, each times its share and its scale, if it has one."""
    for s in range(scale_S.shape[0]):
        shares_S[s] *= scale_S[s]
    out_D[:] = np.float32(0)
    for s in range(shares_S.shape[0]):
        for d in range(out_D.shape[0]):
            out_D[d] += shares_S[s] * widen(v_SD[s, d])


@njit(nogil=True, cache=True, fastmath=FAST)
def attend(
    q_D: Any, k_SD: Any, v_SD: Any, k_scale_S: Any, v_scale_S: Any, scale: Any, scores_S: Any,
    out_D: Any,
) -> None:  # fmt: skip
    """softmax(scale x q k^T) v over all slots of k and v, which have scales as bytes."""
    scores_S = scores_S[: k_SD.shape[0]]
    for s in range(k_SD.shape[0]):
        scores_S[s] = add_products(k_SD[s], q_D)
    soften(scores_S, k_scale_S, scale)
    mix(scores_S, v_SD, v_scale_S, out_D)


def new_room(width: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Memory of one thread for heads of `width` numbers: queries [Q, D], keys turned [D, B], values
    [B, W], scores [Q, B], sums [Q, W]; highest score, sum of weights and visible slots [Q]."""
    whole = -(-width // _LANES) * _LANES
    shapes = ((MOST, width), (width, _BLOCK), (_BLOCK, whole), (MOST, _BLOCK), (MOST, whole))
    floats = [np.zeros(shape, dtype=np.float32) for shape in (*shapes, (MOST,), (MOST,))]
    return (*floats, np.zeros(MOST, dtype=np.int64))


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_together(
    n: int, k_SD: Any, v_SD: Any, k_scale_S: Any, v_scale_S: Any, scale: Any, room: Any
) -> None:
    """As `attend`, for the first `n` queries of the room over the first slots of k and v, as many
    as each sees; the results are the room's sums."""
    q_QD, k_DB, v_BW, scores_QB, out_QW, highest_Q, total_Q, slots_Q = room
    n_rows, n_slots_all = (n + _TILE - 1) // _TILE * _TILE, slots_Q[:n].max()
    out_QW[:n_rows] = np.float32(0)
    highest_Q[:n], total_Q[:n] = _LOWEST, np.float32(0)
    for first in range(0, n_slots_all, _BLOCK):
        n_slots = min(_BLOCK, n_slots_all - first)
        _read_block(first, n_slots, k_SD, v_SD, k_scale_S, v_scale_S, k_DB, v_BW)
        scores_QB[:n_rows] = np.float32(0)
        _add_product(n_rows, q_QD, k_DB, scores_QB, q_QD.shape[1])
        for i in range(n):
            highest = highest_Q[i]
            n_seen = min(n_slots, max(slots_Q[i] - first, 0))
            total = _weigh(scores_QB[i], n_seen, scale, highest_Q[i : i + 1])
            factor = approximate_exp(highest - highest_Q[i])
            total_Q[i] = total_Q[i] * factor + total
            if factor != 1:
                for d in range(out_QW.shape[1]):
                    out_QW[i, d] *= factor
        _add_product(n_rows, scores_QB, v_BW, out_QW, n_slots)
    for i in range(n):
        for d in range(out_QW.shape[1]):
            out_QW[i, d] /= total_Q[i]


@njit(nogil=True, cache=True)
def _add_product(n_rows: int, a_QK: Any, b_KL: Any, c_QL: Any, n: int) -> None:
    """The first rows of c += a[:, :n] b[:n]."""
    for i in range(0, n_rows, _TILE):
        for j in range(0, c_QL.shape[1], _LANES):
            _add_tile(a_QK, i, b_KL, j, c_QL, n)


@njit(nogil=True, cache=True, fastmath=FAST)
def _read_block(
    first: int, n_slots: int, k_SD: Any, v_SD: Any, k_scale_S: Any, v_scale_S: Any, k_DB: Any,
    v_BW: Any,
) -> None:  # fmt: skip
    """Keys, turned, and values of some slots as float32, with the scales of bytes."""
    for s in range(n_slots):
        for d in range(k_SD.shape[1]):
            k_DB[d, s] = widen(k_SD[first + s, d])
    for s in range(n_slots):
        for d in range(v_SD.shape[1]):
            v_BW[s, d] = widen(v_SD[first + s, d])
    if k_scale_S.shape[0] == 0:
        return
    for d in range(k_SD.shape[1]):
        for s in range(n_slots):
            k_DB[d, s] *= k_scale_S[first + s]
    for s in range(n_slots):
        for d in range(v_SD.shape[1]):
            v_BW[s, d] *= v_scale_S[first + s]


@njit(nogil=True, cache=True, fastmath=FAST)
def _weigh(scores_B: Any, n_seen: int, scale: Any, highest_1: Any) -> Any:
    """exp(scale x score - the highest so far) in place, 0 for what is not seen; the sum."""
    for s in range(n_seen):
        scores_B[s] *= scale
    for s in range(n_seen, _BLOCK):
        scores_B[s] = _LOWEST
    highest = max(highest_1[0], _largest(scores_B))
    highest_1[0] = highest
    total = np.float32(0)
    for s in range(n_seen):
        scores_B[s] = approximate_exp(scores_B[s] - highest)
        total += scores_B[s]
    for s in range(n_seen, _BLOCK):
        scores_B[s] = np.float32(0)
    return total


@_intrinsic
def _largest(_context: Any, scores_B: Any) -> Any:
    """The largest of a block's numbers: written out, because LLVM takes them one by one, lest it
    miss a NaN (which the exponentials show as well)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = context.make_array(signature.args[0])(context, builder, args[0]).data
        parts = [_load(builder, base, i) for i in range(0, _BLOCK, _LANES)]
        width = _LANES
        while len(parts) > 1:
            parts = [_larger(builder, *pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
        found = parts[0]
        while width > 1:
            width //= 2
            kept = [[ir.Constant(_INT32, at + i) for i in range(width)] for at in (0, width)]
            kind = ir.VectorType(_INT32, width)
            halves = [
                builder.shuffle_vector(found, found, ir.Constant(kind, places)) for places in kept
            ]
            found = _larger(builder, *halves)
        return builder.extract_element(found, ir.Constant(_INT32, 0))

    return types.float32(scores_B), generate


def _load(builder: Any, base: Any, at: int) -> Any:
    place = builder.gep(base, [ir.Constant(_INT64, at)])
    return builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=4)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@_intrinsic
def _add_tile(
    _context: Any, a_QK: Any, _row: Any, b_KL: Any, _column: Any, c_QL: Any, _n: Any
) -> Any:
    """c[row : row + 6, column : column + 16] += a[row : row + 6, :n] b[:n, column : column + 16],
    all of it in registers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, c = (
            context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 4)
        )
        row, column, n = args[1], args[3], args[5]
        a_step, b_step, c_step = (_build.unpack_tuple(builder, m.shape)[1] for m in (a, b, c))
        rows = [builder.add(row, ir.Constant(_INT64, i)) for i in range(_TILE)]
        numbers = [builder.gep(a.data, [builder.mul(r, a_step)]) for r in rows]
        places = [builder.add(builder.mul(r, c_step), column) for r in rows]
        outs = [builder.bitcast(builder.gep(c.data, [at]), _VECTOR.as_pointer()) for at in places]
        totals = [_build.alloca_once_value(builder, builder.load(out, align=4)) for out in outs]
        with _build.for_range(builder, n) as loop:
            at = builder.add(builder.mul(loop.index, b_step), column)
            place = builder.bitcast(builder.gep(b.data, [at]), _VECTOR.as_pointer())
            lanes = builder.load(place, align=4)
            for number, total in zip(numbers, totals, strict=True):
                each = splat(builder, builder.load(builder.gep(number, [loop.index])))
                product = builder.fmul(each, lanes, flags=("contract",))
                more = builder.fadd(builder.load(total), product, flags=("contract",))
                builder.store(more, total)
        for out, total in zip(outs, totals, strict=True):
            builder.store(builder.load(total), out, align=4)
        return context.get_dummy_value()

    kinds = (a_QK, types.int64, b_KL, types.int64, c_QL, types.int64)
    return types.void(*kinds), generate
