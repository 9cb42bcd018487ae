"""The search for the scale of each block of weights, compiled: as llama.cpp chooses it.

Input: blocks of 16 or 32 numbers, each number with its weight in the error. Output: per block the
scale, what is taken off (the low, where the type has one), and the codes. Two searches:

    search_scale_and_low  x = scale * code - low, codes 0 to `levels`: Q4_K, Q5_K, Q4_1, Q5_1
    search_scale          x = scale * code, codes -`levels` to `levels` - 1: Q6_K, Q4_0, Q5_0

Both try a row of scales around the one that spans the block, round to codes, fit scale and low to
these codes by weighted least squares, and keep the best. The first has a trap: a better low is the
one from which the next try spans and rounds.

16 blocks go side by side through vector registers. So every sum runs over its block from front to
back, as in ggml, and the results are its own bit for bit; summing within a block would be no faster
and differ in every fortieth block.

Shapes: B blocks, N numbers of a block, S side by side. Not here: what a type's bytes are
(block_types.py).
"""

# ruff: noqa: ANN001, ANN202, PLR0913 -- the types inside compiled loops are numba's business
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_S = 16
_F = np.float32
_ZERO = _F(0)
_NOTHING = _F(1e-15)
"""A block or a row of scales whose largest number is below this is stored as zeros."""


def sum_rows(x_BN: Floats) -> Floats:
    """The sum of every row, added from front to back in fp32."""
    out_B = np.empty(len(x_BN), _F)
    _sum_rows(x_BN, out_B)
    return out_B


def search_scale_and_low(
    x_BN: Floats, weight_BN: Floats, levels: int, first: float, step: float, tries: int
) -> tuple[Floats, Floats, NDArray[np.uint8]]:
    """Scale [B], low [B] (at least 0) and codes [B, N] with x = scale * code - low.

    Tries scales of (levels + first + i * step) steps over the span of the block, i up to `tries`.
    """
    n_blocks, n_numbers = x_BN.shape
    scale_B, low_B = np.empty(n_blocks, _F), np.empty(n_blocks, _F)
    codes_BN = np.empty((n_blocks, n_numbers), np.uint8)
    _search_with_low(
        x_BN, weight_BN, _F(levels), _F(first), _F(step), tries, scale_B, low_B, codes_BN
    )
    return scale_B, low_B, codes_BN


def search_scale(x_BN: Floats, weight_BN: Floats, levels: int) -> tuple[Floats, NDArray[np.uint8]]:
    """Scale [B] (of either sign) and codes [B, N] with x = scale * (code - levels)."""
    n_blocks, n_numbers = x_BN.shape
    scale_B, codes_BN = np.empty(n_blocks, _F), np.empty((n_blocks, n_numbers), np.uint8)
    _search_without_low(x_BN, weight_BN, _F(levels), scale_B, codes_BN)
    return scale_B, codes_BN


def search_common_scale(
    x_BN: Floats, weight_BN: Floats, levels: int
) -> tuple[Floats, NDArray[np.uint8]]:
    """Scale [B] and codes [B, N] from 0 to `levels` of numbers that are all at least 0.

    Such are the scales, or the lows, of the blocks that share one number in a K-quant.
    """
    n_rows, n_numbers = x_BN.shape
    scale_B, codes_BN = np.empty(n_rows, _F), np.zeros((n_rows, n_numbers), np.uint8)
    _search_common(x_BN, weight_BN, _F(levels), scale_B, codes_BN)
    return scale_B, codes_BN


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_rows(x, out):
    for b in range(x.shape[0]):
        total = _ZERO
        for i in range(x.shape[1]):
            total += x[b, i]
        out[b] = total


class _Side(NamedTuple):
    """S blocks: x, weight and code are [N, S]; `known` is flat, S numbers from each place below."""

    x: Floats
    weight: Floats
    code: Floats
    known: Floats


_LOW = 0 * _S
_HIGH = 1 * _S
_SCALE = 2 * _S
_INVERSE = 3 * _S
_ERROR = 4 * _S
_SUM_W = 5 * _S
_SUM_X = 6 * _S
_SUM_C = 7 * _S
_SUM_CC = 8 * _S
_SUM_CX = 9 * _S
_BEST_INVERSE = 10 * _S
_BEST_LOW = 11 * _S
_FIT_SCALE = 12 * _S
_FIT_LOW = 13 * _S
_FIT_ERROR = 14 * _S
_END = 15 * _S


