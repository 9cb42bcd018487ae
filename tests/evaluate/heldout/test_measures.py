"""How good answers are, and how sure a difference between two arms is."""

import numpy as np
import pytest

from codling.evaluate.heldout.commit_verdict import judge_commits
from codling.evaluate.heldout.measures import (
    Interval,
    Resampling,
    count_saved_chars,
    first_statement,
    interval,
    name_f1,
)


def test_names_count_as_often_as_they_stand_and_keywords_do_not() -> None:
    assert name_f1("return a + a + b", "return a + c") == pytest.approx(2 / 5)
    assert name_f1("return 1", "return 1") is None


def test_a_statement_goes_to_its_last_bracket() -> None:
    assert first_statement("call(\n    a,\n    b)\nnext()") == "call( a, b)"
    assert first_statement("a = 1;") == first_statement("a  =  1")


def test_a_typist_takes_five_right_characters_by_one_key() -> None:
    assert count_saved_chars([4, 4], [True, True]) == 7
    assert count_saved_chars([4, 4], [True, False]) == 0
    assert count_saved_chars([4, 6, 1, 5], [False, True, False, True]) == 5 + 4


def test_questions_of_one_commit_are_drawn_together() -> None:
    alike = Resampling(["a"] * 50 + ["b"] * 50, seed=0)
    apart = Resampling([str(i) for i in range(100)], seed=0)
    values, ones = np.array([1.0] * 50 + [0.0] * 50), np.ones(100)
    wide, narrow = (interval(*each.ratio(values, ones)) for each in (alike, apart))
    assert (wide.low, wide.value, wide.high) == (0.0, 0.5, 1.0)
    assert 0.35 < narrow.low < narrow.high < 0.65


def test_two_arms_meet_the_same_draws() -> None:
    draws = Resampling([str(i) for i in range(40)], seed=1)
    values, ones = np.random.default_rng(0).random(40), np.ones(40)
    first, second = draws.ratio(values, ones), draws.ratio(values + 0.1, ones)
    found = interval(second[0] - first[0], second[1] - first[1])
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_a_quantile_of_draws_is_one_of_the_values() -> None:
    draws = Resampling([str(i) for i in range(9)], seed=0)
    value, drawn = draws.quantile(np.arange(9.0), 0.5)
    assert value == 4.0
    assert set(drawn) <= set(range(9))


@pytest.mark.parametrize(
    ("bits", "exact", "outcome"),
    [
        (Interval(-0.1, -0.2, -0.01), Interval(0.0, -0.01, 0.01), "helped"),
        (Interval(-0.1, -0.2, 0.01), Interval(0.05, 0.01, 0.09), "no difference"),
        (Interval(0.1, 0.01, 0.2), Interval(0.0, -0.01, 0.01), "worse"),
        (Interval(-0.1, -0.2, -0.01), Interval(-0.05, -0.09, -0.01), "worse"),
    ],
)
def test_the_sentence_follows_the_intervals(bits: Interval, exact: Interval, outcome: str) -> None:
    change = {"bits_per_byte": bits, "exact": exact}
    verdict = judge_commits("tuned + context + memory", change, {"bits_per_byte": 1.0}, 300, 90)
    assert verdict.outcome == outcome
    assert "-10.0%" in verdict.text or "+10.0%" in verdict.text
    assert "Fewer" not in verdict.text


def test_few_places_are_named() -> None:
    change = {"bits_per_byte": Interval(0, -1, 1), "exact": Interval(0, -1, 1)}
    assert "Fewer than 300" in judge_commits("base", change, {"bits_per_byte": 1.0}, 20, 20).text


def test_of_few_commits_nothing_is_concluded() -> None:
    change = {"bits_per_byte": Interval(-0.5, -0.6, -0.4), "exact": Interval(0, 0, 0)}
    verdict = judge_commits("base", change, {"bits_per_byte": 1.0}, 60, 19)
    assert verdict.outcome == "no difference"
    assert verdict.text.startswith("Too few commits to tell")
