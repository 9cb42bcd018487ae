import math

import numpy as np
import pytest

from codling.evaluate.heldout.ngram import NgramModel


def test_bits_follow_witten_bell_by_hand() -> None:
    # Seen: 0 1 0 1 0. Order 1: p0 = (3 + 2/4) / (5 + 2) = 1/2, p1 = (2 + 2/4) / 7 = 5/14.
    # After 0 came 1 twice: p(1|0) = (2 + 1 * 5/14) / (2 + 1) = 11/14.
    # After 1 came 0 twice: p(0|1) = (2 + 1 * 1/2) / 3 = 5/6.
    model = NgramModel(np.array([0, 1, 0, 1, 0]), vocab_size=4, order=2)
    assert model.bits(np.array([0, 1, 0])) == pytest.approx(-math.log2(11 / 14 * 5 / 6))


def test_an_unseen_token_costs_finitely_many_bits() -> None:
    model = NgramModel(np.array([0, 1, 0, 1]), vocab_size=4, order=3)
    assert 3 < model.bits(np.array([0, 3])) < 20


def test_the_longest_known_context_decides_the_continuation() -> None:
    tokens = np.array([1, 2, 3, 9, 5, 2, 4, 9, 5, 2, 4, 9])
    model = NgramModel(tokens, vocab_size=10, order=3)
    assert model.continue_greedily([1, 2], 2, frozenset({9})) == [3]
    assert model.continue_greedily([7, 2], 3, frozenset()) == [4, 9, 5]


def test_repetition_makes_longer_contexts_pay() -> None:
    rng = np.random.default_rng(0)
    phrase = rng.integers(0, 50, 200)
    tokens = np.tile(phrase, 20)
    long, short = (NgramModel(tokens, 50, order=k).bits(tokens[:1000]) for k in (4, 1))
    assert long < 0.2 * short
