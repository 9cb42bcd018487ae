"""Reading a GGUF file through a memory map: metadata, and tensors dequantised row by row.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Blocks: the `gguf` package.

Not here: what the metadata means for a model (gguf.py) and for a tokenizer (tokens/).
"""

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from torch import Tensor

from codling.core.errors import CheckpointError
from codling.core.foreign_files import open_regular

_MAGIC = b"GGUF"
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_MAX_HEADER_BYTES = 1 << 28
"""Of metadata and tensor names; the largest known vocabularies take 20 MB."""
_MAX_COUNT = 1 << 24
_MAX_NESTING = 2
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
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

    def map_as(self, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        """None: the stored type is rarely one to compute with."""
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

    @property
    def block_bytes(self) -> int:
        """Bytes of a stored block."""
        return int(GGML_QUANT_SIZES[self.kind][1])

    @property
    def not_finite(self) -> str:
        """What is wrong with a tensor whose scales or numbers are no numbers."""
        return (
            f"{self.path}: tensor {self.name} holds NaN or infinities, in its numbers "
            "or in the scales of its blocks; download the file again"
        )

    def raw_rows(self, first: int, n_rows: int) -> npt.NDArray[np.uint8]:
        """Stored rows of a matrix as they are, [n_rows, row_bytes], in the map."""
        begin, count = self.begin + first * self.row_bytes, n_rows * self.row_bytes
        raw = np.frombuffer(self.data, dtype=np.uint8, count=count, offset=begin)
        return raw.reshape(n_rows, self.row_bytes)

    def release_rows(self, first: int, n_rows: int) -> None:
        """Give the pages of stored rows back to the file."""
        begin = self.begin + first * self.row_bytes
        page = begin // mmap.PAGESIZE * mmap.PAGESIZE
        self.data.madvise(mmap.MADV_DONTNEED, page, begin + n_rows * self.row_bytes - page)

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
            raw = self.raw_rows(first, min(step, n_rows - first))
            # As one long row: blocks know no rows, and gguf takes 16 rows at a time.
            with np.errstate(all="ignore"):
                numbers = dequantize(raw.reshape(1, -1), self.kind)
                # The sum of finite numbers may be infinite: only then each is checked.
                if not np.isfinite(numbers.sum()) and not np.isfinite(numbers).all():
                    raise CheckpointError(self.not_finite)
            yield first, numbers.reshape(-1, self.shape[-1])
            self.release_rows(first, len(raw))


@dataclass(frozen=True)
class GgufFile:
    """Metadata and tensors of a file; the tensors still have GGUF's names."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


_held: WeakValueDictionary[tuple[str, int, int, int], GgufFile] = WeakValueDictionary()
"""The files that somebody holds, by path, inode, size and time of the last change."""


def read_gguf_metadata(path: Path) -> dict[str, Any]:
    """The key-value pairs of a GGUF file, arrays as lists; CheckpointError if it is none."""
    return read_gguf(path).metadata


def read_gguf(path: Path) -> GgufFile:
    """Metadata and tensors; CheckpointError if the file is not GGUF, cut short or damaged.

    As long as somebody holds what this gave, it is given again and not read twice: a vocabulary
    takes a third of a second.
    """
    with open_regular(path, CheckpointError) as file:
        found = os.fstat(file.fileno())
        size = found.st_size
        key = (str(path), found.st_ino, size, found.st_mtime_ns)
        if (held := _held.get(key)) is not None:
            return held
        # A private map is writable for numpy and torch, and the file never changes.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
    if data is None or data[:4] != _MAGIC:
        raise CheckpointError(f"{path} is not a GGUF file")
    try:
        read = _held[key] = _parse(path, _ByteCursor(data))
    except _DamageError as wrong:
        raise CheckpointError(
            f"{path} is cut short or damaged: {wrong}; download it again"
        ) from None
    return read


class _DamageError(Exception):
    """What is wrong with the bytes of a file."""


class _ByteCursor:
    """Reads values one after the other; _DamageError where one cannot be right."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 4

    def take(self, n_bytes: int, what: str) -> int:
        """Step over `n_bytes`; returns where they begin."""
        if n_bytes > min(len(self.data), _MAX_HEADER_BYTES) - self.at:
            raise _DamageError(f"{what} at byte {self.at:,} reaches past the end of the file")
        self.at += n_bytes
        return self.at - n_bytes

    def number(self, code: str) -> Any:  # noqa: ANN401
        layout = "<" + code
        (value,) = struct.unpack_from(
            layout, self.data, self.take(struct.calcsize(layout), "a number")
        )
        return value

    def count(self, what: str, least_bytes: int) -> int:
        """How many items of `what` follow, each of at least `least_bytes`."""
        count: int = self.number("Q")
        if count * least_bytes > len(self.data) - self.at or count > _MAX_COUNT:
            raise _DamageError(f"{count:,} {what} at byte {self.at:,} do not fit into the file")
        return count

    def text(self) -> str:
        length = self.number("Q")
        begin = self.take(length, "a text")
        return self.data[begin : self.at].decode("utf-8", errors="replace")

    def texts(self, n_texts: int) -> list[str]:
        """Many texts. A vocabulary has hundreds of thousands: no call for each."""
        limit, at, length_at = min(len(self.data), _MAX_HEADER_BYTES), self.at, _LENGTH.unpack_from
        texts = []
        for _ in range(n_texts):
            begin = at + _LENGTH.size
            at = begin + length_at(self.data, at)[0] if begin <= limit else begin
            if at > limit:
                raise _DamageError(f"a text at byte {begin:,} reaches past the end of the file")
            texts.append(self.data[begin:at].decode("utf-8", errors="replace"))
        self.at = at
        return texts

    def value(self, kind: int, depth: int = 0) -> Any:  # noqa: ANN401
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            if kind not in _SCALARS:
                raise _DamageError(f"a value at byte {self.at:,} has the unknown type {kind}")
            return self.number(_SCALARS[kind])
        if depth == _MAX_NESTING:
            raise _DamageError(f"arrays at byte {self.at:,} are nested more than {depth} deep")
        element = self.number("I")
        if element == _STRING:
            return self.texts(self.count("values", _LENGTH.size))
        if element == _ARRAY:
            return [self.value(element, depth + 1) for _ in range(self.count("values", 12))]
        if element not in _SCALARS:
            raise _DamageError(f"an array at byte {self.at:,} has the unknown type {element}")
        n_values = self.count("values", struct.calcsize(_SCALARS[element]))
        layout = f"<{n_values}{_SCALARS[element]}"
        begin = self.take(struct.calcsize(layout), "an array")
        return list(struct.unpack_from(layout, self.data, begin))


def _parse(path: Path, cursor: _ByteCursor) -> GgufFile:
    _check_version(path, cursor.number("I"))
    n_tensors = cursor.count("tensors", 8 + 4 + 8 + 4 + 8)
    n_pairs = cursor.count("settings", 8 + 4 + 1)
    metadata: dict[str, Any] = {}
    for _ in range(n_pairs):
        key = cursor.text()
        if key in metadata:
            raise _DamageError(f"the setting {key[:60]} appears twice")
        metadata[key] = cursor.value(cursor.number("I"))
    entries = [_entry(cursor) for _ in range(n_tensors)]
    alignment = _alignment(metadata)
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, shape, kind, offset in entries:
        if name in tensors:
            raise _DamageError(f"tensor {name} appears twice")
        known = _parse_kind(path, name, kind)
        if shape[-1] % GGML_QUANT_SIZES[known][0]:
            raise _DamageError(
                f"tensor {name} has rows of {shape[-1]:,}, which are not a whole number of blocks"
            )
        if offset % alignment:
            raise _DamageError(f"tensor {name} is not aligned to {alignment} bytes")
        tensors[name] = GgufTensor(name, path, shape, known, cursor.data, start + offset)
    _check_places(list(tensors.values()), len(cursor.data))
    return GgufFile(path, metadata, tensors)


def _check_version(path: Path, version: int) -> None:
    if version and version & 0xFFFF == 0:
        raise CheckpointError(
            f"{path} is a big-endian GGUF file; convert it with gguf-py's gguf-convert-endian "
            "(FILE little)"
        )
    if version not in (2, 3):
        raise CheckpointError(f"{path} has GGUF version {version}; supported are 2 and 3")


def _alignment(metadata: dict[str, Any]) -> int:
    value = metadata.get("general.alignment", 32)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _DamageError(f"general.alignment is {str(value)[:60]}")
    if not 1 <= value <= _MAX_ALIGNMENT or value & (value - 1):
        raise _DamageError(f"general.alignment is {value}, not a power of two")
    return value


def _parse_kind(path: Path, name: str, kind: int) -> GGMLQuantizationType:
    try:
        return GGMLQuantizationType(kind)
    except ValueError:
        raise CheckpointError(f"{path}: tensor {name} has the unknown type {kind}") from None


def _check_places(tensors: list[GgufTensor], size: int) -> None:
    """Every tensor lies in the file, and none overlaps another."""
    free, before = 0, ""
    for tensor in sorted(tensors, key=lambda t: t.begin):
        if tensor.begin + tensor.n_bytes > size:
            raise _DamageError(f"tensor {tensor.name} ends after the end of the file")
        if tensor.begin < free:
            raise _DamageError(f"tensors {before} and {tensor.name} overlap")
        free, before = tensor.begin + tensor.n_bytes, tensor.name


def _entry(cursor: _ByteCursor) -> tuple[str, tuple[int, ...], int, int]:
    name, n_dimensions = cursor.text(), cursor.number("I")
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise _DamageError(f"tensor {name[:60]} has {n_dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))
    if not all(0 < n <= len(cursor.data) * 8 for n in shape):
        raise _DamageError(f"tensor {name[:60]} has the shape {list(shape[::-1])}")
    # GGUF names the fastest dimension first.
    return name, shape[::-1], cursor.number("I"), cursor.number("Q")
