"""One plain sentence on the table of later commits: it helped, nothing shows, or it made it worse.

Input: the differences between the arm in question and the base with context, with intervals.
Output: the outcome, the sentence, and what to do. Bits per byte decide, because they are the most
precise; a gain in them does not count if fewer lines are exactly right.

Not here: the numbers (measures.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from codling.evaluate.heldout.measures import Interval

Outcome = Literal["helped", "no difference", "worse"]
ENOUGH_PLACES = 300
ENOUGH_COMMITS = 20
"""With fewer commits the draws are too similar, and the interval would be too narrow."""


@dataclass(frozen=True)
class CommitVerdict:
    """The conclusion from the table."""

    outcome: Outcome
    text: str
    cure: str


def judge_commits(
    arm: str,
    change: Mapping[str, Interval],
    reference: Mapping[str, float],
    n_places: int,
    n_commits: int,
) -> CommitVerdict:
    """The sentence on `arm`: its `change` from the base with context, whose values are `reference`.

    Both are by measure (measures.py).
    """
    bits, exact, is_tuned = change["bits_per_byte"], change["exact"], arm.startswith("tuned")
    found = f"{_percent(bits, reference['bits_per_byte'])} bits per byte, {_points(exact)}"
    about = (
        f"{arm} against base + context on {n_places} places of {n_commits} later commits: {found}."
    )
    few = (
        ""
        if n_places >= ENOUGH_PLACES
        else f" Fewer than {ENOUGH_PLACES} places are too few to be sure."
    )
    what = "the tuned model" if is_tuned else "the memory"
    if n_commits < ENOUGH_COMMITS:
        text = f"Too few commits to tell (at least {ENOUGH_COMMITS} are needed). {about}"
        return CommitVerdict(
            "no difference", text, "ask at more commits: an earlier cut (--at), or later again"
        )
    if bits.low > 0 or exact.high < 0:
        text = f"It made things worse. {about}{few}"
        return CommitVerdict("worse", text, f"serve the base, without {what}")
    if bits.high < 0:
        text = f"It helped. {about}{few}"
        return CommitVerdict("helped", text, f"serve {what}: codling serve takes it")
    text = f"No difference can be shown. {about}{few}"
    more = "train longer, or on more code" if is_tuned else "a larger repository has more to repeat"
    return CommitVerdict(
        "no difference", text, f"go on with the base; {more}, and ask at more places (--n-places)"
    )


def shows_gain(change: Mapping[str, Interval], n_commits: int) -> bool:
    """Whether a difference is a gain beyond chance: fewer bits, exact answers not shown to fall."""
    enough = n_commits >= ENOUGH_COMMITS
    return enough and change["bits_per_byte"].high < 0 and change["exact"].high >= 0


def tuning_text(
    change: Mapping[str, Interval], reference: Mapping[str, Mapping[str, float]]
) -> str:
    """What tuning itself does, beside the base with context and memory."""
    bits = _percent(change["bits_per_byte"], reference["bits_per_byte"]["value"])
    exact = _points(change["exact"])
    return f"Tuning alone, beside the same memory: {bits} bits per byte, {exact}."


def _percent(difference: Interval, reference: float) -> str:
    value, low, high = (
        100 * each / max(reference, 1e-12)
        for each in (difference.value, difference.low, difference.high)
    )
    return f"{value:+.1f}% ({low:+.1f} to {high:+.1f})"


def _points(difference: Interval) -> str:
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:+.1f} points of exact answers ({low:+.1f} to {high:+.1f})"
