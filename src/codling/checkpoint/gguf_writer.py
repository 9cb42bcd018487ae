"""Writing a GGUF file, tensor by tensor, each in pieces: a large model needs little memory.

Input: metadata as plain values, and tensors of known shape and type whose bytes come in pieces.
Output: a file of version 3, whole or absent.

    u32 magic, u32 version, u64 tensors, u64 settings
    settings    text key, u32 type, value
    tensors     text name, u32 dimensions, u64 each (the fastest first), u32 type, u64 offset
    data        each tensor begins at a multiple of 32 bytes

Not here: reading (gguf_file.py), what a model's metadata and tensors are called (export/).
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from codling.core.files import replace_file

GgufValue = str | bool | int | float | Sequence[str] | Sequence[int]
"""Numbers are stored in 32 bits (whole ones unsigned, in lists signed), as llama.cpp reads them."""
_MAGIC, _VERSION, _ALIGNMENT = b"GGUF", 3, 32


@dataclass(frozen=True)
class TensorToWrite:
    """One tensor: its place in the file is known before its bytes are."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    pieces: Callable[[], Iterable[npt.NDArray[np.uint8]]]
    """Its bytes, in order."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the stored tensor."""
        block, block_bytes = GGML_QUANT_SIZES[self.kind]
        return prod(self.shape) // block * block_bytes


def write_gguf(
    path: Path, metadata: Mapping[str, GgufValue], tensors: Sequence[TensorToWrite]
) -> None:
    """Write the file, complete or not at all."""
    with replace_file(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_text(key) + _encode(value))
        file.writelines(_entries(tensors))
        for tensor in tensors:
            _align(file)
            begin = file.tell()
            for piece in tensor.pieces():
                file.write(np.ascontiguousarray(piece).data)
            assert file.tell() - begin == tensor.n_bytes, tensor.name
        _align(file)


def _entries(tensors: Sequence[TensorToWrite]) -> Iterator[bytes]:
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]
        layout = f"<I{len(sizes)}QIQ"
        yield _text(tensor.name) + struct.pack(layout, len(sizes), *sizes, tensor.kind, offset)
        offset += -(-tensor.n_bytes // _ALIGNMENT) * _ALIGNMENT


def _align(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % _ALIGNMENT))


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _encode(value: GgufValue) -> bytes:
    """The number of the type, and the value.

    >>> _encode(True), _encode(7)
    (b'\\x07\\x00\\x00\\x00\\x01', b'\\x04\\x00\\x00\\x00\\x07\\x00\\x00\\x00')
    """
    if isinstance(value, str):
        return struct.pack("<I", GGUFValueType.STRING) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", GGUFValueType.BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", GGUFValueType.UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", GGUFValueType.FLOAT32, value)
    numbers = [v for v in value if not isinstance(v, str)]
    kind = GGUFValueType.INT32 if numbers else GGUFValueType.STRING
    head = struct.pack("<IIQ", GGUFValueType.ARRAY, kind, len(value))
    if numbers:
        return head + struct.pack(f"<{len(numbers)}i", *numbers)
    return head + b"".join(_text(v) for v in value if isinstance(v, str))
