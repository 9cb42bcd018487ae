"""Quantised weights in the format compressed-tensors, which vLLM and transformers load.

Input: the quantization_config of a config.json, and the tensors of its weight files. Output: the
tensors under their published names, which are expanded when they are read. Of a matrix X:

    pack-quantized   X.weight_packed int32 [out, in / 8], X.weight_scale [out, in / group],
                     X.weight_shape int64 [2]; 4 bits, plus 8, low ones first
    int-quantized    X.weight int8 [out, in], X.weight_scale [out, 1]
    float-quantized  X.weight float8_e4m3fn, X.weight_scale [out, 1] or one per block of 128 x 128

What is written about activations is for engines that round them too; here they stay as they are.
Format: https://github.com/vllm-project/compressed-tensors.

Not here: writing (export/compressed.py); zero points, other widths and g_idx, which are refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codling.checkpoint.safetensors_file import SafeTensor
from codling.core.errors import CheckpointError

PACK_FORMAT = "pack-quantized"
FORMATS = (PACK_FORMAT, "int-quantized", "float-quantized")
_METHOD = "compressed-tensors"
_PACKED, _SCALE, _SHAPE, _WEIGHT = ".weight_packed", ".weight_scale", ".weight_shape", ".weight"
BLOCK = 128
"""Rows and columns of a block of fp8 weights with one scale."""
_PIECE_NUMBERS = 1 << 20
"""Codes that are packed at a time: on the way each takes eight bytes."""
_PER_WORD = 8
_OFFSET = 8
_ROWS_AT_A_TIME = 256


def is_compressed(settings: Mapping[str, Any], where: str) -> bool:
    """Whether a config.json says that its weights are quantised in a way that we read.

    Raises CheckpointError for every other way.
    """
    found = settings.get("quantization_config")
    if not found:
        return False
    if not isinstance(found, dict) or found.get("quant_method") != _METHOD:
        raise CheckpointError(
            f"{where}: quantization_config {repr(found)[:200]} is not supported, only None and "
            f"{_METHOD}"
        )
    if found.get("format") not in FORMATS:
        raise CheckpointError(
            f"{where}: {_METHOD} in format {str(found.get('format'))[:60]} is not supported, only "
            f"{', '.join(FORMATS)}"
        )
    return True


@dataclass(frozen=True)
class QuantizedTensor:
    """A matrix that is expanded when it is read."""

    name: str
    stored: SafeTensor
    scale: SafeTensor
    shape: tuple[int, ...]
    tile: tuple[int, int]
    """Rows and columns that share a scale."""

    @property
    def dtype(self) -> torch.dtype:
        """The type to expand to when nobody asks for one."""
        return torch.bfloat16

    @property
    def where(self) -> str:
        """For messages: the file."""
        return self.stored.where

    def map_as(self, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        """None: the numbers must be expanded."""
        return None

    def codes(self) -> tuple[Tensor, Tensor] | None:
        """The integers [out, in] and a scale per row and group [out, in / group], as stored; None
        for fp8."""
        if self.tile[0] != 1 or self.stored.dtype not in (torch.int32, torch.int8):
            return None
        scale = torch.empty(self.scale.shape)
        self.scale.copy_into(scale)
        stored = self.stored.view()
        return unpack(stored) if stored.dtype == torch.int32 else stored, scale

    def copy_into(self, out: Tensor) -> None:
        """Some rows at a time: never the whole matrix in fp32 beside `out`."""
        scale = torch.empty(self.scale.shape)
        self.scale.copy_into(scale)
        stored, (height, width) = self.stored.view(), self.tile
        for first in range(0, self.shape[0], _ROWS_AT_A_TIME):
            rows = stored[first : first + _ROWS_AT_A_TIME]
            numbers = unpack(rows) if stored.dtype == torch.int32 else rows
            of_row = torch.arange(first, first + len(rows)) // height
            expanded = scale_up(numbers.float(), scale[of_row], width)
            if not expanded.isfinite().all():
                raise CheckpointError(f"{self.where}: tensor {self.stored.name} holds NaN")
            out[first : first + len(rows)] = expanded


def unpack(words: Tensor) -> Tensor:
    """The signed numbers of 4 bits in words of 32: [out, in / 8] to [out, in].

    >>> unpack(torch.tensor([[0x76543210 + 0x08888888]], dtype=torch.int32)).tolist()
    [[0, 1, 2, 3, 4, 5, 6, -1]]
    """
    shifts = torch.arange(0, 32, 4, dtype=torch.int32)
    numbers = words.unsqueeze(-1) >> shifts & 15
    return numbers.flatten(-2) - _OFFSET


def pack(codes: Tensor) -> Tensor:
    """`unpack` the other way, for whole words.

    >>> unpack(pack(torch.arange(-8, 8)[None])).tolist() == [list(range(-8, 8))]
    True
    """
    step = max(1, _PIECE_NUMBERS // codes.shape[-1])
    return torch.cat([_pack_rows(rows) for rows in torch.split(codes, step)])


def _pack_rows(codes: Tensor) -> Tensor:
    parts = (codes.to(torch.int64) + _OFFSET).view(*codes.shape[:-1], -1, _PER_WORD)
    words: Tensor = (parts << torch.arange(0, 32, 4)).sum(-1)
    return words.where(words < 1 << 31, words - (1 << 32)).to(torch.int32)


def scale_up(rows: Tensor, scale: Tensor, width: int) -> Tensor:
    """Each number times the scale of its group of `width` columns; the last may be narrower."""
    return rows * scale.repeat_interleave(width, 1)[:, : rows.shape[1]]


def expand_names(stored: Iterable[SafeTensor]) -> Iterator[SafeTensor | QuantizedTensor]:
    """The tensors of a compressed checkpoint under their published names.

    Raises CheckpointError where the parts of a matrix do not fit together.
    """
    tensors = {tensor.name: tensor for tensor in stored}
    for name, tensor in tensors.items():
        base, _, ending = name.rpartition(".")
        scale = tensors.get(base + _SCALE)
        if name.endswith((_SCALE, _SHAPE)):
            _check_partner(tensor, tensors, base)
        elif ending == "weight_packed" or (ending == "weight" and scale is not None):
            yield _join_parts(base, tensor, scale)
        elif tensor.dtype not in _PLAIN:
            raise CheckpointError(
                f"{tensor.where}: tensor {name} has type {tensor.dtype} and no scale; zero points "
                "and g_idx are not supported"
            )
        else:
            yield tensor


_PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def _check_partner(tensor: SafeTensor, tensors: Mapping[str, SafeTensor], base: str) -> None:
    if base + _PACKED not in tensors and base + _WEIGHT not in tensors:
        raise CheckpointError(f"{tensor.where}: tensor {tensor.name} belongs to no weight")


def _join_parts(base: str, stored: SafeTensor, scale: SafeTensor | None) -> QuantizedTensor:
    packed = stored.dtype == torch.int32
    if (
        scale is None
        or scale.dtype not in _PLAIN
        or len(stored.shape) != 2
        or len(scale.shape) != 2
    ):
        raise CheckpointError(f"{stored.where}: tensor {stored.name} has no matrix of scales")
    if packed != stored.name.endswith(_PACKED) or stored.dtype in _PLAIN:
        raise CheckpointError(f"{stored.where}: tensor {stored.name} has type {stored.dtype}")
    shape = (stored.shape[0], stored.shape[1] * (_PER_WORD if packed else 1))
    tile = _tile(shape, scale.shape, packed=packed)
    if tile is None:
        raise CheckpointError(
            f"{stored.where}: {scale.name} of shape {list(scale.shape)} does not fit a matrix of "
            f"shape {list(shape)}"
        )
    return QuantizedTensor(base + _WEIGHT, stored, scale, shape, tile)


def _tile(
    shape: tuple[int, ...], scales: tuple[int, ...], *, packed: bool
) -> tuple[int, int] | None:
    """Rows and columns that share a scale, if so many scales are possible.

    >>> _tile((192, 256), (192, 2), packed=True), _tile((192, 256), (2, 2), packed=False)
    ((1, 128), (128, 128))
    """
    rows, columns = shape
    if scales[0] == rows and scales[1] and (packed or scales[1] == 1):
        return (1, columns // scales[1]) if columns % scales[1] == 0 else None
    blocks = (-(-rows // BLOCK), -(-columns // BLOCK))
    return (BLOCK, BLOCK) if not packed and scales == blocks else None
