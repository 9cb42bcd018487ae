"""Compiled look-ups of the memory: the longest match of a context, and what followed it.

Input: arrays of token ids and positions. Output: ranges, and continuations with their counts. The
tests hold each loop to a plain search (tests/engine/memory/plain_memory.py).

Not here: building the index (index.py) and how its answers are weighted (mixture.py).
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ids = NDArray[Any]


@njit(cache=True)
def _token_before(tokens: Ids, position: int, depth: int, separator: int) -> int:
    at = position - 1 - depth
    return int(tokens[at]) if at >= 0 else separator


@njit(cache=True)
def _lower_bound(  # noqa: PLR0913  arrays, as compiled code takes them
    tokens: Ids, order: Ids, low: int, high: int, depth: int, wanted: int, separator: int
) -> int:
    """The first place in order[low:high] whose token at `depth` is not below `wanted`."""
    while low < high:
        middle = (low + high) // 2
        if _token_before(tokens, order[middle], depth, separator) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def match_ranges(  # noqa: PLR0913  arrays, as compiled code takes them
    tokens: Ids, order: Ids, context: Ids, max_match: int, separator: int, ranges: Ids
) -> int:
    """How many of the last tokens of `context` occur together in `tokens`, at most `max_match`.

    `ranges[d]` becomes the part of `order` where the last d + 1 tokens match.
    """
    low, high = 0, len(order)
    n = min(max_match, len(context))
    for depth in range(n):
        wanted = context[len(context) - 1 - depth]
        if wanted == separator:
            return depth
        low = _lower_bound(tokens, order, low, high, depth, wanted, separator)
        high = _lower_bound(tokens, order, low, high, depth, wanted + 1, separator)
        if low >= high:
            return depth
        ranges[depth, 0], ranges[depth, 1] = low, high
    return n


@njit(cache=True)
def _note(  # noqa: PLR0913  arrays, as compiled code takes them
    ids: Ids, counts: Ids, places: Ids, n_kinds: int, token: int, place: int
) -> int:
    """Count one continuation; gives the number of different ones."""
    for i in range(n_kinds):
        if ids[i] == token:
            counts[i] += 1
            return n_kinds
    ids[n_kinds], counts[n_kinds], places[n_kinds] = token, 1, place
    return n_kinds + 1


@njit(cache=True)
def count_continuations(  # noqa: PLR0913  arrays, as compiled code takes them
    tokens: Ids,
    order: Ids,
    low: int,
    high: int,
    file_starts: Ids,
    alive: Ids,
    ids: Ids,
    counts: Ids,
    places: Ids,
) -> int:
    """The tokens at the positions order[low:high] in files that are not dropped; gives the kinds.

    A range longer than `ids` is read at places spread evenly.
    """
    n_kinds = 0
    n_read = min(high - low, len(ids))
    for i in range(n_read):
        position = order[low + i * (high - low) // n_read]
        file = np.searchsorted(file_starts, position, side="right") - 1
        if alive[file]:
            n_kinds = _note(ids, counts, places, n_kinds, tokens[position], position)
    return n_kinds


@njit(cache=True)
def scan_back(  # noqa: PLR0913  arrays, as compiled code takes them
    text: Ids, n: int, max_match: int, separator: int, ids: Ids, counts: Ids, places: Ids
) -> tuple[int, int]:
    """The longest match of the end of text[:n] further up in it, and what followed there.

    Gives (length, kinds). The nearest matches are counted first; `len(ids)` of them at most.
    """
    best, n_kinds, n_read = 0, 0, 0
    last = text[n - 1] if n else separator
    if last == separator:
        return 0, 0
    for position in range(n - 1, 0, -1):
        if text[position - 1] != last or text[position] == separator:
            continue
        length = 1
        while (
            length < max_match
            and position - 1 - length >= 0
            and text[position - 1 - length] == text[n - 1 - length]
            and text[n - 1 - length] != separator
        ):
            length += 1
        if length > best:
            best, n_kinds, n_read = length, 0, 0
            counts[:] = 0
        if length == best and n_read < len(ids):
            n_kinds = _note(ids, counts, places, n_kinds, text[position], position)
            n_read += 1
    return best, n_kinds
