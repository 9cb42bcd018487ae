"""Where a file's leading licence comment ends, as a byte-array kernel.

Input: a document's bytes. Output: the place after the last of the comments at its beginning that
speaks of a licence or a copyright; the document's start where there is none, or where nothing but
such comments is there. A `#!` line, a byte order mark and `<?php` may come before or between.

Two small files with the same long header are not the same file, and two equal ones under different
headers are: what is compared begins here.

`license_end_reference` is the kernel's plain-Python twin. Not here: which licence it is
(licenses/headers.py).
"""

import re

import numba
import numpy as np
from numpy.typing import NDArray

BLOCKS = (
    (b"/*", b"*/"),
    (b"<!--", b"-->"),
    (b'"""', b'"""'),
    (b"'''", b"'''"),
    (b"(*", b"*)"),
    (b"{-", b"-}"),
    (b"--[[", b"]]"),
    (b"{#", b"#}"),
    (b"<%--", b"--%>"),
    (b"=begin", b"=end"),
    (b"<?xml", b"?>"),
)
"""How comments over several lines begin and end; a comment without an end is none."""
LINES = (b"//", b"#", b"--", b";", b"%", b"!", b"dnl ", b"REM ")
"""What begins a comment of one line; `#` not before a small letter or a bracket (`#include`)."""
PASSED = (b"\xef\xbb\xbf", b"<?php", b"<?hh")
"""What may precede a comment, anywhere at the beginning."""
HINTS = (b"licen", b"copyright", b"redistribut", b"public domain", b"all rights reserved")
"""One of them, in any case, makes a comment one about its licence."""

_SPACE = np.zeros(256, np.bool_)
_SPACE[list(b" \t\r\n\f\v")] = True
_WORD = np.ones(256, np.bool_)
_WORD[:128] = False
_WORD[list(b"_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] = True
_WIDTH = 20


def _pack_words(words: tuple[bytes, ...]) -> NDArray[np.uint8]:
    """Words as rows of bytes, each after its length."""
    rows = np.zeros((len(words), _WIDTH), np.uint8)
    for row, word in zip(rows, words, strict=True):
        row[0] = len(word)
        row[1 : len(word) + 1] = list(word)
    return rows


_OPENERS, _CLOSERS = (_pack_words(tuple(each)) for each in zip(*BLOCKS, strict=True))
_LINES, _PASSED, _HINTS = _pack_words(LINES), _pack_words(PASSED), _pack_words(HINTS)


@numba.njit(nogil=True, cache=True)
def license_end(data, start, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The place in `data[start:end]` after its leading licence comment."""
    at, found = start, start
    while True:
        while at < end and _SPACE[data[at]]:
            at += 1
        passed = _which(data, at, end, _PASSED)
        if passed >= 0:
            at += _PASSED[passed, 0]
            continue
        after = _after_comment(data, at, end)
        if after == at:
            break
        for i in range(at, after):
            if _which(data, i, after, _HINTS) >= 0:
                found = after
                break
        at = after
    for i in range(found, end):
        if _WORD[data[i]]:
            return found
    return start


@numba.njit(nogil=True, cache=True)
def _after_comment(data, at, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The place after the comment that begins at `at`, or `at`."""
    block = _which(data, at, end, _OPENERS)
    if block >= 0:
        for i in range(at + _OPENERS[block, 0], end):
            if _is_at(data, i, end, _CLOSERS[block]):
                return i + _CLOSERS[block, 0]
        return at
    after = at
    line = at
    while line < end and _is_line_comment(data, line, end):
        while line < end and data[line] != 10:
            line += 1
        line += line < end
        after = line
        while line < end and (data[line] == 32 or data[line] == 9):
            line += 1
    return after


@numba.njit(nogil=True, cache=True)
def _is_line_comment(data, at, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if _which(data, at, end, _LINES) < 0 or _which(data, at, end, _OPENERS) >= 0:
        return False
    if data[at] != 35 or at + 1 == end:
        return True
    following = data[at + 1]
    if following == 33 and at + 2 < end:  # `#!` of a shell, but `#![` of Rust
        following = data[at + 2]
    return not ((97 <= following <= 122 and data[at + 1] != 33) or following == 91)


@numba.njit(nogil=True, cache=True)
def _which(data, at, end, words):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(len(words)):
        if _is_at(data, at, end, words[row]):
            return row
    return -1


@numba.njit(nogil=True, cache=True)
def _is_at(data, at, end, word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether a word is at a place; words in lower case match those in upper case too."""
    n = np.int64(word[0])
    if at + n > end:
        return False
    for i in range(n):
        byte = data[at + i]
        if byte != word[i + 1] and not (65 <= byte <= 90 and byte + 32 == word[i + 1]):
            return False
    return True


_FIRST = re.compile(
    rb"[ \t\r\n\f\v]*+(?:(?P<passed>\xef\xbb\xbf|<\?php|<\?hh)|(?P<comment>"
    + b"|".join(
        re.escape(a) + rb"[\s\S]*?" + re.escape(b)
        for a, b in sorted(BLOCKS, key=lambda pair: -len(pair[0]))
    )
    + rb"|(?:[ \t]*+(?://|\#(?-i:(?![a-z\[]|!\[))|--(?!\[\[)|;|%|!|dnl |REM )[^\n]*+(?:\n|\Z))+))",
    re.IGNORECASE,
)
_HINT = re.compile(b"|".join(HINTS), re.IGNORECASE)


def license_end_reference(text: bytes) -> int:
    """`license_end` of a whole text in plain Python."""
    at = found = 0
    while match := _FIRST.match(text, at):
        at = match.end()
        if match["comment"] is not None and _HINT.search(match["comment"]):
            found = at
    return found if re.search(rb"[\w\x80-\xff]", text[found:]) else 0
