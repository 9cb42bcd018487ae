"""Products with packed matrices as compiled loops for the CPU.

Activations are rounded to bytes with a scale per 32 columns, a token at a time; then some tiles of
a matrix, 16 rows each, are multiplied with all tokens. One token takes the codes as they are
stored; for several a tile is unpacked once, in the cache. The result of a token has the same bits
in any company.

Shapes: R tokens, M columns (filled up to G groups of 32), N rows. Not here: threads.
Digest of what writes it: 39c4828366913b27.
Digest of what is compiled in from other files: 344df04c7b470acc.
"""

# ruff: noqa: ANN401, PLR0913 -- arrays of any number type; a kernel takes its parts one by one
# mypy: disable-error-code="untyped-decorator"
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import cfunc, extending, njit, types

from codling.core.barrier import meet
from codling.model.packed.instructions import HERE
from codling.model.packed.matrix import FORMS, LANES, PackedMatrix
from codling.model.packed.tile_ir import GROUP, form_of_unpacked, tile_product, tile_unpacker

_SEVERAL = [FORMS["bytes"], *(form_of_unpacked(FORMS[n]) for n in ("q4", "q4_min", "q6_levels"))]
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
_KINDS = tuple(
    0 if f.bits == 8 else 3 if f.sixteens else 2 if f.has_min else 1 for f in FORMS.values()
)
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


_intrinsic: Any = extending.intrinsic  # its stub demands the context argument of every caller
_I64 = types.int64
_TILE = types.void(*([_I64] * 13))


@cfunc(_TILE, cache=True)
def _tile(
    form: int, codes: int, scales: int, tops: int, shift: int, n_groups: int, x: int, factors: int,
    n_tokens: int, code_room: int, scale_room: int, min_room: int, out: int,
) -> None:  # fmt: skip
    """Products of the 16 rows of a tile with R tokens, [R, 16]. With no tokens the tile is unpacked
    and that is all. All but the numbers are addresses."""
    if n_tokens == 1:
        _multiply_1(form, codes, scales, tops, shift, x, factors, n_groups, out)
        return
    kind = _KINDS[form]
    if kind or n_tokens == 0:
        _unpack(form, codes, scales, tops, shift, n_groups, code_room, scale_room, min_room)
        codes, scales, tops, shift = code_room, scale_room, min_room, _ZEROS[form]
    step_x, step_f, step_out = n_groups * GROUP, n_groups * N_FACTORS * 4, LANES * 4
    n_left = n_tokens
    while n_left >= 8:
        _several_8(kind, codes, scales, tops, shift, x, factors, n_groups, out)
        n_left, x = n_left - 8, x + 8 * step_x
        factors, out = factors + 8 * step_f, out + 8 * step_out
    if n_left >= 4:
        _several_4(kind, codes, scales, tops, shift, x, factors, n_groups, out)
        n_left, x = n_left - 4, x + 4 * step_x
        factors, out = factors + 4 * step_f, out + 4 * step_out
    if n_left >= 2:
        _several_2(kind, codes, scales, tops, shift, x, factors, n_groups, out)
        n_left, x = n_left - 2, x + 2 * step_x
        factors, out = factors + 2 * step_f, out + 2 * step_out
    if n_left == 1:
        _several_1(kind, codes, scales, tops, shift, x, factors, n_groups, out)


@_intrinsic
def _call_tile(_context: Any, _address: Any, _arguments: Any) -> Any:
    """Call `_tile` by its address: so it is compiled once, and not into each loop that uses it."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        i64 = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [i64] * 13)
        values = [builder.extract_value(args[1], i) for i in range(13)]
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return _c.get_dummy_value()

    numbers: Any = types.UniTuple
    return types.void(types.int64, numbers(types.int64, 13)), generate


@njit(nogil=True, cache=True)
def _multiply_tile(
    entry: Any, tile: int, n_tokens: int, x: int, factors: int, scratch: Any
) -> None:
    """Products of a tile of a matrix into the last part of `scratch`."""
    _call_tile(
        entry[10],
        (
            entry[0], entry[4] + tile * entry[7], entry[5] + tile * entry[8],
            entry[6] + tile * entry[9], entry[3], entry[2], x, factors, n_tokens,
            scratch[0].ctypes.data, scratch[1].ctypes.data, scratch[2].ctypes.data,
            scratch[3].ctypes.data,
        ),
    )  # fmt: skip


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
            _multiply_tile(entry, tile, x.shape[0], x.ctypes.data, factors.ctypes.data, scratch)
            row = tile * LANES
            n = min(LANES, n_rows - row)
            for r in range(x.shape[0]):
                for i in range(n):
                    value = scratch[3][r, i]
                    out[r, row + i] = out[r, row + i] + value if adds else value


@njit(nogil=True, cache=True)
def rows_of(entry: Any, rows: Any, scratch: Any, out_RM: Any) -> None:
    """Some rows of a matrix as float32, [R, M]."""
    form = entry[0]
    codes_out, scales, minima = scratch[0], scratch[1], scratch[2]
    half = GROUP // 2 if _KINDS[form] == 3 else GROUP
    for r in range(rows.shape[0]):
        tile, lane = rows[r] // LANES, rows[r] % LANES
        _multiply_tile(entry, tile, 0, 0, 0, scratch)
        for i in range(out_RM.shape[1]):
            code = np.float32(codes_out[(i // 4) * 4 * LANES + lane * 4 + i % 4])
            place = (i // half) * LANES + lane
            if _KINDS[form] == 2:
                out_RM[r, i] = scales[place] * code + minima[place]
            else:
                out_RM[r, i] = scales[place] * (code - np.float32(_ZEROS[form]))


@njit(nogil=True, cache=True)
def linear(
    thread: int, n_threads: int, sync: Any, entry: Any, x_RM: Any, bytes_RM: Any, factors_RF: Any,
    scratch: Any, out_RN: Any,
) -> None:  # fmt: skip
    """out = x w^T, by all threads at once: each rounds some tokens, and multiplies some rows."""
    n_tokens, n_groups = x_RM.shape[0], entry[2]
    own = slice(n_tokens * thread // n_threads, n_tokens * (thread + 1) // n_threads)
    round_activations(x_RM[own], bytes_RM[own], factors_RF[own], n_groups)
    meet(sync, n_threads)
    n_tiles = (entry[1] + LANES - 1) // LANES
    first, last = n_tiles * thread // n_threads, n_tiles * (thread + 1) // n_threads
    multiply(entry, first, last, bytes_RM, factors_RF, scratch, out_RN, False)
    meet(sync, n_threads)


def entry_of(matrix: PackedMatrix) -> list[int]:
    """What a compiled loop is told of a matrix, ENTRY numbers; keep the matrix while it is used.

    Form, rows, groups, shift; addresses of codes, scales and tops; their bytes per tile; and the
    address of the function that multiplies with a tile.
    """
    address: Any = _tile.address
    return [*matrix.numbers(), address]


ENTRY = 11


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
