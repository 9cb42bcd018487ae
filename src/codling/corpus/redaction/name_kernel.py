"""Which texts may assign a secret to a name, or give one to a command: a compiled loop over bytes.

Input: the bytes of one text. Output: whether behind a stem of assigned_secrets.STEMS, or a flag
that takes a password, there is a value of eight bytes or more in which a letter meets a digit, or a
capital follows a small letter, twice; or whether a command stands there that is given secrets
elsewhere (commanded_secrets.toml). Each three bytes are looked up in a table of those that begin
such marks; only at a mark the bytes behind are read one by one: the rest of the name, then signs
and words that may stand between a name and its value.

Not here: the rule itself (assigned_secrets.py). This may say yes where the rule finds nothing,
never the other way round.

Digest of what is compiled in from other files: 4f01d378af6e2e21.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from collections.abc import Iterator
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codling.corpus.redaction.assigned_secrets import (
    CUTS,
    FILLERS,
    INNER,
    MAX_REST,
    MIN_CHANGES,
    MIN_VALUE,
    REACH,
    SIGNS,
    STEMS,
)
from codling.corpus.redaction.commanded_secrets import COMMANDS, FLAGS

_MIN_VALUE, _MIN_CHANGES = MIN_VALUE, MIN_CHANGES
_REACH, _MAX_REST = 4 * REACH, 4 * MAX_REST
"""In bytes, of which a character has four at most."""
_SMALL, _CAPITAL, _DIGIT, _VALUE, _NAME, _SIGN, _QUOTE, _CUT, _INNER = (1 << i for i in range(9))
_LETTER = _SMALL | _CAPITAL
_TRIPLES = 1 << 15
"""Three bytes by the last five bits of each, which capitals and small letters share."""
_TRIPLE, _LENGTH, _KIND, _ANY_CASE, _BYTES = range(5)
"""The columns of the table of marks."""
_NAMED, _COMMAND = range(2)
_STEM = 4
"""Characters of a stem that are compared."""
_LONGEST_MARK = max(4 * _STEM, *(len(each.mark.encode()) for each in COMMANDS))
_LONGEST = max(map(len, FILLERS))


@cache
def tables() -> tuple[NDArray[np.uint16], NDArray[np.bool_], tuple[NDArray[np.generic], ...]]:
    """The classes of bytes; by length, first and last letter the words between; the marks."""
    classes = np.full(256, _VALUE, np.uint16)
    classes[[*range(9, 14), *range(28, 33), 34, 39, 60, 62, 96]] = 0
    classes[97:123] |= _SMALL | _NAME
    classes[65:91] |= _CAPITAL | _NAME
    classes[48:58] |= _DIGIT | _NAME
    classes[[ord(c) for c in "_.-"]] |= _NAME
    classes[128:] |= _NAME
    classes[[ord(c) for c in SIGNS if c.isascii()]] |= _SIGN
    classes[[ord(c) for c in "\"'`"]] |= _QUOTE
    classes[[ord(c) for c in CUTS]] |= _CUT
    classes[[ord(c) for c in INNER]] |= _INNER
    fillers = np.zeros((_LONGEST + 1, 32, 32), np.bool_)
    for word in FILLERS:
        fillers[len(word), ord(word[0]) & 31, ord(word[-1]) & 31] = True
    return classes, fillers, _mark_tables()


def _mark_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16]]:
    """Which three bytes begin a mark, the first row of their marks, and the rows."""
    rows = sorted({row for mark, kind in _marks() for row in _mark_rows(mark, kind)})
    marks = np.array(rows, np.uint16)
    begins, first = np.zeros(_TRIPLES, np.uint8), np.zeros(_TRIPLES, np.uint16)
    for k in range(len(rows) - 1, -1, -1):
        three = rows[k][_TRIPLE]
        first[three] = k
        begins[three] = 1
    return begins, first, marks


def _marks() -> Iterator[tuple[str, int]]:
    """What is looked for: the beginnings of names and flags, and the marks of commands, whole."""
    for stem in STEMS:
        for written in {stem[:_STEM], stem[:_STEM].upper(), stem[:_STEM].capitalize()}:
            yield written, _NAMED
    yield from ((f" -{letter}", _NAMED) for letter in FLAGS)
    yield from ((command.mark, _COMMAND) for command in COMMANDS)


def _mark_rows(mark: str, kind: int) -> Iterator[tuple[int, ...]]:
    """The rows of one mark: those of two bytes begin with every third one."""
    any_case = kind == _NAMED and mark.isascii()
    written = mark.encode().lower() if any_case else mark.encode()
    row = bytes(byte | 32 for byte in written) if any_case else written
    for third in range(32) if len(row) == 2 else row[2:3]:
        three = (row[0] & 31) << 10 | (row[1] & 31) << 5 | third & 31
        yield three, len(row), kind, int(any_case), *row.ljust(_LONGEST_MARK, b"\0")


@njit(nogil=True, cache=True)
def may_assign(data, start, end, known):
    """Whether the text from `start` to `end` has a mark and such a value behind it.

    `known` are the `tables`.
    """
    classes, fillers, (begins, first, marks) = known
    five, whole = np.uint32(31), np.uint32(_TRIPLES - 1)
    three = np.uint32(0)  # without a sign: indices need no test for negative ones then
    for i in range(start, end):
        three = ((three << np.uint32(5)) | (np.uint32(data[i]) & five)) & whole
        if begins[three]:
            k = first[three]
            while k < len(marks) and marks[k, _TRIPLE] == three:
                at = i - 2
                if _is_mark(data, at, (start, end), marks[k], classes) and (
                    marks[k, _KIND] == _COMMAND or _has_value(data, at, end, (classes, fillers))
                ):
                    return True
                k += 1
    return False


@njit(nogil=True, cache=True)
def _is_mark(data, i, bounds, mark, classes):
    """Whether the `mark` stands at `i`: a row of the tables. `pw` is one alone, and in `pwd`."""
    start, end = bounds
    n = mark[_LENGTH]
    if i < start or i + n > end:
        return False
    small = np.uint8(32 if mark[_ANY_CASE] else 0)
    for j in range(n):
        if data[i + j] | small != mark[_BYTES + j]:
            return False
    if n > 2:
        return True
    before = i > start and classes[data[i - 1]] & _LETTER
    behind = i + 2 < end and classes[data[i + 2]] & _LETTER
    return not before and not behind


@njit(nogil=True, cache=True)
def _has_value(data, i, end, known):
    """Whether a value that may be a secret follows the stem or flag at `i`."""
    classes, fillers = known
    last_start = i + _REACH
    is_flag = data[i] == 32
    in_quotes = is_flag  # what follows a flag is read as if it were
    if is_flag:
        i += 3
    else:
        i = _end_of_name(data, i, end, classes)
        if i < 0:
            return True
    while i < end and i <= last_start:
        kind = classes[data[i]]
        if data[i] == 10:
            if not _goes_on(data, i, end):
                return False
            i += 1
        elif _stands_between(data, i, end, kind):
            in_quotes = is_flag or kind & _QUOTE != 0 or (in_quotes and kind & _INNER != 0)
            i += 1
        else:
            stop = i
            while stop < end and classes[data[stop]] & _LETTER:
                stop += 1
            n = stop - i
            is_word = 0 < n <= _LONGEST and (stop == end or not _is_word_byte(data[stop], classes))
            if not (is_word and fillers[n, data[i] & 31, data[stop - 1] & 31]):
                return _is_mixed(data, i, end, classes, in_quotes)
            # Other words look like one of these, and so does a login before the colon of `curl -u`.
            if _is_mixed(data, i, end, classes, in_quotes):
                return True
            in_quotes = is_flag
            i = stop
    return False


@njit(nogil=True, cache=True)
def _stands_between(data, i, end, kind):
    """Whether a sign, or a digit before a blank, may stand between a name and its value."""
    alone = kind & _DIGIT and i + 1 < end and data[i + 1] == 32
    return kind & _SIGN or data[i] == 13 or alone


@njit(nogil=True, cache=True)
def _end_of_name(data, i, end, classes):
    """Where the name that goes on at `i` ends; -1 if a value may follow a sign outside ASCII, such
    as a wide colon, which looks like a letter here."""
    stop = min(end, i + _MAX_REST)
    while i < stop and classes[data[i]] & _NAME:
        is_last = data[i] > 127 and i + 1 < end and data[i + 1] < 128
        if is_last and _is_mixed(data, i + 1, end, classes, True):
            return -1
        i += 1
    return i


@njit(nogil=True, cache=True)
def _is_word_byte(byte, classes):
    return byte == 95 or classes[byte] & (_LETTER | _DIGIT) != 0


@njit(nogil=True, cache=True)
def _goes_on(data, i, end):
    """Whether a name's value may stand on the line after the break at `i`."""
    before = i - 1
    while before >= 0 and (data[before] == 32 or data[before] == 9 or data[before] == 13):
        before -= 1
    if before >= 0 and (data[before] == 62 or data[before] == 124):  # > |
        return True
    if before >= 1 and (data[before] == 43 or data[before] == 45):  # + -
        return data[before - 1] == 62 or data[before - 1] == 124
    operators = before >= 0 and (
        data[before] == 61 or data[before] == 40 or data[before] == 58 or data[before] == 92
    )
    after = i + 1
    while after < end and (data[after] == 32 or data[after] == 9 or data[after] == 45):
        after += 1
    if after < end and (data[after] == 34 or data[after] == 39 or data[after] == 60):
        if operators:  # = ( : or a backslash before, a quote behind
            return True
        after += 1
    low = data[after] | np.uint16(32) if after < end else np.uint16(0)
    return low == 118 or low == 100 or low == 115  # value, default, string


@njit(nogil=True, cache=True)
def _is_mixed(data, i, end, classes, in_quotes):
    """Whether the run of value bytes from `i` on is long and mixed enough, and no call."""
    n = changes = 0
    has_digit = False
    last = np.uint16(0)
    while i < end:
        kind = classes[data[i]]
        if not kind & _VALUE or (kind & _CUT and not in_quotes):
            break
        n += 1
        if kind & _DIGIT:
            has_digit = True
            changes += 1 if last & _LETTER else 0
        elif (last & _DIGIT and kind & _LETTER) or (last & _SMALL and kind & _CAPITAL):
            changes += 1
        last = kind
        i += 1
    is_call = i < end and not in_quotes and (data[i] == 40 or data[i] == 91)  # ( [
    is_enough = changes >= _MIN_CHANGES and (has_digit or changes > _MIN_CHANGES)
    return n >= _MIN_VALUE and is_enough and not is_call
