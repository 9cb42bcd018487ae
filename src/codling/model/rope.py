"""Rotary position embedding (arXiv:2104.09864) with linear and YaRN scaling.

Two ways to pair the dimensions of a head: halves (i, i + D/2), as in Llama, and interleaved
(2i, 2i + 1), as in DeepSeek-V2. They use the same angles.

Legend: B batch, L length, H heads, D rotated width of a head, P = D/2 pairs.

Not here: where positions come from (cache.py), and the softmax scale (config.py).
"""

from collections.abc import Callable
from math import ceil, floor, log, pi

import torch
from torch import Tensor, nn

from codling.model.config import ModelConfig, RopeConfig
from codling.model.shared_window import SharedWindow

_FIRST_LENGTH = 4096
"""Positions in the table at the start; it grows when a longer sequence comes."""

Rotation = tuple[Tensor, Tensor]
"""cos and sin, fp32, broadcastable to [B, H, L, P]."""


class Rope(nn.Module):
    """Tables of cos and sin, fp32 [n positions, P]; no parameters, nothing in the checkpoint."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.dim = config.rope, config.rope_dim
        length = min(config.max_position, _FIRST_LENGTH)
        self.register_buffer("cos", torch.empty(0), persistent=False)
        self.register_buffer("sin", torch.empty(0), persistent=False)
        self.build(length, torch.get_default_device())

    def build(self, length: int, device: torch.device) -> None:
        """Make the tables for positions 0 to length - 1."""
        if device.type == "meta":
            shape = (length, self.dim // 2)
            self.cos, self.sin = (torch.empty(shape, device=device) for _ in range(2))
            return
        positions = torch.arange(length, dtype=torch.float32, device=device)
        angles = torch.outer(positions, inverse_frequencies(self.config, self.dim).to(device))
        # In place: of long contexts each table takes gigabytes.
        self.cos = angles.cos().mul_(self.config.amplitude)
        self.sin = angles.sin_().mul_(self.config.amplitude)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Rope":
        """Follow the model to a device, but stay fp32: in bf16 positions from 256 on would blur."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.build(self.cos.shape[0], self.cos.device)
        return self

    def reserve(self, length: int) -> None:
        """Make sure that positions below `length` have entries."""
        if length > self.cos.shape[0]:
            self.build(max(length, 2 * self.cos.shape[0]), self.cos.device)

    def span(self, start: int, length: int) -> Rotation:
        """For positions start to start + length - 1: two tensors [L, P]."""
        self.reserve(start + length)
        return self.cos[start : start + length], self.sin[start : start + length]

    def places(self, window: SharedWindow) -> Rotation:
        """For this process's tokens of a shared window: two tensors [L, P]."""
        self.reserve(window.end)
        positions_L = window.positions(self.cos.device)
        return self.cos[positions_L], self.sin[positions_L]

    def at(self, positions_BL: Tensor) -> Rotation:
        """For positions that differ by row; the caller reserved them: two tensors [B, 1, L, P]."""
        return self.cos[positions_BL].unsqueeze(1), self.sin[positions_BL].unsqueeze(1)


def inverse_frequencies(config: RopeConfig, dim: int) -> Tensor:
    """Angle per position of each pair of dimensions, fp32 [P]."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float32, device="cpu") / dim
    plain = 1.0 / config.theta**exponents
    match config.scaling:
        case "none":
            return plain
        case "linear":
            return plain / config.factor
        case "yarn":
            ramp = _yarn_ramp(config, dim)
            return plain / config.factor * ramp + plain * (1 - ramp)


def _yarn_ramp(config: RopeConfig, dim: int) -> Tensor:
    """How far each pair is slowed down: 0 keeps its speed, 1 takes the whole factor; [P]."""

    def pair_with(n_turns: float) -> float:
        """The (fractional) pair that turns `n_turns` times within the original context."""
        return (
            dim * log(config.original_max_position / (n_turns * 2 * pi)) / (2 * log(config.theta))
        )

    low = max(floor(pair_with(config.beta_fast)), 0)
    high = min(ceil(pair_with(config.beta_slow)), dim - 1)
    span = max(high - low, 0.001)
    pairs = torch.arange(dim // 2, dtype=torch.float32, device="cpu")
    return ((pairs - low) / span).clamp(0, 1)


def rotate_halves(x_BHLD: Tensor, rotation: Rotation) -> Tensor:
    """Rotate the pairs (i, i + D/2); computed in fp32, returned in the type of `x`."""
    cos, sin = rotation
    first, second = x_BHLD.chunk(2, dim=-1)
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return rotated.to(x_BHLD.dtype)


def rotate_interleaved(x_BHLD: Tensor, rotation: Rotation) -> Tensor:
    """Rotate the pairs (2i, 2i + 1); computed in fp32, returned in the type of `x`."""
    cos, sin = rotation
    even, odd = x_BHLD.reshape(*x_BHLD.shape[:-1], -1, 2).unbind(-1)
    rotated = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return rotated.flatten(-2).to(x_BHLD.dtype)
