"""Compiled loops over the UTF-8 bytes of many texts at once: line statistics, and what to look for.

Input: the data and offsets of an Arrow string array. Output: per text the counts of
linestats.LineStats, and marks that say which of the slow searches can find anything in it.

numba is loaded by importing this module, so only large runs do (clean.py). The counts are those of
linestats.line_stats, and every search without its mark finds nothing: tests hold both to it.

Not here: the rules and searches themselves (filters.py, redact.py).
"""

# ruff: noqa: ANN001, ANN202, C901, PLR0913
# The types inside compiled loops are numba's business.
# mypy: disable-error-code="assignment,no-untyped-def"

from collections.abc import Mapping
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codling.corpus.linestats import LineStats
from codling.corpus.marks import BASE64 as MARK_BASE64
from codling.corpus.marks import BASE64_RUN, CODED_PARTS
from codling.corpus.marks import CODED as MARK_CODED
from codling.corpus.marks import EMAIL as MARK_EMAIL
from codling.corpus.marks import IPV4 as MARK_IPV4
from codling.corpus.marks import IPV6 as MARK_IPV6

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

N_COUNTS = len(LineStats._fields)
_FLUSH = 65_535
"""Bytes after which the packed counters (16 bits each) are emptied."""
_ALPHABETIC, _ALPHANUMERIC, _SPACE = 1, 2, 4
_LAST_POINT = 0x32400
"""No letter or space has a code point from here on."""
_HASH = 2654435761
_TABLE_BITS = 16


def count(data: Bytes, offsets: Offsets) -> NDArray[np.int64]:
    """The counts of every text, [n, fields of LineStats]; `offsets` has n + 1 entries."""
    counts = np.zeros((len(offsets) - 1, N_COUNTS), np.int64)
    is_ascii = np.zeros(len(offsets) - 1, np.uint8)
    _count_ascii(data, offsets, _packed_classes(), counts, is_ascii)
    if not is_ascii.all():
        _count_unicode(data, offsets, _classes(), counts, is_ascii)
    return counts


