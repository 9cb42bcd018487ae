"""Weights in the block types of ggml, by our own kernels; BF16 by the package `gguf`.

Input: rows of fp32, and how much each column matters, where that was measured. Output: the bytes,
those of llama.cpp's own quantiser. Where importance is given, Q4_0 to Q5_1 are searched as the
K-quants are, as llama.cpp does. A K-quant has blocks of 256 weights with scales of their own:

    Q4_K  144 bytes  f16 d, f16 dmin, 12 bytes of scales and lows, 128 bytes of codes
    Q5_K  176 bytes  the same head, 32 bytes with the fifth bit of every code, 128 bytes with four
    Q6_K  210 bytes  128 bytes with four bits of every code, 64 bytes with two, 16 scales, f16 d

In Q4_K and Q5_K a weight of sub-block j (32 weights) is d * scale_j * code - dmin * low_j; in Q6_K,
whose sub-blocks have 16, it is d * scale_j * (code - 32). Layouts: ggml-common.h of llama.cpp.

Not here: the loops (block_search.py, block_round.py), which tensor gets which type (mixture.py),
reading (checkpoint/gguf_file.py).
"""

from dataclasses import dataclass

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from numpy.typing import NDArray

from codling.core.errors import CheckpointError
from codling.export.block_round import (
    round_above_low,
    round_around_middle,
    round_to_bytes,
    store_codes,
    store_halves,
)
from codling.export.block_search import (
    Floats,
    search_common_scale,
    search_scale,
    search_scale_and_low,
    sum_rows,
)

Bytes = NDArray[np.uint8]

K_QUANTS = (GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q5_K, GGMLQuantizationType.Q6_K)
_SMALL_BLOCKS = {
    GGMLQuantizationType.Q4_0: (4, False),
    GGMLQuantizationType.Q4_1: (4, True),
    GGMLQuantizationType.Q5_0: (5, False),
    GGMLQuantizationType.Q5_1: (5, True),
    GGMLQuantizationType.Q8_0: (8, False),
}
"""Bits of a code, and whether each block of 32 numbers has a low beside its scale."""
_NOT_FINITE = "holds NaN or infinities; take another checkpoint"
_TOO_LARGE = "has weights too large for a quantised type, whose scales are f16; choose --type bf16"
_BLOCK = 256
_F = np.float32


@dataclass(frozen=True)
class _Search:
    """The scales that are tried for codes 0 to `levels`."""

    levels: int
    first: float
    step: float
    tries: int


_PLAIN = {
    GGMLQuantizationType.Q4_K: _Search(15, -1.0, 0.1, 20),
    GGMLQuantizationType.Q5_K: _Search(31, -0.5, 0.1, 15),
}
_FINE = (-0.9, 0.05, 36)
"""First, step and number of tries where the importance of columns is known."""


def quantize_rows(
    rows: Floats, kind: GGMLQuantizationType, importance: Floats | None = None
) -> Bytes:
    """The bytes [n_rows, bytes of a row] of `rows` [n_rows, whole blocks] in type `kind`.

    `importance` [columns] is the mean square of what the matrix is multiplied with, or None.
    Raises CheckpointError for numbers that the type cannot hold.
    """
    if kind in _SMALL_BLOCKS:
        return _encode_small(np.ascontiguousarray(rows, _F), kind, importance)
    _check_finite(rows)
    if kind in K_QUANTS:
        return _quantize_k(rows, kind, importance)
    with np.errstate(over="ignore"):
        stored = quantize(rows, kind)
    if kind == GGMLQuantizationType.F16 and not np.isfinite(stored).all():
        raise CheckpointError("has weights beyond the 65,504 that f16 can hold; choose --type bf16")
    return np.ascontiguousarray(stored).view(np.uint8)


def _check_finite(rows: Floats) -> None:
    # The sum of finite numbers may be infinite: only then all are looked at.
    if not np.isfinite(rows.sum()) and not np.isfinite(rows).all():
        raise CheckpointError(_NOT_FINITE)


def _quantize_k(rows: Floats, kind: GGMLQuantizationType, importance: Floats | None) -> Bytes:
    x_BN = np.ascontiguousarray(rows, _F).reshape(-1, _BLOCK)
    important_BN = None
    if importance is not None:
        important_BN = np.broadcast_to(importance.astype(_F), rows.shape).reshape(-1, _BLOCK)
    encode = _encode_q6 if kind == GGMLQuantizationType.Q6_K else _encode_q4_or_q5
    return encode(x_BN, kind, important_BN).reshape(len(rows), -1)


