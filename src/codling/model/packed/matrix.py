"""A matrix in few bits, laid out for the processor's dot-product instructions.

Input: codes and scales of rows, from a quantiser or from a file. Output: a PackedMatrix, which
kernels.py multiplies with and gives single rows of. The numbers are those that came in, bit for
bit; only their places are new.

Sixteen rows make a tile. Of a tile, 32 columns lie together in vectors of 64 bytes:

    8 bits   vector q: columns 4q to 4q + 3 of row 0, then of row 1, ...; q = 0 to 7
    4 bits   vector q: the low halves are columns 4q ..., the high ones 4 (q + 4) ...; q = 0 to 3
    5 bits   as 4 bits, and a vector whose bit i is bit 4 of columns 4i ...
    6 bits   as 4 bits, and two vectors: bits 2i, 2i + 1 are bits 4, 5 of columns 4 (4p + i) ...

Rows are filled up to 16 and columns to 32 (256 with scales in two levels) with code and scale zero.

Not here: the arithmetic (tile_ir.py), quantisers (quantize.py), files (checkpoint/).
Legend: N rows, M columns, G groups of 32 columns, T tiles, S groups of weights with one scale.
"""

# ruff: noqa: ANN401 -- arrays of any number type
# mypy: disable-error-code="untyped-decorator"
import threading
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numba import njit

from codling.model.packed.tile_ir import GROUP, CodeForm

