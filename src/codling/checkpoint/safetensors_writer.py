"""Writing a safetensors file tensor by tensor: no more than one is in memory.

Input: names, types and shapes, and a function that makes each tensor. Output: the bytes that the
library safetensors writes of the same tensors; it wants all of them at once.

Format: 8 bytes little-endian n, n bytes of JSON {name: {dtype, shape, data_offsets}} filled up with
blanks, then data: the widest types first, so that each number lies at a multiple of its size.

Not here: reading (safetensors_file.py), which tensors a model has (store.py).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import torch

from codling.checkpoint.safetensors_file import COMPRESSED_DTYPES
from codling.checkpoint.stored import PublishedTensor

_NAMES = {dtype: name for name, dtype in COMPRESSED_DTYPES.items()}
_ORDER = ("I64", "F64", "F32", "I32", "BF16", "F16", "F8_E4M3", "I8")
_ALIGNMENT = 8


def write_safetensors(path: Path, tensors: Sequence[PublishedTensor], dtype: torch.dtype) -> None:
    """Write the file; the tensors are read in the order given, wherever in the file they lie.

    ValueError if one has another shape than was said: offsets depend on it.
    """
    types = {tensor.name: tensor.dtype or dtype for tensor in tensors}
    ordered = sorted(tensors, key=lambda each: (_ORDER.index(_NAMES[types[each.name]]), each.name))
    offsets: dict[str, int] = {}
    end = 0
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for each in ordered:
        offsets[each.name], begin = end, end
        end += each.n_bytes(dtype)
        entries[each.name] = {
            "dtype": _NAMES[types[each.name]],
            "shape": each.shape,
            "data_offsets": (begin, end),
        }
    header = _pad(json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode())
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + end)
        for each in tensors:
            file.seek(len(header) + offsets[each.name])
            _write(file, each, types[each.name])


def _pad(text: bytes) -> bytes:
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write(file: BinaryIO, tensor: PublishedTensor, dtype: torch.dtype) -> None:
    read = tensor.read().to("cpu", dtype)
    if tuple(read.shape) != tuple(tensor.shape):
        raise ValueError(f"tensor {tensor.name}: {tuple(read.shape)}, not {tuple(tensor.shape)}")
    if read.numel():
        file.write(read.contiguous().view(-1).view(torch.uint8).numpy().data)