@njit(nogil=True, cache=True, error_model="numpy")
def _make_side(n_numbers):
    return _Side(
        np.zeros((n_numbers, _S), _F),
        np.zeros((n_numbers, _S), _F),
        np.zeros((n_numbers, _S), _F),
        np.zeros(_END, _F),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _take(side, x, weight, first):
    """The blocks from `first` on; what lies beyond the last repeats it."""
    for s in range(_S):
        b = min(first + s, x.shape[0] - 1)
        for i in range(x.shape[1]):
            side.x[i, s] = x[b, i]
            side.weight[i, s] = weight[b, i]


@njit(nogil=True, cache=True, error_model="numpy")
def _search_with_low(x, weight, levels, first, step, tries, scale, low, codes):
    side = _make_side(x.shape[1])
    known = side.known
    for begin in range(0, x.shape[0], _S):
        _take(side, x, weight, begin)
        _measure(side)
        _round_with_low(side, levels, levels)
        _keep_span(side)
        for i in range(tries + 1):
            _round_with_low(side, levels, first + step * _F(i) + levels)
            _keep_better_fit(side)
        for s in range(min(_S, x.shape[0] - begin)):
            flat = known[_HIGH + s] == known[_BEST_LOW + s]
            scale[begin + s] = _ZERO if flat else known[_SCALE + s]
            low[begin + s] = -known[_LOW + s]
            for i in range(x.shape[1]):
                code = np.rint(known[_BEST_INVERSE + s] * (side.x[i, s] - known[_BEST_LOW + s]))
                codes[begin + s, i] = _ZERO if flat else max(_ZERO, min(levels, code))


@njit(nogil=True, cache=True, error_model="numpy")
def _measure(side):
    """Lowest number (at most 0) and highest of every block, and the sums that need no codes."""
    x, weight, known = side.x, side.weight, side.known
    for s in range(_S):
        known[_LOW + s] = x[0, s]
        known[_HIGH + s] = x[0, s]
        known[_SUM_W + s] = weight[0, s]
        known[_SUM_X + s] = weight[0, s] * x[0, s]
    for i in range(1, x.shape[0]):
        for s in range(_S):
            known[_LOW + s] = min(known[_LOW + s], x[i, s])
            known[_HIGH + s] = max(known[_HIGH + s], x[i, s])
            known[_SUM_W + s] += weight[i, s]
            known[_SUM_X + s] += weight[i, s] * x[i, s]
    for s in range(_S):
        known[_LOW + s] = min(known[_LOW + s], _ZERO)


@njit(nogil=True, cache=True, error_model="numpy")
def _round_with_low(side, levels, steps):
    """Codes for `steps` steps over the span, and the sums that the fit needs."""
    known = side.known
    for s in range(_S):
        known[_INVERSE + s] = steps / (known[_HIGH + s] - known[_LOW + s])
        known[_SUM_C + s] = _ZERO
        known[_SUM_CC + s] = _ZERO
        known[_SUM_CX + s] = _ZERO
    for i in range(side.x.shape[0]):
        for s in range(_S):
            code = np.rint(known[_INVERSE + s] * (side.x[i, s] - known[_LOW + s]))
            code = max(_ZERO, min(levels, code))
            side.code[i, s] = code
            weighted = side.weight[i, s] * code
            known[_SUM_C + s] += weighted
            known[_SUM_CC + s] += weighted * code
            known[_SUM_CX + s] += weighted * side.x[i, s]


@njit(nogil=True, cache=True, error_model="numpy")
def _keep_span(side):
    """The scale that spans the block is the best so far."""
    known = side.known
    for s in range(_S):
        known[_SCALE + s] = _F(1) / known[_INVERSE + s]
        known[_BEST_INVERSE + s] = known[_INVERSE + s]
        known[_BEST_LOW + s] = known[_LOW + s]
        known[_ERROR + s] = _ZERO
    for i in range(side.x.shape[0]):
        for s in range(_S):
            miss = known[_SCALE + s] * side.code[i, s] + known[_LOW + s] - side.x[i, s]
            known[_ERROR + s] += side.weight[i, s] * (miss * miss)


@njit(nogil=True, cache=True, error_model="numpy")
def _keep_better_fit(side):
    """Fit scale and low to the codes; where the error falls, they are the best so far."""
    known = side.known
    for s in range(_S):
        c, cc, cx = known[_SUM_C + s], known[_SUM_CC + s], known[_SUM_CX + s]
        w, x = known[_SUM_W + s], known[_SUM_X + s]
        determinant = w * cc - c * c
        low = (cc * x - c * cx) / determinant
        scale = cx / cc if low > _ZERO else (w * cx - x * c) / determinant
        # NaN is never smaller than the best error.
        known[_FIT_SCALE + s] = scale if determinant > _ZERO else _F(np.nan)
        known[_FIT_LOW + s] = min(low, _ZERO)
        known[_FIT_ERROR + s] = _ZERO
    for i in range(side.x.shape[0]):
        for s in range(_S):
            fit = known[_FIT_SCALE + s] * side.code[i, s] + known[_FIT_LOW + s]
            miss = fit - side.x[i, s]
            known[_FIT_ERROR + s] += side.weight[i, s] * (miss * miss)
    for s in range(_S):
        if known[_FIT_ERROR + s] < known[_ERROR + s]:
            known[_ERROR + s] = known[_FIT_ERROR + s]
            known[_BEST_INVERSE + s] = known[_INVERSE + s]
            known[_BEST_LOW + s] = known[_LOW + s]
            known[_SCALE + s] = known[_FIT_SCALE + s]
            known[_LOW + s] = known[_FIT_LOW + s]


@njit(nogil=True, cache=True, error_model="numpy")
def _search_without_low(x, weight, levels, scale, codes):
    side = _make_side(x.shape[1])
    known = side.known
    peak = np.zeros(_S, _F)
    for begin in range(0, x.shape[0], _S):
        _take(side, x, weight, begin)
        _find_peaks(side, peak)
        _round_signed(side, peak, levels, levels)
        for s in range(_S):
            _keep_signed(side, s)
        for i in range(-9, 10):
            _round_signed(side, peak, levels, levels + _F(0.1) * _F(i))
            for s in range(_S):
                cx, cc = known[_SUM_CX + s], known[_SUM_CC + s]
                if i != 0 and cc > _ZERO and cx * cx > known[_ERROR + s] * cc:
                    _keep_signed(side, s)
        for s in range(min(_S, x.shape[0] - begin)):
            empty = abs(peak[s]) < _NOTHING
            scale[begin + s] = _ZERO if empty else known[_SCALE + s]
            for i in range(x.shape[1]):
                code = np.rint(known[_BEST_INVERSE + s] * side.x[i, s])
                code = max(-levels, min(levels - _F(1), code)) + levels
                codes[begin + s, i] = _ZERO if empty else code


@njit(nogil=True, cache=True, error_model="numpy")
def _find_peaks(side, peak):
    """The number of every block that is farthest from 0, with its sign."""
    for s in range(_S):
        peak[s] = _ZERO
    for i in range(side.x.shape[0]):
        for s in range(_S):
            x = side.x[i, s]
            peak[s] = x if abs(x) > abs(peak[s]) else peak[s]


@njit(nogil=True, cache=True, error_model="numpy")
def _round_signed(side, peak, levels, steps):
    """Codes for the peak at -`steps`, and their sums."""
    known = side.known
    for s in range(_S):
        known[_INVERSE + s] = -steps / peak[s]
        known[_SUM_CX + s] = _ZERO
        known[_SUM_CC + s] = _ZERO
    for i in range(side.x.shape[0]):
        for s in range(_S):
            code = np.rint(known[_INVERSE + s] * side.x[i, s])
            code = max(-levels, min(levels - _F(1), code))
            known[_SUM_CX + s] += side.weight[i, s] * side.x[i, s] * code
            known[_SUM_CC + s] += side.weight[i, s] * code * code


@njit(nogil=True, cache=True, error_model="numpy")
def _keep_signed(side, s):
    """The fit to the codes is the best so far; `error` holds what it takes off the error."""
    known = side.known
    cx, cc = known[_SUM_CX + s], known[_SUM_CC + s]
    known[_SCALE + s] = cx / cc if cc != _ZERO else _ZERO
    known[_ERROR + s] = known[_SCALE + s] * cx
    known[_BEST_INVERSE + s] = known[_INVERSE + s]


@njit(nogil=True, cache=True, error_model="numpy")
def _search_common(x, weight, levels, scale, codes):
    for b in range(x.shape[0]):
        peak = _ZERO
        for i in range(x.shape[1]):
            peak = max(peak, x[b, i])
        if peak < _NOTHING:
            scale[b] = _ZERO
            continue
        steps, best = levels, _error_common(x[b], weight[b], levels, levels, peak)
        for i in range(-4, 5):
            tried = _F(0.1) * _F(i) + levels
            error = _error_common(x[b], weight[b], levels, tried, peak)
            if i != 0 and error < best:
                steps, best = tried, error
        scale[b] = _polish_common(x[b], weight[b], levels, steps / peak, codes[b])


@njit(nogil=True, cache=True, error_model="numpy")
def _error_common(x, weight, levels, steps, peak):
    inverse = steps / peak
    scale, error = _F(1) / inverse, _ZERO
    for i in range(x.shape[0]):
        miss = x[i] - scale * min(levels, np.rint(inverse * x[i]))
        error += weight[i] * miss * miss
    return error


@njit(nogil=True, cache=True, error_model="numpy")
def _polish_common(x, weight, levels, inverse, codes):
    """Round, then move single codes while that lowers the error; returns the fitted scale."""
    cx, cc = _ZERO, _ZERO
    for i in range(x.shape[0]):
        code = max(_ZERO, min(levels, np.rint(inverse * x[i])))
        codes[i] = code
        cx += weight[i] * x[i] * code
        cc += weight[i] * code * code
    for _ in range(5):
        changed = False
        for i in range(x.shape[0]):
            code = _F(codes[i])
            other_cx = cx - weight[i] * x[i] * code
            other_cc = cc - weight[i] * code * code
            if other_cx > _ZERO and other_cc > _ZERO:
                moved = max(_ZERO, min(levels, np.rint(x[i] * other_cc / other_cx)))
                moved_cx = other_cx + weight[i] * x[i] * moved
                moved_cc = other_cc + weight[i] * moved * moved
                if moved != code and moved_cx * moved_cx * cc > cx * cx * moved_cc:
                    codes[i] = moved
                    cx, cc, changed = moved_cx, moved_cc, True
        if not changed:
            break
    return cx / cc if cc > _ZERO else _ZERO
