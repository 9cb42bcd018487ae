"""Places in the key/value cache, and moves between them.

Not here: who runs when (scheduler.py), and the cache itself (model/cache.py).
"""

from dataclasses import dataclass

MIN_SHARED = 16
"""A prefix shorter than this is not worth a copy, nor waiting for one."""


@dataclass(frozen=True)
class Copy:
    """Before the next batch: the first `n_tokens` positions of row `source` go to row `target`."""

    source: int
    target: int
    n_tokens: int


@dataclass(frozen=True)
class Swap:
    """Before the next batch: rows `a` and `b`, of `n_a` and `n_b` tokens, change places."""

    a: int
    b: int
    n_a: int
    n_b: int


Move = Copy | Swap


def shared_prefix(a: list[int], b: list[int]) -> int:
    """How many tokens two sequences have in common at their start.

    >>> shared_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
