"""A few tokens through a model with latent attention or experts as one compiled loop for the CPU.

The loop of decode_cpu.py for the other architectures. Latent attention is computed in its absorbed
form (model/mla.py): queries move into the latent space, and the cached latents are keys and values
of all heads. Of experts the tokens that chose one are multiplied with it together; a token's sum
has the same order in any company.

Shapes: as in decode_cpu.py, and C latent width, J width of compressed queries, A width of a query's
part without positions, U of its rotated part, V of a head's values, X experts, K experts per token,
I items (a token and one of its experts), sorted by expert. Not here: prompts (model/), threads.
Digest of what is compiled in from other files: c92e3f814c998480.
"""

# ruff: noqa: ANN401, PLR0913 -- arrays of any number type; a kernel takes its parts one by one
# mypy: disable-error-code="untyped-decorator"

from typing import Any

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from codling.core.barrier import meet
from codling.engine.kernels.attention import (
    FAST,
    add_products,
    approximate_exp,
    mix,
    soften,
    widen,
)
from codling.engine.kernels.decode_cpu import (
    FEW,
    FLOAT32,
    add_projection,
    apply_mlp,
    attend_layer,
    gate,
    multiply_rows,
    normalise,
    normalise_row,
    point_to,
    round_tokens,
    split_rows,
    store_row,
    write_logits,
)
from codling.model.packed.matrix import LANES

_LATENT_EPS = 1e-6
"""As in model/mla.py."""
_LEAST = np.float32(-1e9)
"""Below every affinity with its bias."""


@njit(nogil=True, cache=True, fastmath=FAST)
def _rotate_interleaved(x_U: Any, cos_P: Any, sin_P: Any) -> None:
    """RoPE in place, pairs (2i, 2i + 1)."""
    for i in range(cos_P.shape[0]):
        a, b = x_U[2 * i], x_U[2 * i + 1]
        x_U[2 * i] = a * cos_P[i] - b * sin_P[i]
        x_U[2 * i + 1] = b * cos_P[i] + a * sin_P[i]


@njit(nogil=True, cache=True, fastmath=FAST)
def _absorb(q_A: Any, w_AC: Any, out_C: Any) -> None:
    """A head's query in the latent space: w^T q."""
    out_C[:] = np.float32(0)
    for a in range(q_A.shape[0]):
        for c in range(out_C.shape[0]):
            out_C[c] += q_A[a] * widen(w_AC[a, c])


@njit(nogil=True, cache=True, fastmath=FAST)
def _attend_latents(q_D: Any, latents_SD: Any, scale_SP: Any, split: int, scores_S: Any) -> None:
    """Products of a query with all latents and rotated keys, which have a scale each as bytes."""
    if scale_SP.shape[0] == 0:
        for s in range(latents_SD.shape[0]):
            scores_S[s] = add_products(latents_SD[s], q_D)
        return
    for s in range(latents_SD.shape[0]):
        low = add_products(latents_SD[s, :split], q_D[:split])
        high = add_products(latents_SD[s, split:], q_D[split:])
        scores_S[s] = low * scale_SP[s, 0] + high * scale_SP[s, 1]


@njit(nogil=True, cache=True)
def _attend_head(
    q_D: Any, w_BC: Any, sizes: Any, latents_SD: Any, scale_SP: Any, scale: Any, work: Any,
    out_V: Any,
) -> None:  # fmt: skip
    """Attention of one head for one token. `w_BC` are the head's rows of kv_b: A for keys, then V
    for values."""
    n_plain, n_latent = sizes[1], sizes[4]
    scores_S, latent_D = work[3][0][: latents_SD.shape[0]], work[5]
    _absorb(q_D[:n_plain], w_BC[:n_plain], latent_D[:n_latent])
    for i in range(sizes[2]):
        latent_D[n_latent + i] = q_D[n_plain + i]
    _attend_latents(latent_D, latents_SD, scale_SP, n_latent, scores_S)
    soften(scores_S, scale_SP[:0, 0], scale)
    mix(scores_S, latents_SD, scale_SP[:, 0], latent_D[:n_latent])
    for v in range(out_V.shape[0]):
        out_V[v] = add_products(w_BC[n_plain + v], latent_D[:n_latent])


@njit(nogil=True, cache=True)
def _attend_item(
    entry: Any, head: int, q_D: Any, sizes: Any, latents_SD: Any, scale_SP: Any, scale: Any,
    work: Any, out_V: Any,
) -> None:  # fmt: skip
    """The same, with the head's rows found in kv_b."""
    n_rows = sizes[1] + sizes[3]
    span = slice(head * n_rows, (head + 1) * n_rows)
    if entry[0] == FLOAT32:
        w_NC = carray(point_to(entry[4]), (entry[1], entry[2]), np.float32)
        _attend_head(q_D, w_NC[span], sizes, latents_SD, scale_SP, scale, work, out_V)
    else:
        bits_NC = carray(point_to(entry[4]), (entry[1], entry[2]), np.uint16)
        _attend_head(q_D, bits_NC[span], sizes, latents_SD, scale_SP, scale, work, out_V)


