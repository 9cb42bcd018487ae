"""What every file format gives: a tensor that can be read.

Not here: the formats (safetensors_file.py, gguf.py, compressed.py).
"""

from typing import Protocol

import torch
from torch import Tensor


class StoredTensor(Protocol):
    """A tensor in a file, under its published name."""

    @property
    def name(self) -> str:
        """Published name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the model."""

    @property
    def dtype(self) -> torch.dtype:
        """Stored type, or the one that it is naturally expanded to."""

    @property
    def where(self) -> str:
        """For messages: the file."""

    def map_as(self, dtype: torch.dtype) -> Tensor | None:
        """The tensor without a copy, or None if it must be converted."""

    def copy_into(self, out: Tensor) -> None:
        """Convert into `out`."""
