"""Log-probabilities of several continuations of one text: those of the whole texts, whatever was
asked before."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from codling.core.errors import RequestError
from codling.engine import likelihood
from codling.engine.likelihood import Asked
from codling.engine.text import TextEngine
from codling.model.packed.convert import pack_model
from codling.model.transformer import Transformer
from tiny_model import CONFIG


@pytest.fixture
def engine(tiny_model, tiny_tokenizer):
    with TextEngine(tiny_model, tiny_tokenizer, max_length=128) as opened:
        yield opened


def whole(engine, start: list[int], option: list[int]) -> float:
    entries = engine.score([*start, *option])[len(start) :]
    return sum(entry.logprob for entry in entries if entry is not None)


def test_options_have_the_log_probabilities_of_their_whole_texts(engine):
    start, options = [5, 9, 30, 41], [[7], [8, 9, 10], [11, 12]]
    expected = [whole(engine, start, option) for option in options]
    assert engine.score_options(start, options) == pytest.approx(expected, abs=1e-4)


def test_what_was_asked_before_changes_nothing(engine):
    first, second = [5, 9, 30, 41, 50, 51, 52], [5, 9, 30, 60]
    options = [[7, 8], [8], [9, 9, 9]]
    engine.score_options(first, options)
    for start in (second, first, [61], second):
        expected = [whole(engine, start, option) for option in options]
        assert engine.score_options(start, options) == pytest.approx(expected, abs=1e-4)


def test_a_packed_model_whose_embedding_has_no_weight_is_asked_too(tiny_tokenizer):
    model = Transformer(replace(CONFIG, tie_embeddings=True), torch.Generator().manual_seed(0))
    pack_model(model, 8)
    with TextEngine(model, tiny_tokenizer, max_length=128) as packed:
        start, options = [5, 9, 30, 41], [[7], [8, 9, 10]]
        expected = [whole(packed, start, option) for option in options]
        assert packed.score_options(start, options) == pytest.approx(expected, abs=1e-2)


def test_the_cache_grows_and_long_texts_are_refused(engine):
    long = [5 + i % 200 for i in range(100)]
    assert engine.score_options(long, [[7], [8]]) == pytest.approx(
        [whole(engine, long, [7]), whole(engine, long, [8])], abs=1e-4
    )
    with pytest.raises(RequestError, match="--max-length"):
        engine.score_options(long, [[7] * 40])


def test_texts_asked_together_have_the_log_probabilities_of_each_alone(engine):
    asked = [
        Asked([5, 9, 30, 41, 50], [[7], [8, 9, 10]]),
        Asked([5, 9, 30, 60], [[11, 12], [13], [7, 7, 7, 7]]),
        Asked([61], [[9, 8]]),
        Asked([5, 9, 30, 41], [[50, 7]]),
    ]
    together = engine._likelihood._likelihood.score_all(asked)
    for each, sums in zip(asked, together, strict=True):
        expected = [whole(engine, list(each.start), list(option)) for option in each.options]
        assert sums == pytest.approx(expected, abs=1e-4)


def test_more_than_fits_a_pass_is_read_in_several(engine, monkeypatch):
    monkeypatch.setattr(likelihood, "_PASS", 12)
    shared = [5, 9, 30, 41, 50, 51]
    asked = [Asked([*shared, i, 70 + i], [[7, i], [8]]) for i in range(6)]
    together = engine._likelihood._likelihood.score_all(asked)
    for each, sums in zip(asked, together, strict=True):
        expected = [whole(engine, list(each.start), list(option)) for option in each.options]
        assert sums == pytest.approx(expected, abs=1e-4)


def test_threads_share_passes_and_each_gets_its_own(engine):
    starts = [[5, 9, 30 + i, 41] for i in range(12)]
    options = [[7, 8], [8]]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda start: engine.score_options(start, options), starts))
    for start, sums in zip(starts, found, strict=True):
        expected = [whole(engine, start, option) for option in options]
        assert sums == pytest.approx(expected, abs=1e-4)


def test_what_fails_in_a_shared_pass_is_told_to_all_who_asked(engine, monkeypatch):
    def fail(_):
        raise ValueError("no memory")

    monkeypatch.setattr(engine._likelihood._likelihood, "score_all", fail)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(engine.score_options, [5, 9], [[7]]) for _ in range(3)]
        assert [str(each.exception()) for each in asked] == ["no memory"] * 3
