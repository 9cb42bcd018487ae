"""The memory's look-ups by plain search: slow, and right at a glance."""

from collections import Counter
from collections.abc import Sequence


def matches(text: Sequence[int], position: int, context: Sequence[int], limit: int) -> int:
    """How many tokens before `position` equal the end of `context`."""
    n = 0
    while (
        n < limit
        and position - 1 - n >= 0
        and n < len(context)
        and text[position - 1 - n] == context[len(context) - 1 - n]
    ):
        n += 1
    return n


def recall(
    files: Sequence[Sequence[int]], context: Sequence[int], limit: int
) -> tuple[int, Counter[int]]:
    """The longest match in any file, and what followed it."""
    found = [
        (matches(file, position, context, limit), file[position])
        for file in files
        for position in range(1, len(file))
    ]
    longest = max((n for n, _ in found), default=0)
    return longest, Counter(token for n, token in found if n == longest and n)
