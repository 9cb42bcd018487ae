"""Weights in small files: exact in bf16, each of use alone, damage refused."""

from pathlib import Path

import pytest
import torch
from weight_files import read_weights, write_weights

from codling.core.errors import CheckpointError
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=128, hidden_size=32, intermediate_size=64, n_layers=2, n_heads=2, tie_embeddings=True
)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weight_files.FILE_BYTES", 15_000)


def model(seed: int) -> Transformer:
    return Transformer(SHAPE, torch.Generator().manual_seed(seed))


def test_they_are_the_bf16_weights_in_less_room(tmp_path: Path) -> None:
    ours, other = model(0), model(1)
    paths = write_weights(ours, tmp_path, step=7)
    assert len(paths) > 1
    assert read_weights(tmp_path, other) == [7]
    for mine, theirs in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.bfloat16().float(), theirs)
    n_bytes = 2 * ours.n_parameters()
    assert sum(path.stat().st_size for path in paths) < 0.75 * n_bytes


def test_files_of_two_steps_make_a_model_that_knows_it(tmp_path: Path) -> None:
    older = write_weights(model(0), tmp_path, step=1)[0].read_bytes()
    newer = write_weights(model(1), tmp_path, step=2)
    newer[0].write_bytes(older)
    assert read_weights(tmp_path, model(2)) == [1, 2]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    write_weights(model(0), tmp_path, step=1)[1].unlink()
    with pytest.raises(CheckpointError, match=r"has .* of .* weights; fetch the rest"):
        read_weights(tmp_path, model(1))


@pytest.mark.parametrize("cut", [slice(0, -1), slice(5, None), slice(0, 3)])
def test_a_damaged_file_is_refused(tmp_path: Path, cut: slice) -> None:
    path = write_weights(model(0), tmp_path, step=1)[0]
    path.write_bytes(path.read_bytes()[cut])
    with pytest.raises(CheckpointError, match="is damaged; fetch it again"):
        read_weights(tmp_path, model(1))


def test_another_shape_is_refused(tmp_path: Path) -> None:
    write_weights(model(0), tmp_path, step=1)
    wider = Transformer(ModelConfig(vocab_size=128, hidden_size=64, n_layers=1, n_heads=2))
    with pytest.raises(CheckpointError, match="is of a model of"):
        read_weights(tmp_path, wider)
