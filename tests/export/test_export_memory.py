"""A model is exported a tensor at a time: less than a layer lives at once."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from codling.checkpoint import compressed
from codling.export import gguf, rounding
from codling.export.export import ExportConfig, export
from codling.model.config import RopeConfig
from export.exported import LLAMA, save

WIDE = replace(LLAMA, hidden_size=256, intermediate_size=704, n_layers=8, rope=RopeConfig())
LAYER_BYTES = 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 704)
SHARD_BYTES = 1_000_000


class LiveBytes(TorchDispatchMode):
    """How much memory tensors of this thread held at most, views of a mapped file not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._holders: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = {place_of(each) for each in args if isinstance(each, Tensor)}
        out = func(*args, **dict(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, Tensor) and made.device.type == "cpu":
                self._hold(made, is_foreign=place_of(made) in given - set(self._holders))
        return out

    def _hold(self, made: Tensor, *, is_foreign: bool) -> None:
        place, n_bytes = place_of(made), made.untyped_storage().nbytes()
        if is_foreign:
            return
        if place not in self._holders:
            self._now += n_bytes
            self.peak = max(self.peak, self._now)
        self._holders[place] = self._holders.get(place, 0) + 1
        weakref.finalize(made, self._drop, place, n_bytes)

    def _drop(self, place: int, n_bytes: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            del self._holders[place]
            self._now -= n_bytes


def place_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.device.type == "cpu" else 0


@pytest.mark.parametrize("format_name", ["hf", "w4a16", "w8a8", "fp8", "gguf"])
def test_less_than_a_layer_lives_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: Any
) -> None:
    for module in (compressed, rounding, gguf):  # beside these matrices as beside those of 7B
        monkeypatch.setattr(module, "_PIECE_NUMBERS", 1 << 14)
    save(tmp_path / "m", WIDE)
    with LiveBytes() as live:
        made = export(
            ExportConfig(
                model=tmp_path / "m",
                format=format_name,
                shard_bytes=SHARD_BYTES,
                out_dir=tmp_path / "out",
            )
        )
    assert sum(file.stat().st_size for file in made.path.iterdir()) > 3 * SHARD_BYTES
    assert 0.02 * LAYER_BYTES < live.peak < LAYER_BYTES


def test_what_is_counted_is_what_lives() -> None:
    with LiveBytes() as live:
        one = torch.zeros(1000)
        two = one.view(10, 100) + 1  # a view holds nothing more
        del one, two
        torch.zeros(500)
    assert live.peak == 8000
