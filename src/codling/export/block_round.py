"""Blocks of 32 weights in ggml's oldest types, rounded and packed, compiled.

Input: blocks of fp32. Output: scales, lows and the bytes of the codes, with ggml's arithmetic step
by step, so that the bytes are equal. One call computes on one thread and lets others run.

    Q4_0, Q5_0   scale = the number of largest size / -8 (-16), codes 0 to 15 (31) around the middle
    Q4_1, Q5_1   low = the least number, scale = span / 15 (31)
    Q8_0         scale = largest size / 127, codes -127 to 127

Of the first four, codes i and i + 16 share a byte; where codes have five bits, the fifth ones lie
before, in four bytes. What makes the loops fast, each seen in the machine code:

- The ends of a block are found among integers: a float's bits, turned round where it is negative,
  have the order of the numbers, with NaN and infinity outermost. The compiler finds the largest of
  integers in vector registers; that of floats, where NaN has no order, it does not.
- A loop over the numbers of a block has its length as an argument: a length known in advance is
  unrolled into single numbers.
- `_CHUNK` blocks stay in the first cache from step to step.

Shapes: B blocks, N = 32 numbers of a block, W bytes of a block. Not here: the search for better
scales (block_search.py), the types and their heads (block_types.py).
"""

# ruff: noqa: ANN001, ANN202, PLR0913 -- the types inside compiled loops are numba's business
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
_F = np.float32
_I = np.int32
_U = np.uint8
_CHUNK = 64
_PAIRS = 16
_INFINITE = _I(0x7F800000)
"""The bits of infinity; those of NaN are larger."""
_ALL_BUT_SIGN = _I(0x7FFFFFFF)
_LEAST_SCALE = _F(2.0**-127)
_ALMOST_HALF = np.nextafter(_F(0.5), _F(0))
"""Half itself would lift 0.49999997 to 1."""
_LEAST_NORMAL = _I((127 - 14) << 23)
"""The bits of the least number that f16 holds with its full precision."""
_REBIAS = _I((127 - 15) << 23)
"""What the bits of an f32 have more than those of the same f16, before they are shortened."""
_FIFTHS = (np.uint32(1) << np.arange(32, dtype=np.uint32)).view(_I)
"""Number i has bit i."""


def round_around_middle(
    x_BN: Floats, half: int, out_BW: Bytes, at: int
) -> tuple[Floats, ...] | None:
    """The scales [B]; codes from 0 to 2 * half - 1 go to `out_BW` from byte `at` on.

    None if a number is NaN or infinite.
    """
    scale_B = np.empty(len(x_BN), _F)
    top = _I(2 * half - 1)
    finite = _around_middle(x_BN, x_BN.view(_I), _F(half), top, scale_B, out_BW, at, _PAIRS)
    return (scale_B,) if finite else None


def round_above_low(x_BN: Floats, levels: int, out_BW: Bytes, at: int) -> tuple[Floats, ...] | None:
    """The scales and the lows [B]; codes from 0 to `levels` go to `out_BW` from byte `at` on.

    None if a number is NaN or infinite.
    """
    scale_B, low_B = np.empty(len(x_BN), _F), np.empty(len(x_BN), _F)
    top = _I(levels)
    finite = _above_low(x_BN, x_BN.view(_I), top, scale_B, low_B, out_BW, at, _PAIRS)
    return (scale_B, low_B) if finite else None


def store_codes(codes_BN: Bytes, levels: int, out_BW: Bytes, at: int) -> None:
    """The codes, from 0 to `levels`, go to `out_BW` from byte `at` on, as if they were rounded."""
    one_B, zero_B = np.ones(len(codes_BN), _F), np.zeros(len(codes_BN), _F)
    x_BN = codes_BN.astype(_F)
    _store_codes(x_BN, one_B, zero_B, _F(0.5), _I(levels), out_BW, at, _PAIRS)


def round_to_bytes(x_BN: Floats, out_BW: Bytes, at: int) -> tuple[Floats, ...] | None:
    """The scales [B]; codes from -127 to 127 go to `out_BW` from byte `at` on.

    None if a number is NaN or infinite.
    """
    scale_B = np.empty(len(x_BN), _F)
    finite = _to_bytes(x_BN, x_BN.view(_I), scale_B, out_BW, at, 2 * _PAIRS)
    return (scale_B,) if finite else None


def store_halves(values_B: Floats, out_BW: Bytes, at: int) -> bool:
    """Finite numbers as f16, to the nearest (of two, the even) as bytes `at` and `at` + 1.

    False if one is too large for f16.
    """
    return bool(_store_halves(values_B, values_B.view(_I), out_BW, at))


@njit(nogil=True, cache=True, error_model="numpy")
def _around_middle(x, bits, half, top, scale, out, at, n_pairs) -> bool:
    least, most = np.empty(_CHUNK, _F), np.empty(_CHUNK, _F)
    middle = np.zeros(_CHUNK, _F)
    for first in range(0, len(x), _CHUNK):
        last = min(first + _CHUNK, len(x))
        if not _find_ends(bits[first:last], least.view(_I), most.view(_I)):
            return False
        _scale_to_peak(x[first:last], least, most, half, scale[first:last])
        _store_codes(
            x[first:last], scale[first:last], middle, half + _F(0.5), top,
            out[first:last], at, n_pairs,
        )  # fmt: skip
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _above_low(x, bits, top, scale, low, out, at, n_pairs) -> bool:
    least, most = np.empty(_CHUNK, _F), np.empty(_CHUNK, _F)
    for first in range(0, len(x), _CHUNK):
        last = min(first + _CHUNK, len(x))
        if not _find_ends(bits[first:last], least.view(_I), most.view(_I)):
            return False
        _scale_to_span(x[first:last], least, most, _F(top), scale[first:last], low[first:last])
        _store_codes(
            x[first:last], scale[first:last], low[first:last], _F(0.5), top,
            out[first:last], at, n_pairs,
        )  # fmt: skip
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _find_ends(bits, least, most) -> bool:
    """The bits of each block's least and largest number; False if one is NaN or infinite."""
    for b in range(len(bits)):
        low, high = _ALL_BUT_SIGN, ~_ALL_BUT_SIGN
        for i in range(bits.shape[1]):
            key = _turn(bits[b, i])
            low, high = min(low, key), max(high, key)
        if max(high, ~low) >= _INFINITE:
            return False
        least[b], most[b] = _turn(low), _turn(high)
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _turn(bits):
    """Bits of a float to an integer of the same order, and back."""
    return _I(bits ^ _I(_I(bits >> _I(31)) & _ALL_BUT_SIGN))


