"""Reading a GGUF file through a memory map: metadata, and tensors dequantised row by row.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Blocks: the `gguf` package.

Not here: what the metadata means for a model (gguf.py) and for a tokenizer (tokens/).
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from torch import Tensor

from codling.core.errors import CheckpointError

_MAGIC = b"GGUF"
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
_CHUNK_NUMBERS = 1 << 18
"""Numbers dequantised at a time: 1 MiB in fp32 stays in the processor's cache."""


@dataclass(frozen=True)
class GgufTensor:
    """One tensor, or some rows of one, of a mapped file."""

    name: str
    path: Path
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    data: mmap.mmap
    begin: int
    rows: Tensor | None = field(default=None, compare=False)
    """Where in the model each stored row goes; None keeps their order."""

    @property
    def dtype(self) -> torch.dtype:
        """The type to expand to when nobody asks for one."""
        return torch.bfloat16

    @property
    def where(self) -> str:
        """For messages: the file."""
        return str(self.path)

    @property
    def row_bytes(self) -> int:
        """Bytes of one stored row (the last dimension)."""
        block, block_bytes = GGML_QUANT_SIZES[self.kind]
        return int(self.shape[-1] // block * block_bytes)

    @property
    def n_bytes(self) -> int:
        """Bytes of the stored tensor."""
        return prod(self.shape[:-1]) * self.row_bytes

    def mapped(self, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        """None: what is stored is seldom of a type to compute with."""
        return None

    def copy_into(self, out: Tensor) -> None:
        """Dequantise into `out`, of the same shape, and give the pages back."""
        flat = out.view(-1, out.shape[-1])
        for first, numbers in self._chunks(flat.shape[0]):
            chunk = torch.from_numpy(numbers)
            if self.rows is None:
                flat[first : first + len(numbers)] = chunk
            else:
                flat[self.rows[first : first + len(numbers)]] = chunk.to(flat)

    def numbers(self) -> Tensor:
        """The whole tensor in fp32."""
        out = torch.empty(self.shape)
        self.copy_into(out)
        return out

    def slices(self, names: list[str]) -> list["GgufTensor"]:
        """The tensor cut along its first dimension, for example into experts."""
        step = self.n_bytes // self.shape[0]
        return [
            GgufTensor(n, self.path, self.shape[1:], self.kind, self.data, self.begin + i * step)
            for i, n in enumerate(names)
        ]

    def _chunks(self, n_rows: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        step = max(1, _CHUNK_NUMBERS // self.shape[-1])
        for first in range(0, n_rows, step):
            begin = self.begin + first * self.row_bytes
            count = min(step, n_rows - first) * self.row_bytes
            raw = np.frombuffer(self.data, dtype=np.uint8, count=count, offset=begin)
            # As one long row: blocks know no rows, and gguf takes 16 rows at a time.
            numbers = dequantize(raw.reshape(1, -1), self.kind)
            yield first, numbers.reshape(-1, self.shape[-1])
            page = begin // mmap.PAGESIZE * mmap.PAGESIZE
            self.data.madvise(mmap.MADV_DONTNEED, page, begin + count - page)


@dataclass(frozen=True)
class GgufFile:
    """Metadata and tensors of a file; the tensors still bear GGUF's names."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf_metadata(path: Path) -> dict[str, Any]:
    """The key-value pairs of a GGUF file, arrays as lists; CheckpointError if it is none."""
    return read_gguf(path).metadata


def read_gguf(path: Path) -> GgufFile:
    """Metadata and tensors; CheckpointError if the file is no GGUF, cut short or damaged."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            # A private map is writable for numpy and torch, and the file never changes.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    if data is None or data[:4] != _MAGIC:
        raise CheckpointError(f"{path} is no GGUF file")
    try:
        return _parse(path, _Cursor(data))
    except (struct.error, UnicodeDecodeError, IndexError, KeyError, MemoryError):
        raise CheckpointError(f"{path} is cut short or damaged; download it again") from None


class _Cursor:
    """Reads values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 4

    def number(self, code: str) -> Any:  # noqa: ANN401
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        length = self.number("Q")
        if self.at + length > len(self.data):
            raise IndexError(length)
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:  # noqa: ANN401
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        element, count = self.number("I"), self.number("Q")
        if element in (_STRING, _ARRAY):
            return [self.value(element) for _ in range(count)]
        values = struct.unpack_from(f"<{count}{_SCALARS[element]}", self.data, self.at)
        self.at += struct.calcsize(f"<{count}{_SCALARS[element]}")
        return list(values)


def _parse(path: Path, cursor: _Cursor) -> GgufFile:
    version = cursor.number("I")
    if version not in (2, 3):
        raise CheckpointError(f"{path} has GGUF version {version}; supported are 2 and 3")
    n_tensors, n_pairs = cursor.number("Q"), cursor.number("Q")
    metadata = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(n_pairs)}
    entries = [_entry(cursor) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, shape, kind, offset in entries:
        try:
            known = GGMLQuantizationType(kind)
        except ValueError:
            raise CheckpointError(f"{path}: tensor {name} has the unknown type {kind}") from None
        tensor = GgufTensor(name, path, shape, known, cursor.data, start + offset)
        if tensor.begin + tensor.n_bytes > len(cursor.data):
            raise CheckpointError(
                f"{path}: tensor {name} lies beyond the end; the file is cut short"
            )
        tensors[name] = tensor
    return GgufFile(path, metadata, tensors)


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, n_dimensions = cursor.text(), cursor.number("I")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))
    # GGUF names the fastest dimension first.
    return name, shape[::-1], cursor.number("I"), cursor.number("Q")
