"""How much each column of each matrix matters: files that llama-imatrix writes and llama-quantize
reads, in both forms.

Input: a file, or what calibration measured. Output: the other. Per matrix it is the mean square of
each number that the matrix is multiplied with; a stack of experts has a row for each.

    gguf    tensors NAME.in_sum2 [matrices, columns] and NAME.counts [matrices, 1]
    legacy  i32 entries; each: i32 length, name, i32 calls, i32 count, f32 sums

Not here: measuring (calibrate.py), what the numbers are used for (block_types.py).
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from codling.checkpoint.gguf_file import read_gguf
from codling.checkpoint.gguf_writer import GgufValue, TensorToWrite, write_gguf
from codling.core.errors import CheckpointError, name_faults
from codling.core.foreign_files import open_regular
from codling.export.gguf_tensors import GgufPart

Floats = NDArray[np.float32]

_MAX_BYTES = 1 << 30
_MAX_NAME = 256
_BLOCK = re.compile(r"blk\.(\d{1,6})\.")
_SUM, _COUNTS = ".in_sum2", ".counts"
_CURE = "make it again with --calibrate, or with llama-imatrix"


@dataclass(frozen=True)
class Importance:
    """Of one tensor of a GGUF file: sums of squares [matrices, columns] over `counts` tokens."""

    sums: Floats
    counts: Floats

    def of_matrix(self, index: int) -> Floats:
        """The mean square per column of one matrix; ones where it was never used."""
        count = float(self.counts[min(index, len(self.counts) - 1)])
        if count <= 0:
            return np.ones(self.sums.shape[1], np.float32)
        return np.asarray(self.sums[index] / np.float32(count), np.float32)


def write_imatrix(path: Path, found: Mapping[str, Importance], n_chunks: int, length: int) -> None:
    """Write the GGUF form; `n_chunks` windows of `length` tokens were measured."""
    metadata: dict[str, GgufValue] = {
        "general.type": "imatrix",
        "imatrix.datasets": ["codling export --calibrate"],
        "imatrix.chunk_count": n_chunks,
        "imatrix.chunk_size": length,
    }
    tensors = []
    for name, importance in sorted(found.items()):
        tensors.append(_offer(name + _SUM, importance.sums))
        tensors.append(_offer(name + _COUNTS, importance.counts[:, None]))
    write_gguf(path, metadata, tensors)


def _offer(name: str, numbers: Floats) -> TensorToWrite:
    raw = np.ascontiguousarray(numbers, "<f4").view(np.uint8).reshape(-1)
    return TensorToWrite(name, numbers.shape, GGMLQuantizationType.F32, lambda: [raw])


def read_imatrix(path: Path) -> dict[str, Importance]:
    """What a file of either form says of each tensor.

    Raises CheckpointError for anything else.
    """
    with open_regular(path, CheckpointError) as file:
        head = file.read(4)
    with name_faults(path, CheckpointError):
        found = _read_gguf_form(path) if head == b"GGUF" else _read_legacy_form(path)
    for name, importance in found.items():
        if not np.isfinite(importance.sums).all() or (importance.sums < 0).any():
            raise CheckpointError(f"{path}: {name} holds what is no mean of squares; {_CURE}")
    return found


def fit_importance(
    found: Mapping[str, Importance], parts: Sequence[GgufPart]
) -> dict[str, list[Floats]]:
    """The mean squares for each matrix of each tensor of a model, where they are known.

    Raises CheckpointError if they were measured on a model of another shape.
    """
    fitted = {}
    for part in parts:
        importance, n_columns = found.get(part.name), part.shape[-1]
        if importance is None:
            continue
        if importance.sums.size % n_columns:
            raise CheckpointError(
                f"the importance matrix is of another model: its {part.name} has "
                f"{importance.sums.shape[1]:,} columns, the model's {n_columns:,}; {_CURE}"
            )
        rows = Importance(importance.sums.reshape(-1, n_columns), importance.counts)
        if len(rows.sums) == len(part.matrices):
            fitted[part.name] = [rows.of_matrix(i) for i in range(len(part.matrices))]
    _check_blocks(found, [part.name for part in parts])
    if not fitted:
        raise CheckpointError(f"the importance matrix names no tensor of this model; {_CURE}")
    return fitted


def _check_blocks(found: Iterable[str], own: Iterable[str]) -> None:
    """Refuse what was measured on more or fewer blocks."""
    measured, there = _count_blocks(found), _count_blocks(own)
    if measured and measured != there:
        raise CheckpointError(
            f"the importance matrix is of another model: its blocks are {measured:,}, the model's "
            f"{there:,}; {_CURE}"
        )


def _count_blocks(names: Iterable[str]) -> int:
    """
    >>> _count_blocks(["blk.0.attn_q.weight", "blk.3.attn_q.weight", "output.weight"])
    4
    """
    numbers = (match[1] for name in names if (match := _BLOCK.match(name)))
    return max(map(int, numbers), default=-1) + 1


def _read_gguf_form(path: Path) -> dict[str, Importance]:
    tensors = read_gguf(path).tensors
    found = {}
    for name, tensor in tensors.items():
        if not name.endswith(_SUM):
            continue
        base = name.removesuffix(_SUM)
        counts = tensors.get(base + _COUNTS)
        if counts is None:
            raise CheckpointError(f"{path}: {base} has no counts; {_CURE}")
        sums = tensor.numbers().numpy().reshape(-1, tensor.shape[-1])
        per_matrix = counts.numbers().numpy().reshape(-1)
        if len(per_matrix) != len(sums):
            raise CheckpointError(f"{path}: {base} has counts of another shape; {_CURE}")
        found[base] = Importance(sums, per_matrix)
    if not found:
        raise CheckpointError(f"{path} is a GGUF file but no importance matrix; {_CURE}")
    return found


def _read_legacy_form(path: Path) -> dict[str, Importance]:
    if path.stat().st_size > _MAX_BYTES:
        raise CheckpointError(f"{path} is too large for an importance matrix; {_CURE}")
    raw, at = path.read_bytes(), 4
    found = {}
    try:
        (n_entries,) = struct.unpack_from("<i", raw)
        if not 0 < n_entries < 1 << 20:
            raise CheckpointError(f"{path} is no importance matrix; {_CURE}")
        for _ in range(n_entries):
            (length,) = struct.unpack_from("<i", raw, at)
            if not 0 < length <= _MAX_NAME:
                raise CheckpointError(f"{path} is no importance matrix; {_CURE}")
            name = raw[at + 4 : at + 4 + length].decode("utf-8")
            calls, count = struct.unpack_from("<ii", raw, at + 4 + length)
            at += 12 + length
            if count <= 0:
                raise CheckpointError(f"{path}: {name[:60]} has {count} columns; {_CURE}")
            sums = np.frombuffer(raw, "<f4", count, at).astype(np.float32)
            at += 4 * count
            found[name] = Importance(sums[None], np.array([calls], np.float32))
    except (struct.error, ValueError):
        raise CheckpointError(f"{path} is cut short or no importance matrix; {_CURE}") from None
    return found
