"""Products with packed matrices as compiled loops for the CPU.

Activations are rounded to bytes with a scale per 32 columns, a token at a time; then some tiles of
a matrix, 16 rows each, are multiplied with all tokens. One token takes the codes as they are
stored; for several a tile is unpacked once, in the cache. The result of a token has the same bits
in any company.

Shapes: R tokens, M columns (filled up to G groups of 32), N rows. Not here: threads.
"""

# ruff: noqa: ANN401, PLR0913 -- arrays of any number type; a kernel takes its parts one by one
# mypy: disable-error-code="untyped-decorator"
from typing import Any

import numpy as np
from numba import njit

from codling.model.packed.instructions import HERE
from codling.model.packed.matrix import FORMS, LANES
from codling.model.packed.tile_ir import GROUP, tile_product, tile_unpacker, unpacked

_SEVERAL = [FORMS["bytes"], *(unpacked(FORMS[n]) for n in ("q4", "q4_min", "q6_levels"))]
_multiply_1 = tile_product(list(FORMS.values()), 1, HERE)
_several_1, _several_2, _several_4, _several_8 = (
    tile_product(_SEVERAL, n, HERE) for n in (1, 2, 4, 8)
)
_unpack = tile_unpacker(list(FORMS.values()), HERE)
BLOCK = 64
"""Tokens that are multiplied with a tile while it is unpacked."""
N_FACTORS = 5
"""Numbers per group of a token: scale; sum of the bytes; scale x sum; and the sums of both
halves."""
_ZEROS = tuple(form.zero for form in FORMS.values())
_KINDS = tuple(0 if f.bits == 8 else 3 if f.sixteens else 2 if f.has_min else 1 for f in FORMS.values())
"""The form among _SEVERAL that each form becomes."""


@njit(nogil=True, cache=True)
def round_activations(x_RM: Any, bytes_RM: Any, factors_RF: Any, n_groups: int) -> None:
    """Bytes of R tokens, and their N_FACTORS x G numbers; both have room for more columns."""
    n_columns = x_RM.shape[1]
    for r in range(x_RM.shape[0]):
        scales = factors_RF[r, :n_groups]
        for g in range(n_groups):
            first = g * GROUP
            last = min(first + GROUP, n_columns)
            scales[g] = _round_group(x_RM[r, first:last], bytes_RM[r, first : first + GROUP])
            low = _total(bytes_RM[r, first : first + 16])
            high = _total(bytes_RM[r, first + 16 : first + GROUP])
            factors_RF[r, n_groups + g] = np.float32(low + high)
            factors_RF[r, 2 * n_groups + g] = np.float32(low + high) * scales[g]
            factors_RF[r, 3 * n_groups + 2 * g] = np.float32(low)
            factors_RF[r, 3 * n_groups + 2 * g + 1] = np.float32(high)


@njit(nogil=True, cache=True)
def _round_group(x: Any, out: Any) -> Any:
    """Bytes from -127 to 127, halves away from zero, and what they are to be multiplied with."""
    scale = _largest(x) / np.float32(127)
    inverse = np.float32(1) / scale if scale > np.float32(1e-37) else np.float32(0)
    for i in range(x.shape[0]):
        value = x[i] * inverse
        out[i] = np.int8(np.int32(value + (np.float32(0.5) if value >= 0 else np.float32(-0.5))))
    for i in range(x.shape[0], out.shape[0]):
        out[i] = 0
    return scale


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _largest(x: Any) -> Any:
    largest = np.float32(0)
    for i in range(x.shape[0]):
        largest = max(largest, np.abs(x[i]))
    return largest


@njit(nogil=True, cache=True)
def _total(values: Any) -> Any:
    total = np.int32(0)
    for i in range(values.shape[0]):
        total += np.int32(values[i])
    return total


