"""Endless repetition: an answer that writes the same few tokens over and over.

Input: the tokens of an answer. Output: whether its end is a loop. A block of 1 to 64 tokens that
stands there eight times in a row or more, over 64 tokens or more, is taken for one: tables of code
repeat themselves too, but differ somewhere. Nothing else about the answer changes.

Not here: what ends then (sequence.py).
"""

from collections.abc import Sequence

MIN_TIMES = 8
MIN_TOKENS = 64
MAX_BLOCK = 64


def ends_in_loop(tokens: Sequence[int]) -> bool:
    """Whether the last tokens are one block again and again.

    >>> ends_in_loop([5, 1, 2] * 22), ends_in_loop([5, 1, 2] * 21), ends_in_loop(range(99))
    (True, False, False)
    """
    n = len(tokens)
    last = tokens[-1] if n else None
    for size in range(1, min(MAX_BLOCK, n // MIN_TIMES) + 1):
        span = max(MIN_TOKENS, MIN_TIMES * size)
        if n < span or tokens[n - 1 - size] != last:
            continue
        if tokens[n - span : n - size] == tokens[n - span + size :]:
            return True
    return False
