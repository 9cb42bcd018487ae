"""Blocks of 32 weights in ggml's oldest types, rounded as they are, compiled.

Input: blocks of fp32. Output: scales, lows and codes, with ggml's arithmetic step by step, so that
the bytes are equal. One call computes on one thread and lets others run.

    Q4_0, Q5_0   scale = the number of largest size / -8 (-16), codes 0 to 15 (31) around the middle
    Q4_1, Q5_1   low = the least number, scale = span / 15 (31)
    Q8_0         scale = largest size / 127, codes -127 to 127

Not here: the search for better scales (block_search.py), bytes (block_types.py).
"""

# ruff: noqa: ANN001 -- the types inside compiled loops are numba's business
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_F = np.float32


def round_around_middle(x_BN: Floats, half: int) -> tuple[Floats, NDArray[np.uint8]]:
    """Scales [B], and codes from 0 to 2 * half - 1."""
    scale_B, codes_BN = np.empty(len(x_BN), _F), np.empty(x_BN.shape, np.uint8)
    _around_middle(x_BN, _F(half), scale_B, codes_BN)
    return scale_B, codes_BN


def round_above_low(x_BN: Floats, levels: int) -> tuple[Floats, Floats, NDArray[np.uint8]]:
    """Scales and lows [B], and codes from 0 to `levels`."""
    scale_B, low_B = np.empty(len(x_BN), _F), np.empty(len(x_BN), _F)
    codes_BN = np.empty(x_BN.shape, np.uint8)
    _above_low(x_BN, _F(levels), scale_B, low_B, codes_BN)
    return scale_B, low_B, codes_BN


def round_to_bytes(x_BN: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Scales [B], and codes from -127 to 127."""
    scale_B, codes_BN = np.empty(len(x_BN), _F), np.empty(x_BN.shape, np.int8)
    _to_bytes(x_BN, scale_B, codes_BN)
    return scale_B, codes_BN


@njit(nogil=True, cache=True, error_model="numpy")
def _around_middle(x, half, scale, codes) -> None:
    for b in range(len(x)):
        peak, size = _F(0), _F(0)
        for value in x[b]:
            if abs(value) > size:
                peak, size = value, abs(value)
        scale[b] = peak / -half
        inverse = _F(0) if scale[b] == 0 else _F(1) / scale[b]
        for i, value in enumerate(x[b]):
            code = value * inverse + (half + _F(0.5))
            codes[b, i] = np.uint8(min(max(code, _F(0)), _F(2) * half - _F(1)))


@njit(nogil=True, cache=True, error_model="numpy")
def _above_low(x, levels, scale, low, codes) -> None:
    for b in range(len(x)):
        least, most = x[b, 0], x[b, 0]
        for value in x[b]:
            least, most = min(least, value), max(most, value)
        scale[b], low[b] = (most - least) / levels, least
        inverse = _F(0) if scale[b] == 0 else _F(1) / scale[b]
        for i, value in enumerate(x[b]):
            codes[b, i] = np.uint8(min((value - least) * inverse + _F(0.5), levels))


@njit(nogil=True, cache=True, error_model="numpy")
def _to_bytes(x, scale, codes) -> None:
    for b in range(len(x)):
        size = _F(0)
        for value in x[b]:
            size = max(size, abs(value))
        scale[b] = size / _F(127)
        inverse = _F(0) if scale[b] == 0 else _F(1) / scale[b]
        for i, value in enumerate(x[b]):
            scaled = value * inverse
            whole = np.floor(abs(scaled))  # halves go away from zero, as C's roundf has it
            whole += np.floor(_F(2) * (abs(scaled) - whole))
            codes[b, i] = np.int8(whole if scaled > 0 else -whole)
