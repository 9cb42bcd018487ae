"""Counts of a text's lines and characters: what most filters compare with their thresholds.

Input: a text. Output: LineStats. Lengths are in characters (code points); lines end at a newline,
of which a carriage return before it is a part; an empty rest after the last newline is not a line.

`line_stats` is the reference in plain Python; line_stats_kernel.py counts the same over bytes.
Not here: the thresholds (profiles.py).
"""

from collections import Counter
from collections.abc import Callable
from string import ascii_letters, digits
from typing import NamedTuple

_LETTERS, _DIGITS = ascii_letters.encode(), digits.encode()
_SPACES = bytes(byte for byte in range(128) if chr(byte).isspace())


class LineStats(NamedTuple):
    """Counts of one text."""

    n_chars: int
    n_lines: int
    max_line: int
    """Characters of the longest line."""
    sum_line: int
    """Characters of all lines."""
    n_alphabetic: int
    """Characters for which str.isalpha holds."""
    n_alphanumeric: int
    """Characters for which str.isalnum holds."""
    n_digits: int
    """The digits 0 to 9."""
    n_spaces: int
    """Characters for which str.isspace holds."""

    @property
    def mean_line(self) -> float:
        """Characters of an average line."""
        return self.sum_line / max(1, self.n_lines)


def line_stats(text: str) -> LineStats:
    """The counts of a text.

    >>> line_stats("ab\\nc d9\\n").max_line
    4
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    lengths = [len(line) - line.endswith("\r") for line in lines]
    n_letters, n_digits, n_numeric, n_spaces = _characters(text)
    return LineStats(
        n_chars=len(text),
        n_lines=len(lines),
        max_line=max(lengths, default=0),
        sum_line=sum(lengths),
        n_alphabetic=n_letters,
        n_alphanumeric=n_letters + n_digits + n_numeric,
        n_digits=n_digits,
        n_spaces=n_spaces,
    )


def _characters(text: str) -> tuple[int, int, int, int]:
    """Numbers of letters, digits 0 to 9, other numeric characters, and white space."""
    data = text.encode()
    if len(data) == len(text):
        classes = (_LETTERS, _DIGITS, b"", _SPACES)
    else:
        counts = Counter(text)
        kinds: tuple[Callable[[str], bool], ...] = (
            str.isalpha,
            lambda c: c in "0123456789",
            lambda c: c.isalnum() and not c.isalpha() and c not in "0123456789",
            str.isspace,
        )
        letters, digits, numeric, spaces = (
            sum(n for character, n in counts.items() if is_kind(character)) for is_kind in kinds
        )
        return letters, digits, numeric, spaces
    letters, digits, numeric, spaces = (
        len(data) - len(data.translate(None, delete=each)) for each in classes
    )
    return letters, digits, numeric, spaces
