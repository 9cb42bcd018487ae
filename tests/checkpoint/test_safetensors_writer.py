"""Files written tensor by tensor are those that the library writes of all tensors at once."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from codling.checkpoint.safetensors_writer import write_safetensors
from codling.checkpoint.stored import PublishedTensor

TENSORS = {
    "z.weight": torch.arange(6.0).view(2, 3).bfloat16(),
    "a.weight_packed": torch.arange(5, dtype=torch.int32),
    "a.weight_shape": torch.tensor([4, 8]),
    "a.weight_scale": torch.tensor([[0.5]], dtype=torch.float16),
    "codes": torch.tensor([-3, 7, 9], dtype=torch.int8),
    "fp8": torch.tensor([0.5, -448.0]).to(torch.float8_e4m3fn),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "single": torch.tensor(2.5),
    "empty": torch.empty(0, 4),
    "gewöhnlich": torch.ones(2, 2).T,
}


def offer(name: str, tensor: Tensor) -> PublishedTensor:
    return PublishedTensor(name, tuple(tensor.shape), lambda: tensor, tensor.dtype)


def test_the_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "ours", [offer(*each) for each in TENSORS.items()], torch.float32)
    whole = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    save_file(whole, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_tensors_are_read_in_the_order_given_one_at_a_time(tmp_path: Path) -> None:
    read: list[str] = []

    def note(name: str) -> Tensor:
        read.append(name)
        return torch.ones(2)

    names = ["b", "c", "a"]
    tensors = [PublishedTensor(name, (2,), partial(note, name)) for name in names]
    write_safetensors(tmp_path / "file", tensors, torch.bfloat16)
    assert read == names


def test_a_tensor_of_another_shape_than_was_said_is_refused(tmp_path: Path) -> None:
    wrong = PublishedTensor("w", (3,), lambda: torch.ones(2))
    with pytest.raises(ValueError, match=r"tensor w: \(2,\), not \(3,\)"):
        write_safetensors(tmp_path / "file", [wrong], torch.float32)
