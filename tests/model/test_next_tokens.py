"""Logits of a text a piece at a time."""

import pytest
import torch

from codling.model import next_tokens
from codling.model.config import ModelConfig
from codling.model.next_tokens import predict_pieces
from codling.model.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Transformer:
    config = ModelConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        n_layers=2,
        n_heads=4,
        max_position=64,
        init_std=0.3,
    )
    return Transformer(config, torch.Generator().manual_seed(3)).eval()


def test_pieces_are_those_of_one_pass(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_tokens, "_PIECE", 40)
    ids = torch.randint(0, 400, (131,), generator=torch.Generator().manual_seed(0))
    pieces = list(predict_pieces(model, ids))
    assert [len(targets) for _, targets in pieces] == [40, 40, 40, 10]
    assert torch.cat([targets for _, targets in pieces]).tolist() == ids[1:].tolist()
    with torch.inference_mode():
        expected = model.logits(model(ids[None, :-1]))[0].float()
    torch.testing.assert_close(torch.cat([logits for logits, _ in pieces]), expected)


def test_one_token_is_preceded_by_nothing_that_expects_it(model: Transformer) -> None:
    assert list(predict_pieces(model, torch.tensor([3]))) == []