@njit(nogil=True, cache=True)
def _store_latents(
    share: Any, layer: int, sizes: Any, step: Any, norm_C: Any, rope: Any, cache: Any, kv_RD: Any
) -> None:
    """The latents and rotated keys of the tokens in `share` go into the cache."""
    n_latent = sizes[4]
    for r in range(*share):
        row, at = step[0][r], step[1][r]
        c, k = kv_RD[r, :n_latent], kv_RD[r, n_latent:]
        normalise_row(c, norm_C, _LATENT_EPS, c)
        _rotate_interleaved(k, rope[0][at], rope[1][at])
        slot_D, scale_P = cache[0][layer, row, 0, at], cache[2][layer, row, at]
        store_row(slot_D[:n_latent], c, scale_P[:1])
        store_row(slot_D[n_latent:], k, scale_P[1:])


@njit(nogil=True, cache=True)
def _attend_latent_layer(
    thread: int, n_threads: int, sync: Any, layer: int, sizes: Any, eps: float, scale: Any,
    step: Any, entries: Any, norms: Any, rope: Any, cache: Any, rooms: Any, work: Any, shared: Any,
) -> None:  # fmt: skip
    """x += latent attention(norm(x)) of one layer. Matrices: queries, or their compression; its
    expansion, if it is compressed; latents; output; and, the last, kv_b."""
    rows, starts = step[0], step[1]
    norm_N2E, norm_NJ, norm_NC = norms
    x, h, q_RX, att, kv_RD, compressed_RJ = rooms
    n_heads, n_plain, n_turned, n_value, _, n_compressed = sizes
    tile, n_tokens = work[4], rows.shape[0]
    normalise(x, norm_N2E[layer, 0], eps, h)
    rounded = round_tokens(h, work, shared, thread, n_threads, sync)
    first = compressed_RJ if n_compressed else q_RX
    q_share = split_rows(entries[0, 1], LANES, thread, n_threads)
    multiply_rows(entries[0], q_share, h, rounded, tile, first, False)
    kv_share = split_rows(kv_RD.shape[1], LANES, thread, n_threads)
    multiply_rows(entries[2], kv_share, h, rounded, tile, kv_RD, False)
    meet(sync, n_threads)
    own = split_rows(n_tokens, 1, thread, n_threads)
    _store_latents(own, layer, sizes, step, norm_NC[layer], rope, cache, kv_RD)
    if n_compressed:
        normed_RJ = work[6][: n_tokens * n_compressed].reshape(n_tokens, n_compressed)
        normalise(compressed_RJ, norm_NJ[layer], _LATENT_EPS, normed_RJ)
        rounded = round_tokens(normed_RJ, work, shared, thread, n_threads, sync)
        q_share = split_rows(entries[1, 1], LANES, thread, n_threads)
        multiply_rows(entries[1], q_share, normed_RJ, rounded, tile, q_RX, False)
    meet(sync, n_threads)
    width = n_plain + n_turned
    for item in range(*split_rows(n_tokens * n_heads, 1, thread, n_threads)):
        r, head = item // n_heads, item % n_heads
        q_D = q_RX[r, head * width : (head + 1) * width]
        _rotate_interleaved(q_D[n_plain:], rope[0][starts[r]], rope[1][starts[r]])
        latents_SD = cache[0][layer, rows[r], 0, : starts[r] + 1]
        scale_SP = cache[2][layer, rows[r], : starts[r] + 1]
        out_V = att[r, head * n_value : (head + 1) * n_value]
        _attend_item(entries[7], head, q_D, sizes, latents_SD, scale_SP, scale, work, out_V)
    meet(sync, n_threads)
    add_projection(thread, n_threads, sync, entries[3], att, x, work, shared)


