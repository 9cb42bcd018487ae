"""Logits of a text a piece at a time."""

import pytest
import torch

from codling.model import next_tokens
from codling.model.next_tokens import predict_pieces
from codling.model.transformer import Transformer
from tiny_model import make_model


@pytest.fixture(scope="module")
def model() -> Transformer:
    return make_model().eval()


def test_pieces_are_those_of_one_pass(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_tokens, "_PIECE", 40)
    ids = torch.randint(0, 320, (131,), generator=torch.Generator().manual_seed(0))
    pieces = list(predict_pieces(model, ids))
    assert [len(targets) for _, targets in pieces] == [40, 40, 40, 10]
    assert torch.cat([targets for _, targets in pieces]).tolist() == ids[1:].tolist()
    with torch.inference_mode():
        expected = model.logits(model(ids[None, :-1]))[0].float()
    torch.testing.assert_close(torch.cat([logits for logits, _ in pieces]), expected)


def test_one_token_is_preceded_by_nothing_that_expects_it(model: Transformer) -> None:
    assert list(predict_pieces(model, torch.tensor([3]))) == []
