"""The show-filter's threshold, and what is shown by it."""

import numpy as np

from codling.evaluate.heldout.forgetting import forgetting_text
from codling.evaluate.heldout.show_filter import choose_shown, fit_threshold


def test_nothing_is_shown_where_too_few_answers_are_right() -> None:
    sure = np.linspace(-1, 0, 20)
    assert fit_threshold(sure, np.zeros(20, bool)) == float("inf")
    assert fit_threshold(np.array([]), np.array([], bool)) == float("inf")


def test_equally_sure_answers_are_shown_together() -> None:
    sure = np.array([-0.1, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1])
    right = np.array([True] * 5 + [False] * 5)
    assert fit_threshold(sure, right) == -0.1
    assert fit_threshold(sure, np.array([True] * 4 + [False] * 6)) == float("inf")


def test_a_threshold_comes_from_the_other_half_of_the_commits() -> None:
    # Sure answers are right in both halves, unsure ones in neither.
    commits = [f"commit {i}" for i in range(60)]
    sure = [-0.1 if i % 3 == 0 else -2.0 for i in range(60)]
    right = [i % 3 == 0 for i in range(60)]
    shown = choose_shown(sure, right, commits)
    assert shown[np.array(right)].all()
    # Half of what is shown may be wrong: as many unsure answers go along at most.
    assert shown.sum() <= 60
    assert not choose_shown(sure, [False] * 60, commits).any()


def test_much_forgetting_is_said_with_what_to_do() -> None:
    assert "--replay" in forgetting_text({"base": 1.0, "tuned": 1.03})
    assert "--replay" not in forgetting_text({"base": 1.0, "tuned": 1.019})
