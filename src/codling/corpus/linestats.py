"""Counts of a text's lines and characters: what most filters compare with their thresholds.

Input: a text. Output: LineStats. Lengths are in characters (code points); lines end at a newline,
of which a carriage return before it is a part; an empty rest after the last newline is no line.

`line_stats` is the reference in plain Python; `byte_kernel.py` counts the same over UTF-8 bytes.
Not here: the thresholds (profiles.py).
"""

from typing import NamedTuple


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
    return LineStats(
        n_chars=len(text),
        n_lines=len(lines),
        max_line=max(lengths, default=0),
        sum_line=sum(lengths),
        n_alphabetic=sum(map(str.isalpha, text)),
        n_alphanumeric=sum(map(str.isalnum, text)),
        n_digits=sum(text.count(digit) for digit in "0123456789"),
        n_spaces=sum(map(str.isspace, text)),
    )