@njit(nogil=True, cache=True, error_model="numpy")
def _scale_to_peak(x, least, most, half, scale) -> None:
    """The number of largest size becomes -half; of two such numbers, the first."""
    for b in range(len(x)):
        size = max(-least[b], most[b])
        peak = most[b] if most[b] == size else least[b]
        if -least[b] == most[b]:
            peak = abs(size)
            for value in x[b]:
                if abs(value) == size and size > 0:
                    peak = value
                    break
        scale[b] = peak / -half


@njit(nogil=True, cache=True, error_model="numpy")
def _scale_to_span(x, least, most, levels, scale, low) -> None:
    """The least number becomes 0, the largest `levels`; a least of 0 has the first zero's sign."""
    for b in range(len(x)):
        low[b] = least[b]
        scale[b] = (most[b] - least[b]) / levels
        if least[b] == 0:
            for value in x[b]:
                if value == 0:
                    low[b] = value
                    break


@njit(nogil=True, cache=True, error_model="numpy")
def _store_codes(x, scale, low, offset, top, out, at, n_pairs) -> None:
    if top > 15:
        _store_fifths(x, scale, low, offset, top, out, at, 2 * n_pairs)
        at += 4
    _store_pairs(x, scale, low, offset, top, out, at, n_pairs)


@njit(nogil=True, cache=True, error_model="numpy")
def _store_pairs(x, scale, low, offset, top, out, at, n_pairs) -> None:
    """The codes (x - low) / scale + offset, whole, from 0 to `top`: four bits of each."""
    for b in range(len(x)):
        inverse = _invert(scale[b])
        least, first, second, pairs = low[b], x[b, :n_pairs], x[b, n_pairs:], out[b, at:]
        for i in range(n_pairs):
            one = _limit((first[i] - least) * inverse + offset, top)
            other = _limit((second[i] - least) * inverse + offset, top)
            pairs[i] = _U(one & _I(15) | other << _I(4))


@njit(nogil=True, cache=True, error_model="numpy")
def _store_fifths(x, scale, low, offset, top, out, at, n_numbers) -> None:
    """The fifth bits of the same codes, computed again: that is less work than keeping them."""
    for b in range(len(x)):
        inverse = _invert(scale[b])
        least, block, bits = low[b], x[b], _I(0)
        for i in range(n_numbers):
            fifth = _limit((block[i] - least) * inverse + offset, top) > _I(15)
            bits = _I(bits | (_FIFTHS[i] if fifth else _I(0)))
        four = out[b, at : at + 4]
        for i in range(4):
            four[i] = _U(bits >> _I(8 * i))


@njit(nogil=True, cache=True, error_model="numpy")
def _invert(scale):
    """1 / scale; 0 where that is infinite: such a scale is 0 in f16, and so are its numbers."""
    return _F(0) if abs(scale) < _LEAST_SCALE else _F(1) / scale


@njit(nogil=True, cache=True, error_model="numpy")
def _limit(code, top):
    return min(max(_I(code), _I(0)), top)


@njit(nogil=True, cache=True, error_model="numpy")
def _to_bytes(x, bits, scale, out, at, n_numbers) -> bool:
    least, most = np.empty(_CHUNK, _F), np.empty(_CHUNK, _F)
    for first in range(0, len(x), _CHUNK):
        last = min(first + _CHUNK, len(x))
        if not _find_ends(bits[first:last], least.view(_I), most.view(_I)):
            return False
        for b in range(last - first):
            scale[first + b] = abs(max(-least[b], most[b])) / _F(127)
        _store_bytes(x[first:last], scale[first:last], out[first:last], at, n_numbers)
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _store_bytes(x, scale, out, at, n_numbers) -> None:
    """The codes x / scale; halves go away from zero, as C's roundf has it."""
    for b in range(len(x)):
        inverse = _invert(scale[b])
        block, codes = x[b], out[b, at:]
        for i in range(n_numbers):
            code = block[i] * inverse
            codes[i] = _U(_I(code + (_ALMOST_HALF if code > 0 else -_ALMOST_HALF)))


@njit(nogil=True, cache=True, error_model="numpy")
def _store_halves(values, bits, out, at) -> bool:
    largest = _I(0)
    for b in range(len(values)):
        size = _I(bits[b] & _ALL_BUT_SIGN)
        rounded = _I(size - _REBIAS + _I(0xFFF) + _I(_I(size >> _I(13)) & _I(1)))
        half = _I(rounded >> _I(13))
        if size < _LEAST_NORMAL:
            half = _I(np.rint(abs(values[b]) * _F(1 << 24)))
        largest = max(largest, half)
        out[b, at] = _U(half)
        out[b, at + 1] = _U(_I(half >> _I(8)) | (_I(0x80) if bits[b] < 0 else _I(0)))
    return bool(largest < 0x7C00)
