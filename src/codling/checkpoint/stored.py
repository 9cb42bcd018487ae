"""What every file format gives, a tensor that can be read, and takes, one that will be.

Not here: the formats (safetensors_file.py, gguf.py, compressed.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
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


@dataclass(frozen=True)
class PublishedTensor:
    """A tensor under its published name, which is read when it is asked for."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    dtype: torch.dtype | None = None
    """Its type in the file, where that is not the one of the whole file."""

    @property
    def n_numbers(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    def n_bytes(self, dtype: torch.dtype) -> int:
        """What it takes in a file whose type is `dtype`."""
        return self.n_numbers * (self.dtype or dtype).itemsize
