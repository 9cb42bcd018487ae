"""The cache's memory on a CPU: reserved for every row at its longest, held only where it is in use.

Input: shapes. Output: tensors of zeros over reserved addresses, of whose pages the system holds
those that were written; a row that needs its pages no longer gives them back. So rows of mixed
lengths take what they hold, each row stays contiguous, and the arithmetic needs no block tables.
vAttention (arXiv:2405.04437) does the same on GPUs.

Shapes: N layers, B rows, K heads, S slots, D width. Not here: which row holds what (slots.py).
"""

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from math import gcd, prod

import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.core.memory import available_bytes
from codling.engine.config import CacheForm
from codling.model.cache import KVCache
from codling.model.config import ModelConfig
from codling.model.rounded_cache import RoundedCache, scaled_parts
from codling.model.transformer import Transformer

_PRIVATE_FLAGS = ("MAP_PRIVATE", "MAP_ANONYMOUS")
_NORESERVE = 0x4000
"""Linux's MAP_NORESERVE, which Python names from 3.13 on: addresses beyond the memory there is."""


@dataclass(frozen=True, kw_only=True)
class CacheShape:
    """How many rows a cache has, and how much all of them may hold together."""

    n_rows: int
    """Rows, those of ended requests included, which are kept for prompts that go on."""
    n_streams: int
    """Rows that requests have at a time at most."""
    max_length: int
    """Tokens of one row at most."""
    n_pages: int
    """Pages that all rows together hold at most, enough for one row at its longest."""
    page: int = 1
    """Tokens whose memory is taken and given back together."""
    keeps_side_by_side: bool = False
    """Whether the rows of running requests are moved to lie side by side."""

    @classmethod
    def of_whole_rows(cls, n_rows: int, max_length: int) -> "CacheShape":
        """Every row has the memory of its longest, all the time."""
        return cls(
            n_rows=n_rows,
            n_streams=n_rows,
            max_length=max_length,
            n_pages=n_rows * max_length,
            keeps_side_by_side=True,
        )


def can_reserve(device: torch.device) -> bool:
    """Whether memory can be reserved here without being held."""
    return device.type == "cpu" and os.name == "posix"


