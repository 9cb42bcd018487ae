"""Rounding weights to 8 or 4 bits, with a scale per 32 columns of a row.

Input: rows of float weights. Output: codes and scales for matrix.py. The scale is rounded to half
precision first, and the codes with the rounded scale.

Not here: roundings that look at data (export/gptq.py), the layout (matrix.py).
"""

# ruff: noqa: ANN401 -- arrays of any number type
# mypy: disable-error-code="untyped-decorator"
from typing import Any, Literal

import numpy as np
from numba import njit

from codling.model.packed.matrix import Arena, Array, PackedMatrix, allocate, put_codes, put_scales
from codling.model.packed.tile_ir import GROUP

Bits = Literal[8, 4]
_FORMS: dict[int, str] = {8: "bytes", 4: "q4"}
_LEAST = 2.0**-24
"""The smallest scale of half precision."""


def allocate_bits(
    n_rows: int, n_columns: int, bits: Bits, memory: Arena | None = None
) -> PackedMatrix:
    """An empty matrix for `put_floats`."""
    return allocate(_FORMS[bits], n_rows, n_columns, memory=memory)


def put_floats(matrix: PackedMatrix, first: int, w_NM: Array) -> None:
    """Round rows of float32 into a matrix, from row `first`, a multiple of 16, on."""
    n_rows, n_columns = w_NM.shape
    codes = np.empty((n_rows, n_columns), dtype=np.uint8)
    scale = _scales_8(w_NM) if matrix.form == "bytes" else _scales_4(w_NM)
    scale = np.where(np.abs(scale) < _LEAST, _LEAST, scale).astype(np.float16)
    _round(w_NM, scale.astype(np.float32), 128 if matrix.form == "bytes" else 8, codes)
    put_codes(matrix, first, codes)
    put_scales(matrix.scales, first, scale)


def round_matrix(w_NM: Array, bits: Bits, memory: Arena | None = None) -> PackedMatrix:
    """A float32 matrix in so many bits.

    >>> w = np.array([[0.5, -1.27]], dtype=np.float32)
    >>> matrix = round_matrix(w, 8)
    >>> (matrix.codes[0, 0, :2] - 128.0).tolist()  # to 127, by steps of 0.01
    [50.0, -127.0]
    """
    n_rows, n_columns = w_NM.shape
    matrix = allocate_bits(n_rows, n_columns, bits, memory)
    put_floats(matrix, 0, np.ascontiguousarray(w_NM, dtype=np.float32))
    return matrix


def _groups(w_NM: Array) -> Array:
    n_rows, n_columns = w_NM.shape
    if n_columns % GROUP:
        w_NM = np.pad(w_NM, ((0, 0), (0, -n_columns % GROUP)))
    return w_NM.reshape(n_rows, -1, GROUP)


def _scales_8(w_NM: Array) -> Array:
    scales: Array = np.abs(_groups(w_NM)).max(-1) / np.float32(127)
    return scales


def _scales_4(w_NM: Array) -> Array:
    """Of codes from -8 to 7: the number of largest size becomes about -8, as exactly as suits the
    others best."""
    groups = _groups(w_NM)
    n_rows, n_groups = groups.shape[:2]
    scales = np.empty((n_rows, n_groups), dtype=np.float32)
    _search_scales(groups, scales)
    return scales


@njit(nogil=True, cache=True)
def _search_scales(groups: Any, scales: Any) -> None:
    """The scale of least squared error among those that bring the largest number to -7 to -9."""
    for n in range(groups.shape[0]):
        for g in range(groups.shape[1]):
            w = groups[n, g]
            extreme = np.float32(0)
            for i in range(GROUP):
                if np.abs(w[i]) > np.abs(extreme):
                    extreme = w[i]
            best = np.float32(-1)
            scales[n, g] = 0
            for step in range(-8, 9):
                scale = extreme / np.float32(-8 - 0.125 * step)
                if scale == 0:
                    break
                error = np.float32(0)
                for i in range(GROUP):
                    code = min(max(np.rint(w[i] / scale), np.float32(-8)), np.float32(7))
                    off = w[i] - code * scale
                    error += off * off
                if best < 0 or error < best:
                    best, scales[n, g] = error, scale


@njit(nogil=True, cache=True)
def _round(w_NM: Any, scale_NG: Any, zero: int, codes_NM: Any) -> None:
    low, high = np.float32(1 - zero if zero == 128 else -zero), np.float32(zero - 1)
    for n in range(w_NM.shape[0]):
        for g in range(scale_NG.shape[1]):
            inverse = np.float32(1) / scale_NG[n, g]
            for i in range(g * GROUP, min((g + 1) * GROUP, w_NM.shape[1])):
                code = min(max(np.rint(w_NM[n, i] * inverse), low), high)
                codes_NM[n, i] = np.uint8(np.int32(code) + zero)