def _encode_q4_or_q5(
    x_BN: Floats, kind: GGMLQuantizationType, important_BN: Floats | None
) -> Bytes:
    x_BJ32 = x_BN.reshape(-1, 8, 32)
    weight_BJ32 = _weigh(x_BN, important_BN)
    search = _PLAIN[kind]
    tries = (search.first, search.step, search.tries) if important_BN is None else _FINE
    scale, low, codes = search_scale_and_low(
        x_BJ32.reshape(-1, 32), weight_BJ32.reshape(-1, 32), search.levels, *tries
    )
    scale_BJ, low_BJ = scale.reshape(-1, 8), low.reshape(-1, 8)
    if important_BN is None:
        d_B, scale_code_BJ = _spread(scale_BJ)
        dmin_B, low_code_BJ = _spread(low_BJ)
    else:
        total_BJ = sum_rows(weight_BJ32.reshape(-1, 32)).reshape(-1, 8)
        d_B, scale_code_BJ = search_common_scale(scale_BJ, total_BJ, 63)
        dmin_B, low_code_BJ = search_common_scale(low_BJ, total_BJ, 63)
    halves_B2 = _halves(np.stack([d_B, dmin_B], axis=1))
    d_BJ = halves_B2[:, :1].astype(_F) * scale_code_BJ.astype(_F)
    low_BJ = halves_B2[:, 1:].astype(_F) * low_code_BJ.astype(_F)
    codes_BJ32 = _requantize(
        x_BJ32 + low_BJ[..., None], d_BJ, 0, search.levels, codes.reshape(x_BJ32.shape)
    )
    head = [halves_B2.view(np.uint8), _pack_scales(scale_code_BJ, low_code_BJ)]
    if kind == GGMLQuantizationType.Q5_K:
        shifts_J = np.arange(8, dtype=np.uint8)[None, :, None]
        head.append(np.bitwise_or.reduce((codes_BJ32 >> 4) << shifts_J, axis=1))
    low_bits = codes_BJ32 & 15
    nibbles = low_bits[:, 0::2] | low_bits[:, 1::2] << 4
    return np.concatenate([*head, nibbles.reshape(-1, 128)], axis=1)


def _weigh(x_BN: Floats, important_BN: Floats | None) -> Floats:
    """How much the error of each weight counts, [B, 8, 32]: large weights more."""
    if important_BN is None:
        x_BJ32 = x_BN.reshape(-1, 8, 32)
        squares = sum_rows((x_BJ32 * x_BJ32).reshape(-1, 32)).reshape(-1, 8, 1)
        return np.asarray(np.sqrt(squares / _F(32)) + np.abs(x_BJ32))
    squares = sum_rows(x_BN * x_BN)[:, None]
    weight_BN = important_BN * np.sqrt(_F(2) * squares / _F(_BLOCK) + x_BN * x_BN)
    return np.asarray(weight_BN.reshape(-1, 8, 32))


def _spread(values_BJ: Floats) -> tuple[Floats, Bytes]:
    """The step for which the largest value of a row is 63 steps, and all values in steps."""
    largest_B1 = np.maximum(values_BJ.max(axis=1, keepdims=True), _F(0))
    with np.errstate(divide="ignore", over="ignore"):
        inverse_B1 = np.where(largest_B1 > 0, _F(63) / largest_B1, _F(0))
    codes = np.clip(np.rint(inverse_B1 * values_BJ), 0, 63)
    return largest_B1[:, 0] / _F(63), codes.astype(np.uint8)


def _halves(values: Floats) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    if not np.isfinite(halves).all():
        raise CheckpointError(_TOO_LARGE)
    return halves


