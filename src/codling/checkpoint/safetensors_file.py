"""Reading a safetensors file through a memory map, tensor by tensor.

A tensor whose stored type is the wanted one is used where it lies in the map; any other is
converted into its place and its pages are given back, so that the weights are never resident twice.

Format: 8 bytes little-endian n, n bytes of JSON {name: {dtype, shape, data_offsets}}, then data.

Not here: names and shapes of a model's tensors (names.py, load.py).
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from codling.checkpoint.names import is_buffer
from codling.core.errors import CheckpointError
from codling.core.foreign_files import open_regular
from codling.core.foreign_json import parse

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
COMPRESSED_DTYPES = DTYPES | {
    "I8": torch.int8,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
}
"""What compressed checkpoints may hold (compressed.py)."""
_MAX_HEADER_BYTES = 100_000_000
_MAX_DIMENSIONS = 8
_PIECE_BYTES = 1 << 22
"""Bytes that are converted or checked at a time."""


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

    def map_as(self, dtype: torch.dtype) -> Tensor | None:
        """The tensor without a copy, if it is stored in this type and aligned for it."""
        if self.dtype != dtype or self.begin % dtype.itemsize:
            return None
        for _ in self._pieces():
            pass
        return self.view()

    def copy_into(self, out: Tensor) -> None:
        """Convert into `out`, of the same shape, piece by piece, giving the pages back."""
        if self.begin == self.end or self.begin % self.dtype.itemsize:
            whole = self._copy_unaligned()
            self._check_finite(whole)
            out.copy_(whole)
            return
        target = out.view(-1)
        for first, piece in self._pieces():
            target[first : first + len(piece)] = piece

    def _pieces(self) -> Iterator[tuple[int, Tensor]]:
        """The numbers piece by piece, checked, with their places; pages are given back."""
        if self.begin == self.end:
            return
        flat = self.view().view(-1)
        step = _PIECE_BYTES // self.dtype.itemsize
        for first in range(0, len(flat), step):
            piece = flat[first : first + step]
            self._check_finite(piece)
            yield first, piece
            # The range must start on a page. A neighbour on it is not lost: it is read again.
            begin = self.begin + first * self.dtype.itemsize
            page = begin // mmap.PAGESIZE * mmap.PAGESIZE
            end = min(begin + _PIECE_BYTES, self.end)
            self.data.madvise(mmap.MADV_DONTNEED, page, end - page)

    def _check_finite(self, numbers: Tensor) -> None:
        # Ten times as fast as isfinite, which makes a tensor of answers; NaN passes through both.
        if numbers.numel() and not all(isfinite(n) for n in torch.aminmax(numbers)):
            raise CheckpointError(
                f"{self.path}: tensor {self.name} holds NaN or infinities; download the file again"
            )

    def _copy_unaligned(self) -> Tensor:
        raw = bytearray(self.data[self.begin : self.end])
        return torch.frombuffer(raw, dtype=self.dtype).view(self.shape) if raw else self.view()


def read_safetensors(path: Path, dtypes: Mapping[str, torch.dtype] = DTYPES) -> list[SafeTensor]:
    """The tensors of a file; CheckpointError if it is damaged or holds types beside `dtypes`.

    As the format demands, the tensors fill the file without holes or overlaps. Buffers that models
    compute themselves are left out, whatever their type.
    """
    with open_regular(path, CheckpointError) as file:
        size = os.fstat(file.fileno()).st_size
        # A private map: parameters may be written to, the file never changes.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
    if data is None or size < 8:
        raise CheckpointError(f"{path} is empty; download the checkpoint again")
    length = int.from_bytes(data[:8], "little")
    if length > min(size - 8, _MAX_HEADER_BYTES):
        raise CheckpointError(f"{path} is not a safetensors file, or it is cut short")
    where = f"{path}: its header"
    header = parse(data[8 : 8 + length], where, CheckpointError, cure="download it again")
    if not isinstance(header, dict):
        raise CheckpointError(f"{where} is not an object; download it again")
    entries = [_entry(path, n, e, dtypes) for n, e in header.items() if n != "__metadata__"]
    _check_places(path, entries, size - 8 - length)
    start = 8 + length
    return [
        SafeTensor(e.name, path, e.shape, dtypes[e.code], data, start + e.begin, start + e.end)
        for e in entries
        if not is_buffer(e.name)
    ]


@dataclass(frozen=True)
class _TensorEntry:
    """One tensor as the header describes it, its place counted from the end of the header."""

    name: str
    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _entry(path: Path, name: str, entry: object, dtypes: Mapping[str, torch.dtype]) -> _TensorEntry:
    found = entry if isinstance(entry, dict) else {}
    code, shape, place = (found.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not (_are_counts(shape) and _are_counts(place) and len(place) == 2):
        raise CheckpointError(
            f"{path}: its header is damaged at tensor {name[:60]}; download it again"
        )
    dtype = dtypes.get(str(code))
    if dtype is None and not is_buffer(name):
        raise CheckpointError(
            f"{path}: tensor {name} has type {str(code)[:20]}; supported are {', '.join(dtypes)}"
        )
    tensor = _TensorEntry(name, str(code), tuple(shape), *place)
    n_bytes = tensor.end - tensor.begin
    fits = n_bytes >= 0 if dtype is None else n_bytes == prod(shape) * dtype.itemsize
    if not fits:
        raise CheckpointError(
            f"{path}: tensor {name} does not fit into its place; the file is damaged"
        )
    return tensor


def _are_counts(value: object) -> TypeGuard[list[int]]:
    """Whether this is a short list of whole numbers from 0."""
    return (
        isinstance(value, list)
        and len(value) <= _MAX_DIMENSIONS
        and all(type(n) is int and 0 <= n < 1 << 63 for n in value)
    )


def _check_places(path: Path, entries: list[_TensorEntry], size: int) -> None:
    """The tensors fill the file: each begins where the one before it ends."""
    at = 0
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        if entry.begin != at or entry.end > size:
            raise CheckpointError(
                f"{path}: tensor {entry.name} does not fit into the file, which is cut short or "
                "damaged"
            )
        at = entry.end
    if at != size:
        raise CheckpointError(f"{path} has {size - at:,} bytes after its tensors; it is damaged")
