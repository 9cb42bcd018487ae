"""How far a model reads."""

from typing import Any

import numpy as np
import pytest
import torch

from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import Tokenizer
from codling.train import long_context
from codling.train.long_context import (
    Reach,
    compare_reach,
    finds_needle,
    measure_reach,
    token_bits,
)


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


@pytest.fixture
def tokenizer(tokenizer_dir: Any) -> Tokenizer:
    return Tokenizer.open(tokenizer_dir)


def test_a_bucket_holds_the_mean_of_its_places(model: Transformer, tokenizer: Tokenizer) -> None:
    stream = np.random.default_rng(1).integers(0, 400, 601)
    found = measure_reach(model, tokenizer, stream, lengths=[100, 600], n_windows=1, n_needles=0)
    bits = token_bits(model, stream)
    assert list(found.bits_per_token) == ["0-100", "100-256", "256-512", "512-600"]
    assert found.bits_per_token["100-256"] == pytest.approx(float(bits[100:256].mean()))
    assert found.bits_up_to(256) == pytest.approx(float(bits[:256].mean()))


def test_a_needle_counts_if_all_of_its_number_is_the_likeliest(
    model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = np.array(tokenizer.encode("def f(x):\n    return x\n" * 60))
    asked: dict[str, Any] = {"length": 200, "depth": 0.5, "seed": 0}
    assert not finds_needle(model, tokenizer, filler, **asked)
    assert not finds_needle(model, tokenizer, filler[:50], **asked)

    def answer_all(_: Any, ids: torch.Tensor) -> Any:
        assert len(ids) == 200
        text = tokenizer.decode(ids.tolist())
        name, number = text.rsplit("assert ", 1)[1].split(" == ")
        assert f"{name} = {number}" in text[:-20]
        yield torch.nn.functional.one_hot(ids[1:], 400).float(), ids[1:]

    monkeypatch.setattr(long_context, "predict_pieces", answer_all)
    assert finds_needle(model, tokenizer, filler, **asked)


def test_the_rise_is_that_of_the_places_within_the_old_length() -> None:
    before = Reach(bits_per_token={"0-64": 2.0, "64-128": 4.0}, needles={"64": 1.0})
    after = Reach(bits_per_token={"0-64": 2.1, "64-128": 2.0}, needles={"64": 0.5})
    table = compare_reach(before, after, 64)
    assert table["rise_at_old_length_percent"] == 5.0
    assert table["needles_found"] == {"before": {"64": 1.0}, "after": {"64": 0.5}}
