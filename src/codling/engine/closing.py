"""The shortest way found to make a text whole that must have a form.

Input: where a grammar's matcher stands. Output: the bytes that end the text there. What the grammar
forces is taken; elsewhere characters are tried in the order in which they end JSON: a string is
closed, then an object or a list, and else the shortest value is written. It is a good way, not
always the shortest of all; grammars other than JSON are tried in the same order.

    {"name": "Ann", "tags": ["a    ->   "]}

Not here: when a text is ended (structured.py).
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

_MAX_CHARS = 2048
_MAX_SAME = 48
"""A character tried so often in a row ends nothing: the text may hold any number of it."""
_MAX_STATES = 300
_IN_STRING = b'"'
_OUTSIDE = b'}]",:0tfn[{'
"""Closers before openers; a comma before a digit, since a number may go on for ever."""
_OTHERS = bytes(range(33, 127))
_LAST = b" \x80\x90\xa0\n\t"
"""Blanks, of which there may be any number; the rest of a character that is written in part."""
_RARE = bytes(c for c in range(256) if c not in _OTHERS + _LAST)
"""What a form may ask for all the same: control characters, given parts of characters."""


def find_closing(matcher: Any) -> bytes | None:  # noqa: ANN401 -- xgrammar's, untyped
    """The bytes after which the text is whole; None if none are found. `matcher` stays as it is.

    Whether it stands within a string of JSON is not known, so both are tried; then all short ways.
    """
    if matcher.is_completed():
        return b""
    found = [_close(matcher.fork(), in_string) for in_string in (True, False)]
    ways = [way for way in found if way is not None]
    return min(ways, key=len) if ways else _search(matcher)


def _close(matcher: Any, in_string: bool) -> bytes | None:  # noqa: ANN401 -- xgrammar's
    made, n_same = bytearray(), 0
    while len(made) < _MAX_CHARS and n_same < _MAX_SAME:
        if matcher.is_completed():
            return bytes(made)
        first = _IN_STRING if in_string else _OUTSIDE
        taken = _take_forced(matcher) or next(_accept_next(matcher, first), b"")
        if not taken:
            return None
        n_same = n_same + 1 if made.endswith(taken) else 0
        in_string ^= _toggles(taken)
        made += taken
    return None


def _take_forced(matcher: Any) -> bytes:  # noqa: ANN401 -- xgrammar's
    """What the grammar leaves no choice about; the matcher has taken it."""
    try:
        forced: bytes = matcher.find_jump_forward_string().encode()
    except UnicodeDecodeError:
        return b""  # it begins or ends within a character: byte by byte then
    if forced:
        matcher.accept_string(forced)
    return forced


def _accept_next(matcher: Any, first: bytes = b"") -> Iterator[bytes]:  # noqa: ANN401 -- xgrammar's
    """The characters that may come next, those of `first` before the others; the matcher has taken
    the one that is given."""
    for c in first + _OTHERS + _LAST + _RARE:
        if matcher.accept_string(bytes([c])):
            yield bytes([c])


def _search(matcher: Any) -> bytes | None:  # noqa: ANN401 -- xgrammar's
    """The shortest way among all, as far as a few hundred places can be looked at."""
    places = deque([(b"", matcher.fork())])
    for _ in range(_MAX_STATES):
        if not places:
            return None
        made, place = places.popleft()
        if place.is_completed():
            return made
        for c in _accept_next(place):
            places.append((made + c, place.fork()))
            place.rollback(1)
    return None


def _toggles(text: bytes) -> bool:
    """Whether an odd number of quotes stand in a text, those after a backslash left out."""
    n, escaped = 0, False
    for c in text:
        n += c == ord('"') and not escaped
        escaped = c == ord("\\") and not escaped
    return n % 2 == 1