def share_out(
    model: Transformer,
    max_streams: int,
    max_length: int | None,
    cache_gib: float,
    form: CacheForm = "auto",
) -> tuple[int, int, int]:
    """Requests at a time, tokens of each at most, and tokens of all that fit into the budget.

    Where each row has the memory of its longest there are four rows or more where possible.
    """
    config = model.config
    per_token = bytes_per_token(config, model.norm.weight.dtype, form)
    n_tokens = int(cache_gib * 2**30 / per_token)
    if can_reserve(model.norm.weight.device):
        length = max_length or min(config.max_position, max(1024, n_tokens))
        _refuse_without_room(config, length)
        return max_streams, length, max(n_tokens, length)
    length = max_length or min(config.max_position, max(1024, n_tokens // 4))
    return max(1, min(max_streams, n_tokens // length)), length, n_tokens


def _refuse_without_room(config: ModelConfig, length: int) -> None:
    """ConfigError if the rotations of so many positions, two float32 tables, do not fit."""
    n_bytes, left = 4 * length * config.rope_dim, available_bytes()
    if left is not None and n_bytes > left:
        raise ConfigError(
            f"a context of {length:,} tokens takes {n_bytes / 2**30:.1f} GiB for its positions and "
            f"{left / 2**30:.1f} GiB of memory are free; lower --max-length"
        )


def bytes_per_token(config: ModelConfig, dtype: torch.dtype, form: CacheForm = "auto") -> int:
    """Memory of a token's keys and values in all layers.

    >>> shape = ModelConfig(hidden_size=256, n_heads=4, n_layers=2)
    >>> bytes_per_token(shape, torch.bfloat16)  # 2 layers x 2 kinds x 4 heads x 64 x 2 bytes
    2048
    >>> bytes_per_token(shape, torch.bfloat16, "int8")  # 64 bytes and a scale of 4 bytes
    1088
    """
    if form == "auto":
        return config.kv_elements_per_token * dtype.itemsize
    return config.kv_elements_per_token + 4 * config.n_layers * _n_scales(config)


def tokens_per_page(config: ModelConfig, dtype: torch.dtype) -> int:
    """How many tokens of one head fill whole pages of the system, at least; `dtype` is that of the
    cache, whose scales are not looked at.

    >>> tokens_per_page(ModelConfig(hidden_size=256, n_heads=4), torch.bfloat16)  # 64 x 2 bytes
    32
    """
    n_bytes = [widths[1] * dtype.itemsize for widths in _heads_and_widths(config)]
    return max(mmap.PAGESIZE // gcd(mmap.PAGESIZE, n) for n in n_bytes)


class ReservedTensor:
    """Zeros [N, B, K, S, D] over addresses of their own, S rounded up to whole pages."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        n_layers, n_rows, n_heads, n_slots, width = shape
        page = mmap.PAGESIZE // gcd(mmap.PAGESIZE, width * dtype.itemsize)
        shape = (n_layers, n_rows, n_heads, -(-n_slots // page) * page, width)
        self._memory = _reserve(prod(shape) * dtype.itemsize)
        count = prod(shape)
        self.tensor: Tensor = torch.frombuffer(self._memory, dtype=dtype, count=count).view(shape)

    def release(self, row: int, start: int, stop: int) -> None:
        """Give the memory of a row's slots from `start` up to `stop` back; they are zero again.

        Only whole pages within them are given back.
        """
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        n_layers, n_rows, n_heads, n_slots, width = self.tensor.shape
        size = width * self.tensor.itemsize
        low = -(-start * size // mmap.PAGESIZE) * mmap.PAGESIZE
        high = min(stop, n_slots) * size // mmap.PAGESIZE * mmap.PAGESIZE
        if high <= low:
            return
        for layer in range(n_layers):
            for head in range(n_heads):
                first = ((layer * n_rows + row) * n_heads + head) * n_slots * size
                self._memory.madvise(mmap.MADV_DONTNEED, first + low, high - low)


def reserve_cache(
    config: ModelConfig,
    n_rows: int,
    max_length: int,
    dtype: torch.dtype,
    form: CacheForm = "auto",
) -> tuple[KVCache, list[ReservedTensor]]:
    """A cache over reserved memory, and that memory: keys and values, or the latents alone.

    In `form` int8 the scales follow, [N, B, 1, S, P]: those of one token lie side by side.
    """
    shapes = [
        (config.n_layers, n_rows, heads, max_length, width)
        for heads, width in _heads_and_widths(config)
    ]
    kinds = [ReservedTensor(shape, torch.int8 if form == "int8" else dtype) for shape in shapes]
    lengths_B = torch.zeros(n_rows, dtype=torch.int64)
    if form == "auto":
        stores: list[tuple[Tensor, ...]] = list(zip(*(k.tensor for k in kinds), strict=True))
        return KVCache(stores, lengths_B), kinds
    n_slots = kinds[0].tensor.shape[3]
    shape = (config.n_layers, n_rows, 1, n_slots, _n_scales(config))
    scales = ReservedTensor(shape, torch.float32)
    scales_NBPS1 = scales.tensor[:, :, :, :n_slots].permute(0, 1, 4, 3, 2)
    stores = list(zip(*(k.tensor for k in kinds), scales_NBPS1, strict=True))
    return RoundedCache(stores, lengths_B, scaled_parts(config), dtype), [*kinds, scales]


def _n_scales(config: ModelConfig) -> int:
    """Scales per token and layer of a rounded cache, P."""
    return sum(heads for heads, _ in _heads_and_widths(config)) * len(scaled_parts(config))


def _heads_and_widths(config: ModelConfig) -> list[tuple[int, int]]:
    if config.mla is None:
        return [(config.kv_heads, config.head_size)] * 2
    return [(1, config.mla.kv_lora_rank + config.mla.qk_rope_head_dim)]


def _reserve(n_bytes: int) -> mmap.mmap:
    """Addresses without memory behind them yet.

    Not in huge pages: of those a single token takes one per layer and head, which is soon all of
    them.
    """
    flags = sum(getattr(mmap, name) for name in _PRIVATE_FLAGS)
    if os.uname().sysname == "Linux":
        flags |= _NORESERVE
    try:
        memory = mmap.mmap(-1, max(1, n_bytes), flags=flags)
    except OSError as error:
        raise ConfigError(
            f"the system does not reserve {n_bytes / 2**30:.1f} GiB of addresses for keys and "
            f"values ({error.strerror}); lower --max-length or --max-streams"
        ) from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory
