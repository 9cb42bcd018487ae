"""Reading a safetensors file through a memory map, tensor by tensor.

A tensor whose stored type is the wanted one is used where it lies in the map; any other is
converted into its place and its pages are given back, so that the weights are never resident twice.

Format: 8 bytes little-endian n, n bytes of JSON {name: {dtype, shape, data_offsets}}, then data.

Not here: names and shapes of a model's tensors (names.py, load.py).
"""

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codling.core.errors import CheckpointError
from codling.core.foreign_json import parse

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_MAX_HEADER_BYTES = 100_000_000
_PIECE_BYTES = 1 << 22
"""Converted at a time."""


@dataclass(frozen=True)
class SafeTensor:
    """One tensor of a mapped file."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    data: mmap.mmap
    begin: int
    end: int

    @property
    def where(self) -> str:
        """For messages: the file."""
        return str(self.path)

    def view(self) -> Tensor:
        """The tensor where it lies in the map; changes to it stay in memory."""
        if self.begin == self.end:
            return torch.empty(self.shape, dtype=self.dtype)
        count = prod(self.shape)
        flat = torch.frombuffer(self.data, dtype=self.dtype, count=count, offset=self.begin)
        return flat.view(self.shape)

    def mapped(self, dtype: torch.dtype) -> Tensor | None:
        """The tensor without a copy, if it is stored in this type and aligned for it."""
        aligned = self.begin % dtype.itemsize == 0
        return self.view() if self.dtype == dtype and aligned else None

    def copy_into(self, out: Tensor) -> None:
        """Convert into `out`, of the same shape, piece by piece, giving the pages back."""
        if self.begin == self.end or self.begin % self.dtype.itemsize:
            out.copy_(self._unaligned())
            return
        source = self.view().view(self.shape[0] if self.shape else 1, -1)
        target = out.view(source.shape)
        row_bytes = source.shape[1] * self.dtype.itemsize
        step = max(1, _PIECE_BYTES // row_bytes)
        for row in range(0, source.shape[0], step):
            target[row : row + step] = source[row : row + step]
            # The range must start on a page. A neighbour on it is not lost: it is read again.
            begin = self.begin + row * row_bytes
            first = begin // mmap.PAGESIZE * mmap.PAGESIZE
            end = min(begin + step * row_bytes, self.end)
            self.data.madvise(mmap.MADV_DONTNEED, first, end - first)

    def _unaligned(self) -> Tensor:
        raw = bytearray(self.data[self.begin : self.end])
        return torch.frombuffer(raw, dtype=self.dtype).view(self.shape) if raw else self.view()


def read_safetensors(path: Path) -> list[SafeTensor]:
    """The tensors of a file; CheckpointError if it is damaged or holds types we do not read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            # A private map: parameters may be written to, the file never changes.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; download the checkpoint again") from None
    if data is None or size < 8:
        raise CheckpointError(f"{path} is empty; download the checkpoint again")
    length = int.from_bytes(data[:8], "little")
    if length > min(size - 8, _MAX_HEADER_BYTES):
        raise CheckpointError(f"{path} is no safetensors file, or it is cut short")
    try:
        header = parse(data[8 : 8 + length], f"{path}: its header", CheckpointError)
        entries = {n: e for n, e in header.items() if n != "__metadata__"}
        return [_entry(path, data, 8 + length, n, e) for n, e in entries.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path} has a damaged header; download it again") from None


def _entry(path: Path, data: mmap.mmap, start: int, name: str, entry: dict[str, Any]) -> SafeTensor:
    code, shape = entry["dtype"], tuple(int(n) for n in entry["shape"])
    if code not in DTYPES:
        raise CheckpointError(
            f"{path}: tensor {name} has type {code}; supported are {', '.join(DTYPES)}"
        )
    begin, end = (start + int(n) for n in entry["data_offsets"])
    if end > len(data) or begin < start or end - begin != prod(shape) * DTYPES[code].itemsize:
        raise CheckpointError(
            f"{path}: tensor {name} does not fit into the file, which is cut short or damaged"
        )
    return SafeTensor(name, path, shape, DTYPES[code], data, begin, end)