def mark(
    data: Bytes, offsets: Offsets, anchors: Mapping[str, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """For every text its marks, and the joined bits of the anchors (4 bytes each) that it holds."""
    marks = np.zeros(len(offsets) - 1, np.uint8)
    held = np.zeros(len(offsets) - 1, np.uint64)
    words = np.array(sorted(int.from_bytes(a.encode(), "big") for a in anchors), np.uint32)
    bits = np.array(
        [anchors[int(w).to_bytes(4, "big").decode()] for w in words.tolist()], np.uint64
    )
    _mark(data, offsets, (_anchor_table(words), words, bits), _mark_classes(), marks, held)
    return marks, held


@cache
def _packed_classes() -> NDArray[np.uint64]:
    """Per byte a counter of 16 bits each for letters, digits, spaces and newlines."""
    table = np.zeros(256, np.uint64)
    for byte in range(128):
        character = chr(byte)
        fields = (character.isalpha(), character.isdigit(), character.isspace(), byte == 10)
        table[byte] = sum(int(is_set) << (16 * i) for i, is_set in enumerate(fields))
    return table


@cache
def _classes() -> NDArray[np.uint8]:
    """Per code point its classes, as str's methods see them; the last entry is for all above."""
    table = np.zeros(_LAST_POINT + 1, np.uint8)
    for point in range(_LAST_POINT):
        character = chr(point)
        if character.isalnum():
            table[point] = _ALPHANUMERIC | (_ALPHABETIC if character.isalpha() else 0)
        elif character.isspace():
            table[point] = _SPACE
    return table


@njit(cache=True)
def _count_ascii(data, offsets, classes, counts, is_ascii):
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        letters = digits = spaces = lines = np.int64(0)
        longest = returns = np.int64(0)
        begin = start
        every = np.uint8(0)
        at = start
        while at < end:
            stop = min(end, at + _FLUSH)
            packed = np.uint64(0)
            for i in range(at, stop):
                byte = data[i]
                packed += classes[byte]
                every |= byte
                if byte == 10:
                    length = i - begin
                    if i > begin and data[i - 1] == 13:
                        length -= 1
                        returns += 1
                    if length > longest:
                        longest = length
                    begin = i + 1
            letters += np.int64(packed & np.uint64(0xFFFF))
            digits += np.int64((packed >> np.uint64(16)) & np.uint64(0xFFFF))
            spaces += np.int64((packed >> np.uint64(32)) & np.uint64(0xFFFF))
            lines += np.int64(packed >> np.uint64(48))
            at = stop
        if every >= 128:
            continue
        is_ascii[row] = 1
        newlines = lines
        if begin < end:
            lines += 1
            length = end - begin
            if data[end - 1] == 13:
                length -= 1
                returns += 1
            longest = max(longest, length)
        counts[row, 0] = end - start
        counts[row, 1] = lines
        counts[row, 2] = longest
        counts[row, 3] = end - start - newlines - returns
        counts[row, 4] = letters
        counts[row, 5] = letters + digits
        counts[row, 6] = digits
        counts[row, 7] = spaces


@njit(cache=True)
def _count_unicode(data, offsets, classes, counts, is_ascii):
    for row in range(len(offsets) - 1):
        if is_ascii[row]:
            continue
        chars = lines = longest = total = letters = alphanumeric = digits = spaces = np.int64(0)
        length = np.int64(0)
        before = np.int64(0)
        i, end = offsets[row], offsets[row + 1]
        while i < end:
            byte = np.int64(data[i])
            if byte < 0x80:
                point, i = byte, i + 1
            elif byte < 0xE0:
                point = ((byte & 0x1F) << 6) | (data[i + 1] & 0x3F)
                i += 2
            elif byte < 0xF0:
                point = ((byte & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)
                i += 3
            else:
                point = ((byte & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12)
                point |= ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
                i += 4
            chars += 1
            if point == 10:
                length -= before == 13
                lines += 1
                total += length
                longest = max(longest, length)
                length = 0
            else:
                length += 1
            kinds = classes[min(point, _LAST_POINT)]
            letters += kinds & 1
            alphanumeric += (kinds >> 1) & 1
            spaces += kinds >> 2
            digits += 48 <= point <= 57
            before = point
        if chars and before != 10:
            length -= before == 13
            lines += 1
            total += length
            longest = max(longest, length)
        counts[row, 0], counts[row, 1], counts[row, 2], counts[row, 3] = (
            chars,
            lines,
            longest,
            total,
        )
        counts[row, 4], counts[row, 5] = letters, alphanumeric
        counts[row, 6], counts[row, 7] = digits, spaces


def _anchor_table(words: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """A table of hashes of 4 bytes: what is not in it is no anchor."""
    table = np.zeros(1 << (_TABLE_BITS - 3), np.uint8)
    for word in words.tolist():
        place = ((word * _HASH) & 0xFFFFFFFF) >> (32 - _TABLE_BITS)
        table[place >> 3] |= 1 << (place & 7)
    return table


_DIGIT, _HEX, _BASE64, _CODED, _AT, _DOT, _COLON, _LOCAL = 1, 2, 4, 8, 16, 32, 64, 128
_ASKED = _AT | _DOT | _COLON


@cache
def _mark_classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for byte in range(128):
        character = chr(byte)
        is_hex = character in "0123456789abcdefABCDEF"
        table[byte] = (
            _DIGIT * character.isdigit()
            | _HEX * is_hex
            | _BASE64 * (character.isalnum() or character in "+/=\n")
            | _CODED * (is_hex or character in "xu\\," or character.isspace())
            | _AT * (character == "@")
            | _DOT * (character == ".")
            | _COLON * (character == ":")
            | _LOCAL * (character.isalnum() or character in "_.+%-")
        )
    return table


_V4_DOTS = 8
"""Most bytes from the first to the third dot of an IPv4 address."""
_V6_COLONS = 10
"""Most bytes from the first to the third colon of an IPv6 address."""


@njit(cache=True)
def _mark(data, offsets, anchors, classes, marks, held):
    table, words, bits = anchors
    for row in range(len(offsets) - 1):
        found = np.uint8(0)
        word = np.uint32(0)
        base64 = digits = pairs = escapes = np.int64(0)
        most_base64 = most_coded = np.int64(0)
        first_dot = second_dot = first_colon = second_colon = np.int64(-1000)
        for i in range(offsets[row], offsets[row + 1]):
            byte = data[i]
            kind = classes[byte]
            word = np.uint32(word << np.uint32(8)) | np.uint32(byte)
            place = np.uint32(word * np.uint32(_HASH)) >> np.uint32(32 - _TABLE_BITS)
            if table[place >> 3] >> (place & 7) & 1:
                at = np.searchsorted(words, word)
                if at < len(words) and words[at] == word:
                    held[row] |= bits[at]
            base64 = base64 + 1 if kind & _BASE64 else 0
            most_base64 = max(most_base64, base64)
            if kind & _HEX:
                digits += 1
            else:
                if digits:
                    # A lone 0 before an x only begins the next number.
                    if not (digits == 1 and byte == 120):
                        pairs = pairs + 1 if digits == 2 else 0
                        escapes = escapes + 1 if digits == 4 else 0
                        most_coded = max(most_coded, pairs, escapes)
                    digits = 0
                if not kind & _CODED:
                    pairs = escapes = 0
            if kind & _ASKED:
                before = classes[data[i - 1]] if i > offsets[row] else np.uint8(0)
                if kind & _AT:
                    if before & _LOCAL:
                        found |= np.uint8(MARK_EMAIL)
                elif kind & _DOT:
                    if not before & _DIGIT:
                        continue
                    if i - first_dot <= _V4_DOTS:
                        found |= np.uint8(MARK_IPV4)
                    first_dot, second_dot = second_dot, i
                else:
                    if not before & (_HEX | _COLON):
                        continue
                    if i - first_colon <= _V6_COLONS:
                        found |= np.uint8(MARK_IPV6)
                    first_colon, second_colon = second_colon, i
        if most_base64 >= BASE64_RUN:
            found |= np.uint8(MARK_BASE64)
        pairs = pairs + 1 if digits == 2 else 0
        escapes = escapes + 1 if digits == 4 else 0
        if max(most_coded, pairs, escapes) >= CODED_PARTS:
            found |= np.uint8(MARK_CODED)
        marks[row] = found
