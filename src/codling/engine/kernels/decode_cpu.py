"""A few tokens through a dense model as one compiled loop for the CPU.

Input: weights (packed in 4 to 8 bits, float32, or bfloat16 bits), the cache, R tokens, each with
its cache row and position, and the places of W of them. Output: the logits of these. Tokens of one
row see each other in order, because all keys are written before any token looks back.

All threads run `decode` at once, each on its share of the rows of every matrix, and meet at
barriers; so a token costs little more than reading the weights once, where a call per operation
costs more than the arithmetic. decoder_cpu.py prepares and starts the threads.

Shapes: N layers, R tokens, E hidden size, H query heads, K kv heads, D head width, F MLP width,
V vocabulary, B rows of the cache, S slots, P scales of a token where the cache holds bytes (none
else), T threads. Not here: latent attention and experts (decode_experts.py).
Digest of what is compiled in from other files: 6fde571b6dbaf4bf.
"""

# ruff: noqa: ANN401, PLR0913 -- arrays of any number type; a kernel takes its parts one by one
# mypy: disable-error-code="untyped-decorator"

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types
from numba.np.numpy_support import carray

from codling.core.barrier import meet
from codling.engine.kernels.attention import (
    FAST,
    MOST,
    TOGETHER,
    add_products,
    approximate_exp,
    attend,
    attend_together,
)
from codling.model.packed.kernels import N_FACTORS, multiply, round_activations
from codling.model.packed.matrix import LANES
from codling.model.packed.tile_ir import GROUP

_intrinsic: Any = extending.intrinsic  # its stub demands the context argument of every caller
_INT32 = ir.IntType(32)
_FLOAT = ir.FloatType()
FLOAT32, BFLOAT16 = -1, -2
"""Forms of matrices that are not packed, beside those of model/packed/matrix.py."""
FEW = 8
"""So many tokens each thread rounds for itself, rather than wait for the others."""


@_intrinsic
def _to_stored(_context: Any, like: Any, value: Any) -> Any:
    """A float32 as the number type of the array `like`: itself, a whole number as int8, or rounded
    to bfloat16's bits."""
    kind = like.dtype

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        if kind == types.float32:
            return args[1]
        if kind == types.int8:
            return builder.fptosi(args[1], ir.IntType(8))
        bits = builder.bitcast(args[1], _INT32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_INT32, 16)), ir.Constant(_INT32, 1))
        rounded = builder.add(bits, builder.add(odd, ir.Constant(_INT32, 0x7FFF)))
        return builder.trunc(builder.lshr(rounded, ir.Constant(_INT32, 16)), ir.IntType(16))

    return kind(like, value), generate


@njit(nogil=True, cache=True, fastmath=FAST)
def normalise(x_RE: Any, weight_E: Any, eps: float, out_RE: Any) -> None:
    """RMSNorm of every token."""
    for r in range(x_RE.shape[0]):
        normalise_row(x_RE[r], weight_E, eps, out_RE[r])


@njit(nogil=True, cache=True, fastmath=FAST)
def normalise_row(x_E: Any, weight_E: Any, eps: float, out_E: Any) -> None:
    """RMSNorm; `out_E` may be `x_E`."""
    total = np.float32(0)
    for i in range(x_E.shape[0]):
        total += x_E[i] * x_E[i]
    factor = np.float32(1.0 / np.sqrt(total / np.float32(x_E.shape[0]) + np.float32(eps)))
    for i in range(x_E.shape[0]):
        out_E[i] = x_E[i] * factor * weight_E[i]


@njit(nogil=True, cache=True, fastmath=FAST)
def _rotate(x_D: Any, cos_P: Any, sin_P: Any) -> None:
    """RoPE in place, pairs (i, i + D/2)."""
    half = cos_P.shape[0]
    for i in range(half):
        a, b = x_D[i], x_D[i + half]
        x_D[i] = a * cos_P[i] - b * sin_P[i]
        x_D[i + half] = b * cos_P[i] + a * sin_P[i]


@njit(nogil=True, cache=True)
def store_row(slot_D: Any, x_D: Any, scale_1: Any) -> None:
    """Numbers into the cache; where it has room for a scale, as bytes under it, rounded as
    model/rounded_cache.py rounds them."""
    if scale_1.shape[0] == 0:
        for d in range(x_D.shape[0]):
            slot_D[d] = _to_stored(slot_D, x_D[d])
        return
    largest = np.float32(0)
    for d in range(x_D.shape[0]):
        largest = max(largest, np.abs(x_D[d]))
    scale = largest / np.float32(127)
    inverse = np.float32(1) / scale if scale > np.float32(1e-37) else np.float32(0)
    scale_1[0] = scale
    for d in range(x_D.shape[0]):
        slot_D[d] = _to_stored(slot_D, np.rint(x_D[d] * inverse))


