"""A matrix rounded to 4 bits, 8 bits or fp8, each number on its own, with scales per group.

Input: a matrix [out, in]. Output: codes and scales, as compressed-tensors stores them.

    w4a16      -8 to 7, a scale per row and group of columns
    w8a8       -127 to 127, a scale per row
    fp8        float8_e4m3fn up to 448, a scale per row
    fp8-block  the same, a scale per block of 128 x 128

Not here: rounding that lets later columns make up for earlier ones (gptq.py), files
(compressed.py).
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.checkpoint.compressed import BLOCK, scale_up

Scheme = Literal["w4a16", "w8a8", "fp8", "fp8-block"]
SCALE_TYPE = torch.bfloat16
_TINY = 1e-10
_FP8_MAX = 448.0
_PIECE_NUMBERS = 1 << 20
"""Numbers rounded at a time."""
_STEPS_4 = 7.5
"""From the middle of -8 to 7 to its ends."""


def round_matrix(weight: Tensor, scheme: Scheme, group: int) -> tuple[Tensor, Tensor]:
    """Codes [out, in] (int8, or float8) and scales in bf16; `group` columns share one (w4a16).

    Some rows at a time: what is computed in fp32 is small beside a large matrix.
    """
    unit = BLOCK if scheme == "fp8-block" else 1
    step = max(1, _PIECE_NUMBERS // (weight.shape[1] * unit)) * unit
    pieces = [_ROUND[scheme](rows.float(), group) for rows in torch.split(weight, step)]
    codes, scales = zip(*pieces, strict=True)
    return torch.cat(codes), torch.cat(scales)


def group_scales(weight: Tensor, group: int) -> Tensor:
    """For 4 bits the scale that spans each group, [out, in / group], as bf16 holds it.

    >>> group_scales(torch.tensor([[15.0, -2.0, 0.5, -7.5]]), 2).tolist()
    [[2.0, 1.0]]
    """
    peaks = weight.view(weight.shape[0], -1, group).abs().amax(-1)
    return (peaks / _STEPS_4).clamp(min=_TINY).to(SCALE_TYPE).float()


def round_to_4(weight: Tensor, scale: Tensor) -> Tensor:
    """The nearest codes from -8 to 7 for scales of the same shape."""
    return (weight / scale).round().clamp(-8, 7)


def _to_4_bits(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    scale = group_scales(weight, group)
    codes = round_to_4(weight, scale.repeat_interleave(group, 1))
    return codes.to(torch.int8), scale.to(SCALE_TYPE)


def _to_8_bits(weight: Tensor, _group: int) -> tuple[Tensor, Tensor]:
    scale = _row_scales(weight, 127.0)
    return (weight / scale.float()).round().clamp(-127, 127).to(torch.int8), scale


def _to_fp8(weight: Tensor, _group: int) -> tuple[Tensor, Tensor]:
    scale = _row_scales(weight, _FP8_MAX)
    return _clamp_fp8(weight / scale.float()), scale


def _to_fp8_blocks(weight: Tensor, _group: int) -> tuple[Tensor, Tensor]:
    rows, columns = weight.shape
    padded = F.pad(weight, (0, -columns % BLOCK, 0, -rows % BLOCK))
    tiles = padded.view(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    scale = (tiles.abs().amax((1, 3)) / _FP8_MAX).clamp(min=_TINY).to(SCALE_TYPE)
    of_row = scale.float().repeat_interleave(BLOCK, 0)[:rows]
    inverse = scale_up(torch.ones_like(weight), 1.0 / of_row, BLOCK)
    return _clamp_fp8(weight * inverse), scale


def _row_scales(weight: Tensor, largest: float) -> Tensor:
    return (weight.abs().amax(1, keepdim=True) / largest).clamp(min=_TINY).to(SCALE_TYPE)


def _clamp_fp8(numbers: Tensor) -> Tensor:
    # A scale rounded down would carry the peak beyond the largest number, which becomes NaN.
    return numbers.clamp(-_FP8_MAX, _FP8_MAX).to(torch.float8_e4m3fn)


_ROUND: Mapping[Scheme, Callable[[Tensor, int], tuple[Tensor, Tensor]]] = {
    "w4a16": _to_4_bits,
    "w8a8": _to_8_bits,
    "fp8": _to_fp8,
    "fp8-block": _to_fp8_blocks,
}