@njit(nogil=True, cache=True)
def multiply_tile(
    entry: Any, tile: int, bytes_RM: Any, factors_RF: Any, scratch: Any, out_RL: Any
) -> None:
    """Products of the 16 rows of a tile with R tokens, [R, 16]; `scratch` as `new_scratch`."""
    form, n_groups, shift = entry[0], entry[2], entry[3]
    codes, scales = entry[4] + tile * entry[7], entry[5] + tile * entry[8]
    tops = entry[6] + tile * entry[9]
    n_tokens = bytes_RM.shape[0]
    x, factors, out = bytes_RM.ctypes.data, factors_RF.ctypes.data, out_RL.ctypes.data
    if n_tokens == 1:
        _multiply_1(form, codes, scales, tops, shift, x, factors, n_groups, out)
        return
    kind = _KINDS[form]
    if kind:
        codes_out, scales_out = scratch[0].ctypes.data, scratch[1].ctypes.data
        minima_out = scratch[2].ctypes.data
        _unpack(
            form, codes, scales, tops, shift, n_groups, codes_out, scales_out, minima_out
        )
        codes, scales, tops, shift = codes_out, scales_out, minima_out, _ZEROS[form]
    step_x, step_f, step_out = n_groups * GROUP, n_groups * N_FACTORS * 4, LANES * 4
    first = 0
    while n_tokens - first >= 8:
        _several_8(kind, codes, scales, tops, shift, x, factors, n_groups, out)
        first, x, factors, out = first + 8, x + 8 * step_x, factors + 8 * step_f, out + 8 * step_out
    if n_tokens - first >= 4:
        _several_4(kind, codes, scales, tops, shift, x, factors, n_groups, out)
        first, x, factors, out = first + 4, x + 4 * step_x, factors + 4 * step_f, out + 4 * step_out
    if n_tokens - first >= 2:
        _several_2(kind, codes, scales, tops, shift, x, factors, n_groups, out)
        first, x, factors, out = first + 2, x + 2 * step_x, factors + 2 * step_f, out + 2 * step_out
    if n_tokens - first == 1:
        _several_1(kind, codes, scales, tops, shift, x, factors, n_groups, out)


@njit(nogil=True, cache=True)
def multiply(
    entry: Any, first: int, last: int, bytes_RM: Any, factors_RF: Any, scratch: Any, out_RN: Any,
    adds: bool,
) -> None:  # fmt: skip
    """out = x w^T, or += with `adds`, for the rows of the tiles from `first` to `last` - 1.

    `bytes_RM` and `factors_RF` must be contiguous and as wide as the matrix.
    """
    n_rows = entry[1]
    for start in range(0, bytes_RM.shape[0], BLOCK):
        some = slice(start, min(start + BLOCK, bytes_RM.shape[0]))
        x, factors, out = bytes_RM[some], factors_RF[some], out_RN[some]
        for tile in range(first, last):
            multiply_tile(entry, tile, x, factors, scratch, scratch[3])
            row = tile * LANES
            n = min(LANES, n_rows - row)
            for r in range(x.shape[0]):
                for i in range(n):
                    value = scratch[3][r, i]
                    out[r, row + i] = out[r, row + i] + value if adds else value


@njit(nogil=True, cache=True)
def rows_of(entry: Any, rows: Any, scratch: Any, out_RM: Any) -> None:
    """Some rows of a matrix as float32, [R, M]."""
    form, n_groups, shift = entry[0], entry[2], entry[3]
    codes_out, scales, minima = scratch[0], scratch[1], scratch[2]
    half = GROUP // 2 if _KINDS[form] == 3 else GROUP
    for r in range(rows.shape[0]):
        tile, lane = rows[r] // LANES, rows[r] % LANES
        _unpack(
            form, entry[4] + tile * entry[7], entry[5] + tile * entry[8],
            entry[6] + tile * entry[9], shift, n_groups, codes_out.ctypes.data,
            scales.ctypes.data, minima.ctypes.data,
        )  # fmt: skip
        for i in range(out_RM.shape[1]):
            code = np.float32(codes_out[(i // 4) * 4 * LANES + lane * 4 + i % 4])
            place = (i // half) * LANES + lane
            if _KINDS[form] == 2:
                out_RM[r, i] = scales[place] * code + minima[place]
            else:
                out_RM[r, i] = scales[place] * (code - np.float32(_ZEROS[form]))


def new_scratch(n_groups: int) -> tuple[Any, ...]:
    """Memory for one thread that multiplies with matrices of up to this many groups: an unpacked
    tile, its scales and minima, and products."""
    return (
        np.zeros(n_groups * GROUP * LANES, dtype=np.uint8),
        np.zeros(n_groups * 2 * LANES, dtype=np.float32),
        np.zeros(n_groups * LANES, dtype=np.float32),
        np.zeros((BLOCK, LANES), dtype=np.float32),
    )


def new_activations(n_tokens: int, n_groups: int) -> tuple[Any, Any]:
    """Memory for the bytes and the numbers of rounded activations."""
    return (
        np.zeros((n_tokens, n_groups * GROUP), dtype=np.int8),
        np.zeros((n_tokens, n_groups * N_FACTORS), dtype=np.float32),
    )
