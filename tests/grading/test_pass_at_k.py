"""pass@k and its intervals, against counting by hand."""

from itertools import combinations

import pytest

from codling.grading.pass_at_k import mean_with_interval, pass_at_k, wilson


@pytest.mark.parametrize(
    ("n", "passed", "k"), [(5, 2, 1), (5, 2, 3), (6, 1, 4), (4, 0, 2), (4, 4, 2)]
)
def test_the_estimate_is_the_share_of_draws_with_a_pass(n, passed, k):
    draws = list(combinations(range(n), k))
    share = sum(any(i < passed for i in draw) for draw in draws) / len(draws)
    assert pass_at_k(n, passed, k) == pytest.approx(share)


def test_one_sample_each_gives_wilsons_interval():
    mean, low, high = mean_with_interval([(1, 1)] * 8 + [(1, 0)] * 2, 1)
    assert (mean, round(low, 3), round(high, 3)) == (0.8, 0.49, 0.943)
    assert wilson(0, 10)[0] == 0.0


def test_intervals_of_several_samples_are_the_same_for_the_same_seed():
    counts = [(10, i) for i in range(11)]
    first = mean_with_interval(counts, 1, seed=3)
    assert first == mean_with_interval(counts, 1, seed=3)
    assert first[0] == pytest.approx(0.5)
    assert first[1] < 0.5 < first[2]


@pytest.mark.parametrize(
    ("counts", "low", "high"), [([(10, 3)], 0.021, 0.897), ([(10, 0)] * 5, 0.0, 0.434)]
)
def test_problems_that_are_all_alike_do_not_make_an_interval_without_width(counts, low, high):
    """One problem of ten samples, or five that nothing solved: how problems differ is unknown."""
    assert mean_with_interval(counts, 1)[1:] == pytest.approx((low, high), abs=1e-3)