@njit(nogil=True, cache=True)
def _choose_experts(
    scores_X: Any, bias_X: Any, moe: Any, eligible_X: Any, experts_K: Any, weights_K: Any
) -> None:
    """As model/moe.py routes one token, whose logits become its scores."""
    n_experts, n_chosen, n_group, topk_group, is_biased, is_normed, factor = moe
    highest = scores_X.max()
    total = np.float32(0)
    for n in range(n_experts):
        scores_X[n] = approximate_exp(scores_X[n] - highest)
        total += scores_X[n]
    for n in range(n_experts):
        scores_X[n] /= total
        eligible_X[n] = scores_X[n] + bias_X[n] if is_biased else scores_X[n]
    if n_group:
        _keep_best_groups(eligible_X, n_group, topk_group)
    total = np.float32(0)
    for k in range(n_chosen):
        best = eligible_X.argmax()
        experts_K[k], weights_K[k] = best, scores_X[best]
        eligible_X[best] = np.float32(2) * _LEAST
        total += scores_X[best]
    for k in range(n_chosen):
        if is_normed and n_chosen > 1:
            weights_K[k] /= total + np.float32(1e-20)
        else:
            weights_K[k] *= factor


@njit(nogil=True, cache=True)
def _keep_best_groups(eligible_X: Any, n_group: int, topk_group: int) -> None:
    """Experts of all but the groups whose best are the best are out of reach."""
    size = eligible_X.shape[0] // n_group
    for _ in range(n_group - topk_group):
        worst, lowest = -1, np.float32(3e38)
        for g in range(n_group):
            top = eligible_X[g * size : (g + 1) * size].max()
            if _LEAST < top <= lowest:
                worst, lowest = g, top
        if worst >= 0:
            eligible_X[worst * size : (worst + 1) * size] = _LEAST


@njit(nogil=True, cache=True)
def _sort_items(n_tokens: int, experts_RK: Any, n_experts: int, items_I3: Any) -> int:
    """Token, place among its experts, and expert of each item, by expert; gives their number."""
    n = 0
    for expert in range(n_experts):
        for r in range(n_tokens):
            for k in range(experts_RK.shape[1]):
                if experts_RK[r, k] == expert:
                    items_I3[n, 0], items_I3[n, 1], items_I3[n, 2] = r, k, expert
                    n += 1
    return n


@njit(nogil=True, cache=True)
def _end_of_run(items_I3: Any, first: int, n_items: int) -> int:
    last = first + 1
    while last < n_items and items_I3[last, 2] == items_I3[first, 2]:
        last += 1
    return last


@njit(nogil=True, cache=True)
def _raise_items(
    experts_X3: Any, items_I3: Any, n_items: int, share: Any, h_RE: Any, rounded: Any, tile: Any,
    room: Any, act_IF: Any, up_IF: Any,
) -> None:  # fmt: skip
    """Gate and up of every item's expert, in `share` of their rows."""
    bytes_RM, factors_RF = rounded
    h_room, bytes_room, factors_room = room
    first = 0
    while first < n_items:
        last = _end_of_run(items_I3, first, n_items)
        n, expert = last - first, items_I3[first, 2]
        x = h_room[: n * h_RE.shape[1]].reshape(n, h_RE.shape[1])
        bytes_nM = bytes_room[: n * bytes_RM.shape[1]].reshape(n, bytes_RM.shape[1])
        factors_nF = factors_room[: n * factors_RF.shape[1]].reshape(n, factors_RF.shape[1])
        for i in range(n):
            r = items_I3[first + i, 0]
            x[i], bytes_nM[i], factors_nF[i] = h_RE[r], bytes_RM[r], factors_RF[r]
        some = (bytes_nM, factors_nF)
        multiply_rows(experts_X3[expert, 0], share, x, some, tile, act_IF[first:last], False)
        multiply_rows(experts_X3[expert, 1], share, x, some, tile, up_IF[first:last], False)
        first = last
    gate(share, act_IF[:n_items], up_IF[:n_items])


@njit(nogil=True, cache=True)
def _lower_items(
    experts_X3: Any, items_I3: Any, n_items: int, weights_RK: Any, share: Any, act_IF: Any,
    rounded: Any, tile: Any, out_IE: Any, x_RE: Any,
) -> None:  # fmt: skip
    """Down of every item's expert, times its weight, is added to its token."""
    first = 0
    while first < n_items:
        last = _end_of_run(items_I3, first, n_items)
        expert = items_I3[first, 2]
        some = (rounded[0][first:last], rounded[1][first:last])
        out = out_IE[first:last]
        multiply_rows(experts_X3[expert, 2], share, act_IF[first:last], some, tile, out, False)
        for i in range(first, last):
            r, weight = items_I3[i, 0], weights_RK[items_I3[i, 0], items_I3[i, 1]]
            for e in range(*share):
                x_RE[r, e] += weight * out_IE[i, e]
        first = last


