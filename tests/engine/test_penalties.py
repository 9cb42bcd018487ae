"""Penalties, biases and loops, on numbers that can be checked by hand."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from codling.engine.loops import ends_in_loop
from codling.engine.penalties import Penalties
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def engine(tiny_model: Transformer, tiny_tokenizer: Tokenizer) -> Iterator[TextEngine]:
    with TextEngine(tiny_model, tiny_tokenizer, max_streams=4, max_length=256) as engine:
        yield engine


ROW = np.array([2.0, -2.0, 1.0, 0.5], np.float32)


def row(params: SamplingParams, prompt: list[int], output: list[int]) -> list[float]:
    penalties = Penalties.of(params, prompt)
    assert penalties is not None
    for token_id in output:
        penalties.note(token_id)
    return penalties.apply(ROW).tolist()


def test_what_asks_for_nothing_costs_nothing() -> None:
    assert Penalties.of(SamplingParams(), [1, 2]) is None


def test_frequency_counts_each_time_and_presence_once_and_the_prompt_does_not_count() -> None:
    params = SamplingParams(frequency_penalty=0.5, presence_penalty=0.25)
    assert row(params, [0], [2, 2, 3]) == [2.0, -2.0, 1.0 - 1.25, 0.5 - 0.75]


def test_repetition_divides_what_is_likely_and_multiplies_what_is_not_prompt_included() -> None:
    assert row(SamplingParams(repetition_penalty=2.0), [0], [1]) == [1.0, -4.0, 1.0, 0.5]


def test_a_bias_is_added_and_minus_100_forbids() -> None:
    params = SamplingParams(logit_bias=((2, 5.0), (0, -100.0)))
    assert row(params, [], []) == [-np.inf, -2.0, 6.0, 0.5]
    twice = SamplingParams(logit_bias=((2, 5.0), (2, 3.0)))
    assert row(twice, [], [])[2] == 9.0


def test_a_banned_token_never_comes_and_a_forced_one_always(engine: TextEngine) -> None:
    usual = engine.complete(["def add("], SamplingParams(max_tokens=8))[0]
    banned = SamplingParams(max_tokens=8, logit_bias=((usual.token_ids[0], -100.0),))
    assert usual.token_ids[0] not in engine.complete(["def add("], banned)[0].token_ids
    forced = SamplingParams(max_tokens=8, logit_bias=((77, 100.0),))
    assert engine.complete(["def add("], forced)[0].token_ids == (77,) * 8


def test_a_ban_of_all_tokens_gives_way(engine: TextEngine) -> None:
    bans = tuple((i, -100.0) for i in range(engine.config.vocab_size))
    prompt = engine.complete_prompt("def add(")
    plain = engine.submit(prompt, SamplingParams(max_tokens=5)).result()
    banned = SamplingParams(max_tokens=5, logit_bias=bans)
    assert engine.submit(prompt, banned).result().token_ids == plain.token_ids


@pytest.mark.parametrize(
    ("tokens", "is_loop"),
    [
        ([7] * 64, True),
        ([7] * 63, False),
        ([9, 9, 9, *([1, 2, 3, 4, 5, 6, 7, 8, 9, 10] * 8)], True),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10] * 7 + [1, 2, 3], False),
        ([*([7] * 64), 8], False),
        ([x for i in range(40) for x in (5, 6, i)], False),
        ([], False),
    ],
)
def test_a_loop_is_one_block_eight_times_over_64_tokens(tokens: list[int], is_loop: bool) -> None:
    assert ends_in_loop(tokens) is is_loop


def test_an_endless_answer_ends_and_all_that_came_before_is_as_it_was(engine: TextEngine) -> None:
    forced = SamplingParams(logit_bias=((77, 100.0),), max_tokens=200)
    endless = engine.complete(["def add("], forced)[0]
    ended = engine.complete(["def add("], replace(forced, stop_loops=True))[0]
    assert len(endless.token_ids) == 200
    assert ended.finish_reason == "stop"
    assert ended.token_ids == endless.token_ids[: len(ended.token_ids)]
    assert len(ended.token_ids) == 64
