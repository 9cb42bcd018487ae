"""How good an answer is, and how sure a mean over answers is.

Input: what was typed and what a model wrote. Output: numbers per question, and for sums of them
95% intervals: groups (the questions of a commit, or of a file) are resampled as wholes, the same
draws for every arm, so that the difference of two arms has an interval of its own (paired
bootstrap, clustered by group).

Not here: asking (arms.py) and the sentence about the numbers (commit_verdict.py).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_TAKEN = 5
"""A suggestion is accepted where at least this many of its first characters are right."""
DRAWS = 2000
_NAME = re.compile(r"[^\W\d]\w*")
_OPENING, _CLOSING = "([{", ")]}"
_KEYWORDS = frozenset(
    re.split(
        r"\s+",
        """and as assert async await break case catch class const continue def default defer del do
        elif else enum except export extends false final finally fn for from func function go if
        implements import in interface is lambda let match mut new nil none not null or package pass
        private protected pub public raise range return self static struct super switch this throw
        throws true try type var void while with yield""",
    )
)
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float


class Resampling:
    """Draws of groups with replacement, the same for everything that is compared."""

    def __init__(self, groups: Sequence[str], seed: int) -> None:
        """`groups[i]`: the commit or file of question i."""
        self._names, self._of = np.unique(np.array(groups), return_inverse=True)
        rng = np.random.default_rng(seed)
        n = len(self._names)
        self._times = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)

    def ratio(self, above: Numbers, below: Numbers) -> tuple[float, Numbers]:
        """Sum of `above` by sum of `below`: in the sample, and in every draw."""
        parts = [self._times @ self._sum_groups(each) for each in (above, below)]
        value = float(above.sum() / max(below.sum(), 1e-12))
        return value, parts[0] / np.maximum(parts[1], 1e-12)

    def quantile(self, values: Numbers, share: float) -> tuple[float, Numbers]:
        """A quantile of the values: in the sample, and in every draw."""
        order = np.argsort(values, kind="stable")
        weights = np.cumsum(self._times[:, self._of[order]], axis=1)
        places = (weights < share * weights[:, -1:]).sum(axis=1)
        drawn = values[order][np.minimum(places, len(values) - 1)]
        return float(np.quantile(values, share, method="inverted_cdf")), drawn

    def _sum_groups(self, values: Numbers) -> Numbers:
        return np.bincount(self._of, values, minlength=len(self._names)).astype(np.float64)


def interval(value: float, drawn: Numbers) -> Interval:
    """The value with the middle 95% of the draws."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def name_f1(truth: str, answer: str) -> float | None:
    """F1 of the identifiers, each as often as it occurs; None where the truth has none.

    >>> name_f1("total = price + tax", "total = price")
    0.8
    """
    wanted, given = _names(truth), _names(answer)
    if not wanted:
        return None
    common = (wanted & given).total()
    return 2 * common / (wanted.total() + given.total())


def first_statement(text: str) -> str:
    r"""The lines up to where all brackets are closed, blanks as one, no comma or semicolon at the
    end.

    >>> first_statement("f(\n  a,\n)\ng()"), first_statement("x  = 1;\ny = 2")
    ('f( a, )', 'x = 1')
    """
    depth, lines = 0, []
    for line in text.strip().split("\n"):
        lines.append(line)
        depth += sum(line.count(c) for c in _OPENING) - sum(line.count(c) for c in _CLOSING)
        if depth <= 0 and not line.endswith("\\"):
            break
    return " ".join(" ".join(lines).split()).rstrip(";, ")


def count_saved_chars(pieces: Sequence[int], hits: Sequence[bool]) -> int:
    """Characters saved by a typist who sees the likeliest continuation at every token.

    `pieces[i]`: characters of token i of the truth; `hits[i]`: whether it was the likeliest after
    those before. A suggestion whose first MIN_TAKEN characters or more are right is taken as far as
    it is right, by one keystroke; everything else is typed, and a wrong suggestion costs nothing.

    >>> count_saved_chars([3, 3, 2, 4], [True, True, False, True])
    5
    """
    saved = at = 0
    while at < len(hits):
        end, n = at, 0
        while end < len(hits) and hits[end]:
            n += pieces[end]
            end += 1
        if n >= MIN_TAKEN:
            saved += n - 1
        at = max(end, at + 1)
    return saved


def as_json(found: Interval) -> dict[str, Any]:
    """For scores.json, rounded."""
    return {name: round(getattr(found, name), 6) for name in ("value", "low", "high")}


def _names(text: str) -> Counter[str]:
    return Counter(n for n in _NAME.findall(text) if n.lower() not in _KEYWORDS)
