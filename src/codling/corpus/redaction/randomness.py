"""How random a string looks: drawn at random rather than made of words.

Input: a value such as `xNKu8iS2G8NP` or `utf8ToBase64`. Output: bits of evidence that it is random,
the sum over its pairs of neighbours: letters by how rarely they meet in words (letter_pairs.toml);
a letter beside a digit and a capital after a small letter count for it, separators against.
Words have about -1 bit per character, letters drawn at random +1.2, letters and digits more.

Not here: which values are tested (assigned_secrets.py).
"""

import re
from functools import cache
from itertools import pairwise

from codling.core.packaged import packaged_table

BESIDE_DIGIT = 1.75
"""Bits for a letter and a digit that meet."""
INNER_CAPITAL = 1.0
"""Bits for a capital after a small letter, beyond those of the letters."""
ODD_SIGN = 1.25
"""Bits for a sign that separates no words."""
SEPARATOR = -0.5
_CHANGE = re.compile(r"(?=[0-9][A-Za-z]|[A-Za-z][0-9]|[a-z][A-Z])")
_ODD = frozenset("!#$%^&*=+?@~|;,")


def n_changes(value: str) -> int:
    """How often a letter meets a digit, or a capital follows a small letter.

    >>> n_changes("a1bC"), n_changes("Word")
    (3, 0)
    """
    return len(_CHANGE.findall(value))


def random_bits(value: str) -> float:
    """Bits of evidence that a value is random.

    >>> random_bits("xNKu8iS2G8NPRVdD") > 12 > 0 > random_bits("Password_Reset_Template")
    True
    """
    pairs = _pairs()
    bits = 0.0
    for a, b in pairwise(value):
        if a.isalpha() and b.isalpha():
            bits += pairs.get(a.lower() + b.lower(), 0.0)
            if a.islower() and b.isupper():
                bits += INNER_CAPITAL
        elif (a.isalpha() and b.isdigit()) or (a.isdigit() and b.isalpha()):
            bits += BESIDE_DIGIT
        elif b in _ODD:
            bits += ODD_SIGN
        elif not b.isalnum():
            bits += SEPARATOR
    return bits


@cache
def _pairs() -> dict[str, float]:
    rows = packaged_table("codling.corpus.redaction", "letter_pairs.toml")["rows"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {
        a + b: (ord(mark) - ord("j")) / 2
        for a, row in zip(letters, rows, strict=True)
        for b, mark in zip(letters, row, strict=True)
    }
