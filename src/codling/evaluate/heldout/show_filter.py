"""Which answers a show-filter would let through, and how many of them are right.

Input: how sure an arm is of each answer (mean log-probability of its tokens), and which are right.
Output: shown or not. The threshold of a question is fitted on the other half of the commits: the
lowest at which half of what is shown there is right.

Not here: a threshold for serving (evaluate/calibrate.py).
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WANTED = 0.5
"""Share of the shown answers that shall be right."""
FEWEST = 5
"""Shown answers on which a threshold can be fitted."""


def fit_threshold(
    sure: NDArray[np.float64], right: NDArray[np.bool_], wanted: float = WANTED
) -> float:
    """The lowest threshold from which on `wanted` of the answers are right; infinite if none is.

    >>> sure = np.array([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6])
    >>> fit_threshold(sure, np.array([True, True, False, True, False, False]))
    -0.6
    """
    order = np.argsort(-sure, kind="stable")
    n_shown = np.arange(1, len(sure) + 1)
    good = (np.cumsum(right[order]) >= wanted * n_shown) & (n_shown >= FEWEST)
    # Answers that are equally sure are shown together.
    ends = np.append(np.diff(sure[order]) != 0, True) if len(sure) else good
    places = np.flatnonzero(good & ends)
    return float(sure[order][places[-1]]) if len(places) else float("inf")


def choose_shown(
    sure: Sequence[float], right: Sequence[bool], groups: Sequence[str], wanted: float = WANTED
) -> NDArray[np.bool_]:
    """For each answer whether it is shown, at the threshold of the half that it is not in.

    `groups`: the commit or file of each answer, which is in one half as a whole.
    """
    sure_N, right_N = np.array(sure, np.float64), np.array(right, bool)
    second_N = np.array([zlib.crc32(g.encode()) % 2 == 1 for g in groups], bool)
    shown_N = np.zeros(len(sure_N), bool)
    for half_N in (second_N, ~second_N):
        threshold = fit_threshold(sure_N[~half_N], right_N[~half_N], wanted)
        shown_N[half_N] = sure_N[half_N] >= threshold
    return shown_N