@_intrinsic
def point_to(_context: Any, _address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), generate


@njit(nogil=True, cache=True)
def split_rows(n: int, unit: int, thread: int, n_threads: int) -> tuple[int, int]:
    """The part of 0 to n of one thread, in whole units but for the end."""
    units = (n + unit - 1) // unit
    first, last = units * thread // n_threads, units * (thread + 1) // n_threads
    return first * unit, min(last * unit, n)


@njit(nogil=True, cache=True)
def round_tokens(x_RM: Any, work: Any, shared: Any, thread: int, n_threads: int, sync: Any) -> Any:
    """Rounded activations: of few tokens in the thread's own memory, else all share the work."""
    n_tokens = x_RM.shape[0]
    n_groups = (x_RM.shape[1] + GROUP - 1) // GROUP
    alone = n_tokens <= FEW
    flat_bytes, flat_factors = (work[0], work[1]) if alone else (shared[0], shared[1])
    size, n_numbers = n_groups * GROUP, n_groups * N_FACTORS
    bytes_RM = flat_bytes[: n_tokens * size].reshape(n_tokens, size)
    factors_RF = flat_factors[: n_tokens * n_numbers].reshape(n_tokens, n_numbers)
    if alone:
        round_activations(x_RM, bytes_RM, factors_RF, n_groups)
    else:
        own = slice(n_tokens * thread // n_threads, n_tokens * (thread + 1) // n_threads)
        round_activations(x_RM[own], bytes_RM[own], factors_RF[own], n_groups)
        meet(sync, n_threads)
    return bytes_RM, factors_RF


@njit(nogil=True, cache=True, fastmath=FAST)
def _multiply_floats(w_NM: Any, first: int, last: int, x_RM: Any, out_RN: Any, adds: bool) -> None:
    for n in range(first, last):
        for r in range(x_RM.shape[0]):
            value = add_products(w_NM[n], x_RM[r])
            out_RN[r, n] = out_RN[r, n] + value if adds else value


@njit(nogil=True, cache=True)
def multiply_rows(
    entry: Any, share: Any, x_RM: Any, rounded: Any, tile: Any, out_RN: Any, adds: bool
) -> None:
    """out = x w^T, or += with `adds`, for the rows of w in `share`."""
    first, last = share
    if entry[0] >= 0:
        tiles = first // LANES, (last + LANES - 1) // LANES
        multiply(entry, tiles[0], tiles[1], rounded[0], rounded[1], tile, out_RN, adds)
    elif entry[0] == FLOAT32:
        w_NM = carray(point_to(entry[4]), (entry[1], entry[2]), np.float32)
        _multiply_floats(w_NM, first, last, x_RM, out_RN, adds)
    else:
        bits_NM = carray(point_to(entry[4]), (entry[1], entry[2]), np.uint16)
        _multiply_floats(bits_NM, first, last, x_RM, out_RN, adds)


@njit(nogil=True, cache=True, fastmath=FAST)
def _finish_heads(
    share: Any, layer: int, shape: Any, rows: Any, starts: Any, bias_NX: Any, norm_N2D: Any,
    rope: Any, cache: Any, qkv_RX: Any,
) -> None:  # fmt: skip
    """Bias, norm and rotation of the heads in `share`; keys and values go into the cache."""
    (cos_SP, sin_SP), (k_NBKSD, v_NBKSD, scale_NBSP) = rope, cache
    n_heads, n_kv, width, eps = shape
    for head in range(*share):
        for r in range(rows.shape[0]):
            x_D = qkv_RX[r, head * width : (head + 1) * width]
            for d in range(width):
                x_D[d] += bias_NX[layer, head * width + d]
            if head < n_heads + n_kv:
                if norm_N2D.shape[1]:
                    normalise_row(x_D, norm_N2D[layer, int(head >= n_heads)], eps, x_D)
                _rotate(x_D, cos_SP[starts[r]], sin_SP[starts[r]])
            if head < n_heads:
                continue
            if head < n_heads + n_kv:
                slot = k_NBKSD[layer, rows[r], head - n_heads, starts[r]]
            else:
                slot = v_NBKSD[layer, rows[r], head - n_heads - n_kv, starts[r]]
            place = head - n_heads
            store_row(slot, x_D, scale_NBSP[layer, rows[r], starts[r], place : place + 1])


@njit(nogil=True, cache=True)
def _project(
    share: Any, entries: Any, shape: Any, x_RE: Any, rounded: Any, tile: Any, qkv_RX: Any
) -> None:
    """The part of queries, keys and values that belongs to the heads in `share`."""
    n_heads, n_kv, width, _ = shape
    first = 0
    for i in range(3):
        n = n_heads if i == 0 else n_kv
        low, high = max(share[0] - first, 0), min(share[1] - first, n)
        if low < high:
            out = qkv_RX[:, first * width : (first + n) * width]
            multiply_rows(entries[i], (low * width, high * width), x_RE, rounded, tile, out, False)
        first += n


@njit(nogil=True, cache=True, fastmath=FAST)
def gate(share: Any, act_RF: Any, up_RF: Any) -> None:
    """silu(act) x up, into act."""
    for r in range(act_RF.shape[0]):
        for f in range(*share):
            g = act_RF[r, f]
            act_RF[r, f] = g * up_RF[r, f] / (np.float32(1) + approximate_exp(-g))


@njit(nogil=True, cache=True)
def _attend_run(
    first: int, end: int, kv: int, is_alone: bool, layer: int, heads: Any, scale: Any, step: Any,
    cache: Any, qkv_RX: Any, att_RX: Any, work: Any,
) -> None:  # fmt: skip
    """Queries that look at the same keys, the `first` to the `end` of all: each alone, or together;
    together they have the same bits in any company."""
    rows, starts = step[0], step[1]
    n_heads, n_kv, width, _ = heads
    scores, room = work
    n_sharing = n_heads // n_kv
    r = first % (rows.shape[0] * n_sharing) // n_sharing
    row = rows[r]
    k_SD, v_SD = cache[0][layer, row, kv], cache[1][layer, row, kv]
    k_scale_S, v_scale_S = cache[2][layer, row, :, kv], cache[2][layer, row, :, kv + n_kv]
    for start in range(first, end, MOST):
        n = min(end - start, MOST)
        for i in range(n):
            r, head = _place(start + i, kv, n_sharing, rows.shape[0])
            span, n_slots = slice(head * width, (head + 1) * width), starts[r] + 1
            if not is_alone:
                room[0][i], room[-1][i] = qkv_RX[r, span], n_slots
                continue
            scales = k_scale_S[:n_slots], v_scale_S[:n_slots]
            attend(
                qkv_RX[r, span], k_SD[:n_slots], v_SD[:n_slots], *scales, scale, scores,
                att_RX[r, span],
            )  # fmt: skip
        if is_alone:
            continue
        attend_together(n, k_SD, v_SD, k_scale_S, v_scale_S, scale, room)
        for i in range(n):
            r, head = _place(start + i, kv, n_sharing, rows.shape[0])
            att_RX[r, head * width : (head + 1) * width] = room[4][i, :width]


@njit(nogil=True, cache=True)
def _place(item: int, kv: int, n_sharing: int, n_rows: int) -> tuple[int, int]:
    """The token and the head of a query."""
    return item % (n_rows * n_sharing) // n_sharing, kv * n_sharing + item % n_sharing


@njit(nogil=True, cache=True)
def _attend_share(
    thread: int, n_threads: int, layer: int, heads: Any, scale: Any, step: Any, cache: Any,
    qkv_RX: Any, att_RX: Any, work: Any,
) -> None:  # fmt: skip
    """The attention of a thread's share of all queries, in the order of their keys, so that these
    lie in the processor's own cache; of a prompt those that look at the same keys together."""
    (rows, _, _, asked), (n_heads, n_kv, _, _) = step, heads
    n_sharing = n_heads // n_kv
    n_items = rows.shape[0] * n_sharing
    first, last = split_rows(n_items * n_kv, 1, thread, n_threads)
    while first < last:
        kv, r = first // n_items, first % n_items // n_sharing
        after = r + 1
        while after < rows.shape[0] and rows[after] == rows[r] and asked[after] == asked[r]:
            after += 1
        before = r
        while before > 0 and rows[before - 1] == rows[r] and asked[before - 1] == asked[r]:
            before -= 1
        # Tokens whose logits are asked for have the same bits with a draft as without.
        is_alone = asked[r] or (after - before) * n_sharing < TOGETHER
        end = min(last, kv * n_items + after * n_sharing)
        _attend_run(
            first, end, kv, is_alone, layer, heads, scale, step, cache, qkv_RX, att_RX, work
        )
        first = end


@njit(nogil=True, cache=True)
def attend_layer(
    thread: int, n_threads: int, sync: Any, layer: int, heads: Any, scale: Any, head_unit: int,
    step: Any, entries: Any, weights: Any, rope: Any, cache: Any, rooms: Any, work: Any,
    shared: Any,
) -> None:  # fmt: skip
    """x += attention(norm(x)) of one layer."""
    rows, starts = step[0], step[1]
    (bias_NX, norm_N2D), (norm_N2E, _) = weights
    x, h, qkv, att = rooms
    tile = work[4]
    n_heads, n_kv, _, eps = heads
    head_share = split_rows(n_heads + 2 * n_kv, head_unit, thread, n_threads)
    normalise(x, norm_N2E[layer, 0], eps, h)
    rounded = round_tokens(h, work, shared, thread, n_threads, sync)
    _project(head_share, entries, heads, h, rounded, tile, qkv)
    _finish_heads(head_share, layer, heads, rows, starts, bias_NX, norm_N2D, rope, cache, qkv)
    meet(sync, n_threads)
    _attend_share(thread, n_threads, layer, heads, scale, step, cache, qkv, att, work[3])
    meet(sync, n_threads)
    add_projection(thread, n_threads, sync, entries[3], att, x, work, shared)


@njit(nogil=True, cache=True)
def add_projection(
    thread: int, n_threads: int, sync: Any, entry: Any, in_RM: Any, x_RE: Any, work: Any,
    shared: Any,
) -> None:  # fmt: skip
    """x += in w^T: all threads share the rows of w, and meet."""
    rounded = round_tokens(in_RM, work, shared, thread, n_threads, sync)
    share = split_rows(x_RE.shape[1], LANES, thread, n_threads)
    multiply_rows(entry, share, in_RM, rounded, work[4], x_RE, True)
    meet(sync, n_threads)


@njit(nogil=True, cache=True)
def apply_mlp(
    thread: int, n_threads: int, sync: Any, entries: Any, h: Any, x: Any, act: Any, up: Any,
    work: Any, shared: Any,
) -> None:  # fmt: skip
    """x += the dense MLP of h."""
    share = split_rows(act.shape[1], LANES, thread, n_threads)
    rounded = round_tokens(h, work, shared, thread, n_threads, sync)
    multiply_rows(entries[4], share, h, rounded, work[4], act, False)
    multiply_rows(entries[5], share, h, rounded, work[4], up, False)
    gate(share, act, up)
    meet(sync, n_threads)
    add_projection(thread, n_threads, sync, entries[6], act, x, work, shared)


@njit(nogil=True, cache=True)
def write_logits(
    thread: int, n_threads: int, sync: Any, head: Any, wanted: Any, x_RE: Any, norm_E: Any,
    eps: float, h_RE: Any, work: Any, shared: Any, logits_WV: Any,
) -> None:  # fmt: skip
    """The scores of the tokens that are `wanted`; `h_RE` is the thread's own room."""
    n_wanted = wanted.shape[0]
    if n_wanted == 0:
        meet(sync, n_threads)
        return
    h_WE = h_RE[:n_wanted]
    for i in range(n_wanted):
        normalise_row(x_RE[wanted[i]], norm_E, eps, h_WE[i])
    rounded = round_tokens(h_WE, work, shared, thread, n_threads, sync)
    share = split_rows(head[1], LANES, thread, n_threads)
    multiply_rows(head, share, h_WE, rounded, work[4], logits_WV[:n_wanted], False)
    meet(sync, n_threads)


@njit(nogil=True, cache=True)
def decode(
    thread: int, n_threads: int, sync: Any, shape: Any, step: Any, entries_N7: Any, weights: Any,
    rope: Any, cache: Any, scratch: Any, works: Any, shared: Any, logits_WV: Any,
) -> None:  # fmt: skip
    """All of R tokens, whose embeddings are in x_RE, through the model; logits_WV then hold the
    scores of `wanted`. The matrices of a layer: q, k, v, o, gate, up, down; the head is one more
    row."""
    rows, wanted = step[0], step[2]
    _, (norm_N2E, norm_E) = weights
    x_RE, qkv_RX, att_RX, act_RF, up_RF = scratch
    work = works[thread]
    n_heads, n_kv, width, eps, scale, head_unit = shape
    n_rows, n_layers = rows.shape[0], entries_N7.shape[0] - 1
    x, att, act, up = x_RE[:n_rows], att_RX[:n_rows], act_RF[:n_rows], up_RF[:n_rows]
    h = work[2][: n_rows * x.shape[1]].reshape(n_rows, x.shape[1])
    heads = (n_heads, n_kv, width, eps)
    for layer in range(n_layers):
        entries = entries_N7[layer]
        attend_layer(
            thread, n_threads, sync, layer, heads, scale, head_unit, step, entries,
            weights, rope, cache, (x, h, qkv_RX[:n_rows], att), work, shared,
        )  # fmt: skip
        normalise(x, norm_N2E[layer, 1], eps, h)
        apply_mlp(thread, n_threads, sync, entries, h, x, act, up, work, shared)
    write_logits(
        thread, n_threads, sync, entries_N7[n_layers, 0], wanted, x, norm_E, eps, h, work, shared,
        logits_WV,
    )  # fmt: skip