@njit(nogil=True, cache=True)
def _mix_experts(
    thread: int, n_threads: int, sync: Any, moe: Any, router: Any, experts_X3: Any, entries: Any,
    h: Any, x: Any, rooms: Any, work: Any, shared: Any,
) -> None:  # fmt: skip
    """x += experts(h) of one layer; the three matrices of the shared experts are in `entries`,
    where there are any."""
    scores_RX, act_IF, up_IF, out_IE, act_RF, up_RF = rooms
    router_XE, bias_X = router
    n_tokens, tile = h.shape[0], work[4]
    for n in range(*split_rows(moe[0], 1, thread, n_threads)):
        for r in range(n_tokens):
            scores_RX[r, n] = add_products(router_XE[n], h[r])
    rounded = round_tokens(h, work, shared, thread, n_threads, sync)
    meet(sync, n_threads)
    own_RX, experts_RK, weights_RK, items_I3 = work[7], work[8], work[9], work[10]
    for r in range(n_tokens):
        own_RX[0, :] = scores_RX[r]
        _choose_experts(own_RX[0], bias_X, moe, own_RX[1], experts_RK[r], weights_RK[r])
    n_items = _sort_items(n_tokens, experts_RK, moe[0], items_I3)
    f_share = split_rows(act_IF.shape[1], LANES, thread, n_threads)
    _raise_items(experts_X3, items_I3, n_items, f_share, h, rounded, tile, work[11], act_IF, up_IF)
    if act_RF.shape[1]:
        s_share = split_rows(act_RF.shape[1], LANES, thread, n_threads)
        multiply_rows(entries[4], s_share, h, rounded, tile, act_RF, False)
        multiply_rows(entries[5], s_share, h, rounded, tile, up_RF, False)
        gate(s_share, act_RF, up_RF)
    meet(sync, n_threads)
    e_share = split_rows(x.shape[1], LANES, thread, n_threads)
    raised_IF = act_IF[:n_items]
    rounded = round_tokens(raised_IF, work, shared, thread, n_threads, sync)
    _lower_items(
        experts_X3, items_I3, n_items, weights_RK, e_share, raised_IF, rounded, tile, out_IE, x
    )
    if act_RF.shape[1]:
        if n_items > FEW:
            meet(sync, n_threads)  # the bytes of the items are written over
        add_projection(thread, n_threads, sync, entries[6], act_RF, x, work, shared)
    else:
        meet(sync, n_threads)


@njit(nogil=True, cache=True)
def decode_experts(
    thread: int, n_threads: int, sync: Any, shape: Any, step: Any, tables: Any, weights: Any,
    rope: Any, cache: Any, scratch: Any, works: Any, shared: Any, logits_WV: Any,
) -> None:  # fmt: skip
    """As decode_cpu.decode. The matrices of a layer are q, k, v, o or those of latent attention,
    then gate, up, down of the dense MLP or of the shared experts, and kv_b; those of experts stand
    in a table of their own."""
    rows, wanted = step[0], step[2]
    entries_N8, experts_NX3, is_moe_N = tables
    of_heads, (norm_N2E, norm_E), latent_norms, (router_NXE, bias_NX) = weights
    heads, sizes, moe, (scale, head_unit, is_latent) = shape
    work, eps = works[thread], heads[3]
    n, n_layers = rows.shape[0], entries_N8.shape[0] - 1
    x, qkv, att, kv = scratch[0][:n], scratch[1][:n], scratch[2][:n], scratch[3][:n]
    compressed, act, up = scratch[4][:n], scratch[5][:n], scratch[6][:n]
    rooms = (scratch[7], scratch[8], scratch[9], scratch[10], scratch[11][:n], scratch[12][:n])
    h = work[2][: n * x.shape[1]].reshape(n, x.shape[1])
    for layer in range(n_layers):
        entries = entries_N8[layer]
        if is_latent:
            norms = (norm_N2E, latent_norms[0], latent_norms[1])
            _attend_latent_layer(
                thread, n_threads, sync, layer, sizes, eps, scale, step, entries, norms, rope,
                cache, (x, h, qkv, att, kv, compressed), work, shared,
            )  # fmt: skip
        else:
            attend_layer(
                thread, n_threads, sync, layer, heads, scale, head_unit, step, entries,
                (of_heads, (norm_N2E, norm_E)), rope, cache, (x, h, qkv, att), work, shared,
            )  # fmt: skip
        normalise(x, norm_N2E[layer, 1], eps, h)
        if is_moe_N[layer]:
            router = (router_NXE[layer], bias_NX[layer])
            _mix_experts(
                thread, n_threads, sync, moe, router, experts_NX3[layer], entries, h, x, rooms,
                work, shared,
            )  # fmt: skip
        else:
            apply_mlp(thread, n_threads, sync, entries, h, x, act, up, work, shared)
    write_logits(
        thread, n_threads, sync, entries_N8[n_layers, 0], wanted, x, norm_E, eps, h, work, shared,
        logits_WV,
    )  # fmt: skip
