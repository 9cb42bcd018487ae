"""Log-probabilities of several continuations of one text: those of the whole texts, whatever was
asked before."""

import pytest

from codling.core.errors import RequestError
from codling.engine.text import TextEngine


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


def test_the_cache_grows_and_long_texts_are_refused(engine):
    long = [5 + i % 200 for i in range(100)]
    assert engine.score_options(long, [[7], [8]]) == pytest.approx(
        [whole(engine, long, [7]), whole(engine, long, [8])], abs=1e-4
    )
    with pytest.raises(RequestError, match="--max-length"):
        engine.score_options(long, [[7] * 40])
