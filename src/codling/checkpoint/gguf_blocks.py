"""The blocks of a GGUF file laid out as packed matrices, bit for bit the same numbers.

Input: a tensor of a mapped file in Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K. Output: a
PackedMatrix. The pages of the file are given back as they are read. Blocks:
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.

Not here: other types (they are rounded to 8 bits, load.py), the layout of a packed matrix
(model/packed).
"""

# ruff: noqa: ANN401 -- arrays of any number type
# mypy: disable-error-code="untyped-decorator"
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Kind
from numba import njit

from codling.checkpoint.gguf_file import GgufTensor
from codling.core.errors import CheckpointError
from codling.model.packed.matrix import Arena, Array, PackedMatrix, allocate, put_codes, put_scales

_FORMS = {
    Kind.Q4_0: "q4",
    Kind.Q4_1: "q4_min",
    Kind.Q5_0: "q5",
    Kind.Q5_1: "q5_min",
    Kind.Q8_0: "bytes",
    Kind.Q4_K: "q4_levels",
    Kind.Q5_K: "q5_levels",
    Kind.Q6_K: "q6_levels",
}
_NUMBERS_AT_A_TIME = 1 << 20
_LANES = 16


def can_pack(tensor: GgufTensor) -> bool:
    """Whether the tensor is a matrix whose blocks are computed as they are."""
    return tensor.kind in _FORMS and len(tensor.shape) == 2


