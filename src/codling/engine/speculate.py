"""Speculation: how many tokens of a draft are tried in the next pass.

A pass over a few tokens more costs little where reading the weights is most of the work. So the
engine lets the model read drafted tokens together with the last one, takes those that it would have
chosen itself, and drops the rest: the answer is the same, in fewer passes.

A draft is tried as far as the chance that all of it is right outweighs what a token more costs.
Chances are counted by how many tokens match before it and by whether all matches agree; every
token that is chosen says whether the guess for it was right, tried or not, so a draft that always
fails costs nothing. What a token costs is measured, and so is never the same twice; but it decides
about time only.

Input: sequences with a source of drafts. Output: tokens to try. Not here: the sources (draft.py),
and how the model decides (engine.py).
"""

from bisect import bisect_right
from collections.abc import Sequence as Many
from dataclasses import dataclass

from codling.engine.draft import NO_DRAFT, DraftSource, TokenDraft

MAX_DRAFT = 15
"""Tokens that are tried at a time at most."""
_LENGTHS = (1, 2, 3, 4, 6, 9, 13)
"""Where a class of matched tokens begins."""
_CHANCES = (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85)
"""The chance of each class before anything is counted, if all matches agree; else half of it."""


class Odds:
    """How often drafts turned out right lately, by kind; starts from what was known `before`.

    >>> odds = Odds(memory=100, trust=4)
    >>> odds.note(kind=1, is_right=True)  # one token matches, in all places the next is the same
    >>> round(odds.chance(1), 2), odds.chance(3)
    (0.28, 0.2)
    """

    def __init__(
        self, before: "Odds | None" = None, *, memory: float = 200, trust: float = 10
    ) -> None:
        """`memory`: how many tokens count; `trust`: as how many of them what was known counts."""
        self._before, self._decay, self._trust = before, 1 - 1 / memory, trust
        self._n_right = [0.0] * (2 * len(_LENGTHS))
        self._n_seen = [0.0] * (2 * len(_LENGTHS))

    def chance(self, kind: int) -> float:
        """How likely a token of this kind is right."""
        known = self._before.chance(kind) if self._before else _CHANCES[kind // 2] / (2 - kind % 2)
        return (self._n_right[kind] + self._trust * known) / (self._n_seen[kind] + self._trust)

    def of_one_sequence(self) -> "Odds":
        """Those of a new sequence, which soon counts more than what was known."""
        return Odds(self, memory=10, trust=2)

    def note(self, kind: int, is_right: bool) -> None:
        """Count a token."""
        self._n_right[kind] = self._decay * self._n_right[kind] + is_right
        self._n_seen[kind] = self._decay * self._n_seen[kind] + 1
        if self._before is not None:
            self._before.note(kind, is_right)


class Price:
    """What a drafted token costs, as a share of what a token costs without drafts."""

    def __init__(self, share: float = 0.25) -> None:
        """`share`: of one sequence's pass, until there are measurements."""
        self._share = share
        self._seconds: dict[int, float] = {}
        self._spent: dict[int, tuple[float, float]] = {}

    def of(self, n_sequences: int) -> float:
        """The price of one more token in a pass of so many sequences, from _LOWEST to 1.

        >>> price = Price(share=0.5)
        >>> price.record(1, 0, 0.010)
        >>> price.record(1, 4, 0.030)
        >>> price.of(1)
        0.5
        """
        if n_sequences not in self._seconds:
            return 1.0
        extra, n_drafted = self._spent.get(n_sequences, self._start(n_sequences))
        return min(1.0, max(_LOWEST, n_sequences * extra / n_drafted))

    def record(self, n_sequences: int, n_drafted: int, seconds: float) -> None:
        """Note how long a pass took."""
        usual = self._seconds.get(n_sequences, seconds)
        if n_drafted == 0:
            self._seconds[n_sequences] = usual + 0.2 * (seconds - usual)
            return
        extra = min(max(seconds / usual - 1, 0.0), float(n_drafted))
        before = self._spent.get(n_sequences, self._start(n_sequences))
        self._spent[n_sequences] = (0.95 * before[0] + extra, 0.95 * before[1] + n_drafted)

    def _start(self, n_sequences: int) -> tuple[float, float]:
        """Extra passes and drafted tokens, as if measured: a token more costs _share in a pass of
        one sequence, and the same time in a pass of several."""
        in_pass = self._share / (1 - self._share + self._share * n_sequences)
        return _WEIGHT * in_pass, _WEIGHT


_LOWEST = 0.02
_WEIGHT = 16.0
"""As many drafted tokens count as measured at the start."""


@dataclass(eq=False)
class Speculation:
    """The drafts of one sequence."""

    source: DraftSource
    odds: Odds
    n_drafted: int = 0
    """Tokens that were tried."""
    n_accepted: int = 0
    """Those that the model chose too."""
    _draft: TokenDraft = NO_DRAFT
    _n_tried: int = 0
    _n_judged: int = 0

    def plan(self, tokens: Many[int], n: int, price: float) -> list[int]:
        """The tokens to try next, at most `n`."""
        self._draft = self.source.propose(tokens, n + 1)
        self._n_judged, self._n_tried = 0, 0
        chance = 1.0
        for at in range(min(n, len(self._draft.tokens))):
            chance *= self.odds.chance(self._kind(at))
            if chance < price:
                break
            self._n_tried += 1
        self.n_drafted += self._n_tried
        return list(self._draft.tokens[: self._n_tried])

    def judge(self, token_id: int) -> bool:
        """Learn from the token that was chosen; True if the next one was computed too."""
        at, self._n_judged = self._n_judged, self._n_judged + 1
        if at >= len(self._draft.tokens):
            return False
        is_right = self._draft.tokens[at] == token_id
        self.odds.note(self._kind(at), is_right)
        is_accepted = is_right and at < self._n_tried
        self.n_accepted += is_accepted
        return is_accepted

    def _kind(self, at: int) -> int:
        """The class of the draft's token at a place: those before it match as well."""
        n_matched = self._draft.n_matched + at
        return 2 * (bisect_right(_LENGTHS, n_matched) - 1) + self._draft.is_unanimous
