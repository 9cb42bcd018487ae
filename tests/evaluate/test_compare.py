"""Did adapting help? The verdict by hand, and what is served."""

import pytest

from codling.evaluate.heldout.compare import interval, verdict

NONE, ALL = [False] * 40, [True] * 40


def test_the_interval_of_equal_differences_is_a_point() -> None:
    assert interval([-0.5] * 10, seed=0) == (-0.5, -0.5)


@pytest.mark.parametrize(
    ("tuned", "before", "after", "answer"),
    [
        ([9.0] * 20, NONE, NONE, "helped"),
        ([9.0] * 20, ALL, NONE, "worse"),
        ([11.0] * 20, NONE, NONE, "worse"),
        ([11.0] * 20, NONE, ALL, "worse"),
        ([10.0] * 20, NONE, NONE, "no difference"),
        ([10.0] * 20, NONE, ALL, "no difference"),
        ([5.0, 15.0] * 10, NONE, NONE, "no difference"),
    ],
)
def test_it_helped_only_if_bits_fall_clear_of_zero_and_lines_do_not(
    tuned: list[float], before: list[bool], after: list[bool], answer: str
) -> None:
    found = verdict([10.0] * 20, tuned, before, after)
    assert found["answer"] == answer
    assert found["helped"] == (answer == "helped")


def test_the_sentence_says_what_was_measured() -> None:
    found = verdict([10.0] * 20, [9.0] * 20, [True, *NONE[1:]], [True] * 2 + NONE[2:])
    assert found["text"] == (
        "It helped: bits per byte on held-out code -10.0% (95% interval -10.0% to -10.0%; fewer "
        "are better), 2 of 40 hidden lines exactly instead of 1."
    )