Array = np.ndarray[Any, Any]
LANES = 16
FORMS = {
    "bytes": CodeForm(8, 128, False, 1),
    "q4": CodeForm(4, 8, False, 1),
    "q4_min": CodeForm(4, 0, True, 1),
    "q5": CodeForm(5, 16, False, 1),
    "q5_min": CodeForm(5, 0, True, 1),
    "q4_levels": CodeForm(4, 0, True, 2),
    "q5_levels": CodeForm(5, 0, True, 2),
    "q6_levels": CodeForm(6, 32, False, 2, sixteens=True),
}
"""The forms by name. A kernel knows one by its place here."""
_PLACES = {name: i for i, name in enumerate(FORMS)}
TOP = 256
"""Columns under one scale of the upper level."""
_WHOLE_ROW = 62
"""A shift after which no group number is left."""


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """Codes and scales of a matrix [n_rows, n_columns]."""

    form: str
    n_rows: int
    n_columns: int
    shift: int
    """A scale holds for 2 to this power groups of 32 columns."""
    codes: Array
    """uint8 [T, G, bytes of a group]."""
    scales: Array
    """uint16 bits of half-precision numbers [T, S, 1 or 2, 16]; uint8 [T, G, 2, 16] in two
    levels."""
    tops: Array
    """Two levels only: uint16 [T, M / 256, 1 or 2, 16]; else empty."""

    @property
    def n_groups(self) -> int:
        """Groups of 32 columns, G."""
        return int(self.codes.shape[1])

    @property
    def n_bytes(self) -> int:
        """Memory of it all."""
        return int(self.codes.nbytes + self.scales.nbytes + self.tops.nbytes)

    def numbers(self) -> list[int]:
        """What a kernel needs to find its way: form, rows, groups, shift; addresses of codes,
        scales and tops; and their bytes per tile."""
        arrays = (self.codes, self.scales, self.tops)
        addresses = [a.ctypes.data for a in arrays]
        strides = [a.nbytes // len(self.codes) for a in arrays]
        kind = _PLACES[self.form]
        return [kind, self.n_rows, self.n_groups, self.shift, *addresses, *strides]

    def part(self, first: int, n_rows: int) -> "PackedMatrix":
        """Some rows, from a multiple of 16 on, on the same memory."""
        assert first % LANES == 0
        tiles = slice(first // LANES, -(-(first + n_rows) // LANES))
        tops = self.tops[tiles] if self.tops.size else self.tops
        arrays = (self.codes[tiles], self.scales[tiles], tops)
        return PackedMatrix(self.form, n_rows, self.n_columns, self.shift, *arrays)


class Arena:
    """Memory for many matrices one after the other, in huge pages where Linux has them.

    numpy asks for them for large arrays, and reading from them is up to three times as fast. Each
    array begins at a multiple of 64 bytes, as the processor's loads like it.
    """

    def __init__(self, n_bytes: int = 32 << 20) -> None:
        """`n_bytes` are taken at a time."""
        self._n_bytes = n_bytes
        self._chunk, self._used = np.zeros(0, dtype=np.uint8), 0
        self._lock = threading.Lock()

    def zeros(self, shape: tuple[int, ...], dtype: type) -> Array:
        """An array of zeros."""
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        with self._lock:
            if self._used + n_bytes > len(self._chunk):
                whole = np.zeros(max(self._n_bytes, n_bytes) + _ALIGN, dtype=np.uint8)
                self._chunk, self._used = whole[-whole.ctypes.data % _ALIGN :], 0
            start, self._used = self._used, -(-(self._used + n_bytes) // _ALIGN) * _ALIGN
            return self._chunk[start : start + n_bytes].view(dtype).reshape(shape)


_ALIGN = 64


def allocate(
    form: str,
    n_rows: int,
    n_columns: int,
    *,
    group: int | None = GROUP,
    memory: Arena | None = None,
) -> PackedMatrix:
    """An empty matrix. `group`: columns with one scale, 32 times a power of two; None is a row."""
    zeros = (memory or Arena(0)).zeros
    kind = FORMS[form]
    unit = TOP if kind.n_levels == 2 else GROUP
    n_tiles, n_groups = -(-n_rows // LANES), -(-n_columns // unit) * (unit // GROUP)
    shift = _WHOLE_ROW if group is None else (group // GROUP).bit_length() - 1
    assert group is None or group == GROUP << shift
    n_kinds = 2 if kind.has_min else 1
    n_scales = ((n_groups - 1) >> shift) + 1
    codes = zeros((n_tiles, n_groups, kind.group_bytes), np.uint8)
    if kind.n_levels == 1:
        scales = zeros((n_tiles, n_scales, n_kinds, LANES), np.uint16)
        tops = np.zeros(0, dtype=np.uint16)
    else:
        scales = zeros((n_tiles, n_groups, 2, LANES), np.uint8)
        tops = zeros((n_tiles, n_groups // 8, n_kinds, LANES), np.uint16)
    return PackedMatrix(form, n_rows, n_columns, shift, codes, scales, tops)


def put_codes(matrix: PackedMatrix, first: int, codes_NM: Array) -> None:
    """Write the codes of rows, uint8 [N, M], from row `first`, a multiple of 16, on."""
    assert first % LANES == 0
    n_rows, n_columns = codes_NM.shape
    assert n_columns == matrix.n_columns
    place = codes_NM
    shape = (-(-n_rows // LANES) * LANES, matrix.n_groups * GROUP)
    if codes_NM.shape != shape:
        place = np.zeros(shape, dtype=np.uint8)
        place[:n_rows, :n_columns] = codes_NM
    words = np.ascontiguousarray(place).view(np.uint32)
    tiles = slice(first // LANES, first // LANES + shape[0] // LANES)
    _lay_out(words, FORMS[matrix.form].bits, matrix.codes[tiles].view(np.uint32))


def put_scales(target: Array, first: int, *kinds: Array) -> None:
    """Write numbers of rows, one array [N, S] per kind (scales, minima), into the matrix's `scales`
    or `tops`, from row `first`, a multiple of 16, on."""
    for kind, values in enumerate(kinds):
        n_rows, n_scales = values.shape
        filled = np.zeros((-(-n_rows // LANES) * LANES, n_scales), dtype=values.dtype)
        filled[:n_rows] = values
        tiles = filled.reshape(-1, LANES, n_scales).transpose(0, 2, 1)
        first_tile = first // LANES
        target[first_tile : first_tile + len(tiles), :n_scales, kind] = tiles.view(target.dtype)


def pack_codes(
    form: str,
    codes_NM: Array,
    scale_NS: Array,
    min_NS: Array | None = None,
    *,
    group: int | None = GROUP,
) -> PackedMatrix:
    """A matrix of one level from codes uint8 [N, M], scales and minima of any float type [N, S].

    >>> codes = np.full((2, 64), 9, dtype=np.uint8)  # one above the zero of four bits
    >>> matrix = pack_codes("q4", codes, np.ones((2, 2)))
    >>> matrix.n_bytes  # a tile of 16 rows: 16 x 64 half bytes, and two scales of two bytes each
    576
    """
    matrix = allocate(form, *codes_NM.shape, group=group)
    put_codes(matrix, 0, codes_NM)
    numbers = [scale_NS] if min_NS is None else [scale_NS, min_NS]
    put_scales(matrix.scales, 0, *(each.astype(np.float16) for each in numbers))
    return matrix


@njit(nogil=True, cache=True)
def _lay_out(words: Any, bits: int, out: Any) -> None:
    """Four columns at a time, [rows, M / 4] to [T, G, words of a group]."""
    for tile in range(out.shape[0]):
        for group in range(out.shape[1]):
            target = out[tile, group]
            for row in range(LANES):
                source = words[tile * LANES + row, 8 * group : 8 * group + 8]
                if bits == 8:
                    for q in range(8):
                        target[q * LANES + row] = source[q]
                    continue
                for q in range(4):
                    low = source[q] & np.uint32(0x0F0F0F0F)
                    high = (source[q + 4] & np.uint32(0x0F0F0F0F)) << np.uint32(4)
                    target[q * LANES + row] = low | high
                per, mask = (8, 0x01010101) if bits == 5 else (4, 0x03030303)
                for plane in range(0 if bits == 4 else 8 // per):
                    word = np.uint32(0)
                    for i in range(per):
                        part = (source[plane * per + i] >> np.uint32(4)) & np.uint32(mask)
                        word |= part << np.uint32((bits - 4) * i)
                    target[(4 + plane) * LANES + row] = word