def _requantize(
    shifted: Floats, step_BJ: Floats, smallest: int, largest: int, searched: Bytes
) -> Bytes:
    """Codes for the steps as they are stored; where a step is 0, those of the search stay."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        codes = np.clip(np.rint(shifted / step_BJ[..., None]), smallest, largest) - smallest
    return np.where(step_BJ[..., None] == 0, searched, np.nan_to_num(codes).astype(np.uint8))


def _pack_scales(scale_BJ: Bytes, low_BJ: Bytes) -> Bytes:
    """Sixteen numbers of 6 bits in 12 bytes.

    Bytes 0 to 3 hold scales 0 to 3, bytes 4 to 7 lows 0 to 3; of scales and lows 4 to 7 the four
    low bits share bytes 8 to 11, and the two high bits lie above the numbers of the first eight.
    """
    first = scale_BJ[:, :4] | (scale_BJ[:, 4:] >> 4) << 6
    second = low_BJ[:, :4] | (low_BJ[:, 4:] >> 4) << 6
    third = scale_BJ[:, 4:] & 15 | (low_BJ[:, 4:] & 15) << 4
    return np.concatenate([first, second, third], axis=1)


def _encode_q6(x_BN: Floats, _kind: GGMLQuantizationType, important_BN: Floats | None) -> Bytes:
    x_BJ16 = x_BN.reshape(-1, 16, 16)
    weight = x_BN * x_BN if important_BN is None else np.ascontiguousarray(important_BN)
    scale, codes = search_scale(x_BJ16.reshape(-1, 16), weight.reshape(-1, 16), 32)
    scale_BJ = scale.reshape(-1, 16)
    at_B1 = np.abs(scale_BJ).argmax(axis=1)[:, None]
    largest_B1 = np.take_along_axis(scale_BJ, at_B1, axis=1)
    empty_B = np.abs(largest_B1[:, 0]) < _F(1e-15)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse_B1 = np.where(empty_B[:, None], _F(0), _F(-128) / largest_B1)
        d_B = np.where(empty_B, _F(0), _F(1) / inverse_B1[:, 0])
    halves_B1 = _halves(d_B[:, None])
    scale_code_BJ = np.minimum(np.rint(inverse_B1 * scale_BJ), 127).astype(np.int8)
    step_BJ = halves_B1.astype(_F) * scale_code_BJ.astype(_F)
    codes_BN = _requantize(x_BJ16, step_BJ, -32, 31, codes.reshape(x_BJ16.shape))
    codes_BN[empty_B] = 0
    tail = [scale_code_BJ.view(np.uint8), halves_B1.view(np.uint8)]
    return np.concatenate([*_pack_six_bits(codes_BN.reshape(-1, 2, 4, 32)), *tail], axis=1)


def _pack_six_bits(codes_BH432: Bytes) -> list[Bytes]:
    """Per half of a block: 64 bytes with four bits of two codes each, 32 with two bits of four."""
    low = codes_BH432 & np.uint8(15)
    nibbles: Bytes = low[:, :, :2] | low[:, :, 2:] << np.uint8(4)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    pairs: Bytes = np.bitwise_or.reduce((codes_BH432 >> 4) << shifts, axis=2)
    return [nibbles.reshape(-1, 128), pairs.reshape(-1, 64)]


def _encode_small(rows: Floats, kind: GGMLQuantizationType, importance: Floats | None) -> Bytes:
    """Q4_0 to Q8_0: one scale, and perhaps one low, per 32 numbers; Q8_0 is never searched."""
    n_bits, has_low = _SMALL_BLOCKS[kind]
    out_BW = np.empty((rows.size // 32, (4 if has_low else 2) + 4 * n_bits), np.uint8)
    if importance is None or n_bits == 8:
        heads = _round_blocks(rows.reshape(-1, 32), n_bits, has_low, out_BW)
    else:
        _check_finite(rows)
        heads = _search_blocks(rows, importance, n_bits, has_low, out_BW)
    for i, head_B in enumerate(heads):
        if not store_halves(head_B, out_BW, 2 * i):
            raise CheckpointError(_TOO_LARGE)
    return out_BW.reshape(len(rows), -1)


def _round_blocks(x_B32: Floats, n_bits: int, has_low: bool, out_BW: Bytes) -> tuple[Floats, ...]:
    """Puts the codes into `out_BW`; returns what goes before them."""
    if n_bits == 8:
        heads = round_to_bytes(x_B32, out_BW, 2)
    elif has_low:
        heads = round_above_low(x_B32, (1 << n_bits) - 1, out_BW, 4)
    else:
        heads = round_around_middle(x_B32, 1 << n_bits - 1, out_BW, 2)
    if heads is None:
        raise CheckpointError(_NOT_FINITE)
    return heads


def _search_blocks(
    rows: Floats, importance: Floats, n_bits: int, has_low: bool, out_BW: Bytes
) -> tuple[Floats, ...]:
    """As _round_blocks, with the scales of least error where columns count as `importance` says."""
    squares = sum_rows(rows * rows)[:, None]
    weight = importance.astype(_F) * np.sqrt(squares / _F(rows.shape[1]) + rows * rows)
    x_B32, weight_B32 = rows.reshape(-1, 32), np.asarray(weight, _F).reshape(-1, 32)
    levels = (1 << n_bits) - 1
    if has_low:
        scale_B, low_B, codes_B32 = search_scale_and_low(x_B32, weight_B32, levels, *_FINE)
        heads: tuple[Floats, ...] = (scale_B, -low_B)
    else:
        scale_B, codes_B32 = search_scale(x_B32, weight_B32, 1 << n_bits - 1)
        heads = (scale_B,)
    store_codes(codes_B32, levels, out_BW, 2 * len(heads))
    return heads