def pack_blocks(tensor: GgufTensor, memory: Arena | None = None) -> PackedMatrix:
    """The tensor as a packed matrix; CheckpointError if a scale is NaN or infinite."""
    n_rows, n_columns = tensor.shape
    matrix = allocate(_FORMS[tensor.kind], n_rows, n_columns, memory=memory)
    step = max(_LANES, _NUMBERS_AT_A_TIME // n_columns // _LANES * _LANES)
    if tensor.rows is not None:  # they change places, all through the matrix
        step = -(-n_rows // _LANES) * _LANES
    for first in range(0, n_rows, step):
        raw_NQ = tensor.raw_rows(first, min(step, n_rows - first))
        if tensor.rows is not None:
            order = np.empty(n_rows, dtype=np.int64)
            order[tensor.rows.numpy()] = np.arange(n_rows)
            raw_NQ = raw_NQ[order]
        _put_rows(matrix, first, raw_NQ, tensor)
        tensor.release_rows(first, len(raw_NQ))
    return matrix


def _put_rows(matrix: PackedMatrix, first: int, raw_NQ: Array, tensor: GgufTensor) -> None:
    n_rows = len(raw_NQ)
    codes = np.empty((n_rows, matrix.n_columns), dtype=np.uint8)
    kind = tensor.kind
    block_bytes = tensor.block_bytes
    blocks_NGQ = raw_NQ.reshape(n_rows, -1, block_bytes)
    if kind is Kind.Q6_K:
        _codes_q6(blocks_NGQ, codes)
        small = blocks_NGQ[..., 192:208].reshape(n_rows, -1)
        put_scales(matrix.scales, first, small[:, ::2], small[:, 1::2])
        put_scales(matrix.tops, first, _half(blocks_NGQ, 208, tensor))
    elif kind in (Kind.Q4_K, Kind.Q5_K):
        _codes_of_levels(blocks_NGQ, kind is Kind.Q5_K, codes)
        small, minima = _small_scales(blocks_NGQ[..., 4:16])
        put_scales(matrix.scales, first, small, minima)
        # A weight is scale x code - minimum there, and + minimum here.
        tops = _half(blocks_NGQ, 0, tensor), -_half(blocks_NGQ, 2, tensor)
        put_scales(matrix.tops, first, *tops)
    else:
        n_halves = 2 if kind in (Kind.Q4_1, Kind.Q5_1) else 1
        _codes_of_32(blocks_NGQ, 2 * n_halves, block_bytes - 2 * n_halves, codes)
        halves = [_half(blocks_NGQ, 2 * i, tensor) for i in range(n_halves)]
        put_scales(matrix.scales, first, *halves)
    put_codes(matrix, first, codes)


def _half(blocks_NGQ: Array, at: int, tensor: GgufTensor) -> Array:
    """The half-precision number at a byte of each block, [N, G]."""
    numbers: Array = np.ascontiguousarray(blocks_NGQ[..., at : at + 2]).view(np.float16)[..., 0]
    if not np.isfinite(numbers).all():
        raise CheckpointError(tensor.not_finite)
    return numbers


def _small_scales(bytes_NG12: Array) -> tuple[Array, Array]:
    """Scales and minima of 6 bits each, [N, 8 G]: the last four have their high bits elsewhere."""
    first, second, third = (bytes_NG12[..., i : i + 4] for i in (0, 4, 8))
    scales = [first & 63, third & 15 | first >> 6 << 4]
    minima = [second & 63, third >> 4 | second >> 6 << 4]
    n_rows = len(bytes_NG12)
    whole = (np.concatenate(parts, axis=-1).reshape(n_rows, -1) for parts in (scales, minima))
    return next(whole), next(whole)


@njit(nogil=True, cache=True)
def _codes_of_32(blocks: Any, head: int, n_bytes: int, codes: Any) -> None:
    """Q8_0 (32 bytes after the head), Q4 (16) and Q5 (4 with the high bits, 16)."""
    for n in range(blocks.shape[0]):
        for g in range(blocks.shape[1]):
            body, out = blocks[n, g, head:], codes[n, 32 * g : 32 * g + 32]
            if n_bytes == 32:
                for i in range(32):
                    out[i] = body[i] ^ np.uint8(128)
                continue
            low = body[n_bytes - 16 : n_bytes]
            for i in range(16):
                out[i] = low[i] & np.uint8(15)
                out[16 + i] = low[i] >> np.uint8(4)
            if n_bytes == 20:
                for i in range(32):
                    bit = (body[i >> 3] >> np.uint8(i & 7)) & np.uint8(1)
                    out[i] |= bit << np.uint8(4)


@njit(nogil=True, cache=True)
def _codes_of_levels(blocks: Any, has_high: bool, codes: Any) -> None:
    """Q4_K and Q5_K: pairs of 32 in the halves of 32 bytes; high bits by pair and byte."""
    for n in range(blocks.shape[0]):
        for b in range(blocks.shape[1]):
            block, out = blocks[n, b], codes[n, 256 * b : 256 * b + 256]
            start = 48 if has_high else 16
            for pair in range(4):
                for i in range(32):
                    byte = block[start + 32 * pair + i]
                    low, high = byte & np.uint8(15), byte >> np.uint8(4)
                    if has_high:
                        bits = block[16 + i] >> np.uint8(2 * pair)
                        low |= (bits & np.uint8(1)) << np.uint8(4)
                        high |= ((bits >> np.uint8(1)) & np.uint8(1)) << np.uint8(4)
                    out[64 * pair + i], out[64 * pair + 32 + i] = low, high


@njit(nogil=True, cache=True)
def _codes_q6(blocks: Any, codes: Any) -> None:
    """Per 128: 64 bytes of low halves, 32 bytes of four times two high bits."""
    for n in range(blocks.shape[0]):
        for b in range(blocks.shape[1]):
            for half in range(2):
                block, out = (
                    blocks[n, b],
                    codes[n, 256 * b + 128 * half : 256 * b + 128 * half + 128],
                )
                low, high = block[64 * half : 64 * half + 64], block[128 + 32 * half :]
                for i in range(32):
                    bits = high[i]
                    for part in range(4):
                        byte = low[i + 32 * (part & 1)]
                        four = byte >> np.uint8(4) if part > 1 else byte & np.uint8(15)
                        two = (bits >> np.uint8(2 * part)) & np.uint8(3)
                        out[32 * part + i] = four | (two << np.uint8(4))
