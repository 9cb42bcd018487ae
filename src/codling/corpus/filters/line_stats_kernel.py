"""Line statistics as a compiled loop over the UTF-8 bytes of many texts at once.

Input: the data and offsets of an Arrow string array. Output: per text the counts of
line_stats.LineStats. Bytes are counted in blocks of a fixed size without a branch, which the
compiler turns into vector instructions; only characters outside ASCII are read one by one. The
longest line is found by jumping: from a line's beginning as far as the longest line so far, and
back to the last newline.

numba is loaded by importing this module, so only large runs do (clean.py). The counts are those of
line_stats.line_stats: a test holds them to it.

Not here: what the slow searches are spared (marks_kernel.py), and the rules (rules.py).
"""

# ruff: noqa: ANN001, ANN202
# The types inside compiled loops are numba's business.
# mypy: disable-error-code="no-untyped-def"

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codling.corpus.filters.line_stats import LineStats

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

N_COUNTS = len(LineStats._fields)
_BLOCK = 128
"""Bytes whose counters fit into a byte each."""
_ALPHABETIC, _ALPHANUMERIC, _SPACE = 1, 2, 4
_LAST_POINT = 0x32400
"""No letter or space has a code point from here on."""


def count(data: Bytes, offsets: Offsets) -> NDArray[np.int64]:
    """The counts of every text, [n, fields of LineStats]; `offsets` has n + 1 entries."""
    counts = np.zeros((len(offsets) - 1, N_COUNTS), np.int64)
    _count(data, offsets, _classes(), counts)
    return counts


@cache
def _classes() -> NDArray[np.uint8]:
    """Per code point its classes, as str's methods see them; the last entry is for all above."""
    points = np.arange(_LAST_POINT, dtype=np.uint32).view("U1")
    table = np.zeros(_LAST_POINT + 1, np.uint8)
    table[:-1] = (
        _ALPHABETIC * np.strings.isalpha(points)
        | _ALPHANUMERIC * np.strings.isalnum(points)
        | _SPACE * np.strings.isspace(points)
    )
    return table


@njit(nogil=True, cache=True)
def _count(data, offsets, classes, counts):
    tail = np.zeros(_BLOCK, np.uint8)
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        letters = digits = spaces = newlines = inner = returns = numeric = np.int64(0)
        at = start
        while at < end:
            size = min(np.int64(_BLOCK), end - at)
            if size == _BLOCK:
                block = data[at : at + _BLOCK]
            else:
                tail[:] = 0  # counted nowhere
                tail[:size] = data[at:end]
                block = tail
            a = d = s = n = c = r = every = np.uint8(0)
            for j in range(_BLOCK):
                x = block[j]
                a = np.uint8(a + np.uint8(np.uint8((x | np.uint8(32)) - np.uint8(97)) < 26))
                d = np.uint8(d + np.uint8(np.uint8(x - np.uint8(48)) < 10))
                is_space = (
                    (x == 32) | (np.uint8(x - np.uint8(9)) < 5) | (np.uint8(x - np.uint8(28)) < 4)
                )
                s = np.uint8(s + np.uint8(is_space))
                n = np.uint8(n + np.uint8(x == 10))
                c = np.uint8(c + np.uint8((x & np.uint8(0xC0)) == 0x80))
                r = np.uint8(r + np.uint8(x == 13))
                every |= x
            letters, digits, spaces = letters + a, digits + d, spaces + s
            newlines, inner, returns = newlines + n, inner + c, returns + r
            if every >= 128:
                a64, s64, n64 = _outside_ascii(data, at, at + size, classes)
                letters, spaces, numeric = letters + a64, spaces + s64, numeric + n64
            at += size
        if returns:
            returns = _line_returns(data, start, end)
        counts[row, 0] = end - start - inner
        counts[row, 1] = newlines + (end > start and data[end - 1] != 10)
        counts[row, 2] = _longest_line(data, start, end, inner > 0)
        counts[row, 3] = end - start - inner - newlines - returns
        counts[row, 4] = letters
        counts[row, 5] = letters + digits + numeric
        counts[row, 6] = digits
        counts[row, 7] = spaces


@njit(nogil=True, cache=True)
def _outside_ascii(data, start, end, classes):
    """Letters, spaces and other alphanumeric characters that begin in a block, outside ASCII."""
    letters = spaces = numeric = np.int64(0)
    for i in range(start, end):
        byte = np.int64(data[i])
        if byte < 0xC0:
            continue
        if byte < 0xE0:
            point = ((byte & 0x1F) << 6) | (data[i + 1] & 0x3F)
        elif byte < 0xF0:
            point = ((byte & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)
        else:
            point = ((byte & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12)
            point |= ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
        kinds = classes[min(point, _LAST_POINT)]
        letters += kinds & 1
        numeric += ((kinds >> 1) & 1) - (kinds & 1)
        spaces += kinds >> 2
    return letters, spaces, numeric


@njit(nogil=True, cache=True)
def _line_returns(data, start, end):
    """Carriage returns at the ends of lines."""
    n = np.int64(data[end - 1] == 13)
    for i in range(start + 1, end):
        n += (data[i] == 10) & (data[i - 1] == 13)
    return n


@njit(nogil=True, cache=True)
def _longest_line(data, start, end, is_unicode):
    """Characters of the longest line."""
    longest, begin = np.int64(0), start
    # As long as this, the rest holds no longer line.
    while end - begin > longest:
        stop = begin + longest
        while stop >= begin and data[stop] != 10:
            stop -= 1
        if stop >= begin:
            begin = stop + 1  # all lines up to here are short enough
            continue
        stop = begin + longest + 1
        while stop < end and data[stop] != 10:
            stop += 1
        length = stop - begin - np.int64(data[stop - 1] == 13)
        if is_unicode:
            for i in range(begin, stop):
                length -= (data[i] & 0xC0) == 0x80
        longest = max(longest, length)
        begin = stop + 1
    return longest
