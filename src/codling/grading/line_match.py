"""How near a completed line or statement is to the right one, as repository benchmarks measure it.

Input: two pieces of code. Output: exact match, edit similarity (from 0 to 1: twice the longest
common subsequence over both lengths, as fuzzywuzzy's ratio), and F1 of identifiers.

Not here: cutting an answer (evaluate/tasks/repobench.py), and the project's own
measure of insertions (evaluate/heldout/insertion.py), which counts replacements.
"""

import re
from collections import Counter

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_STRINGS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_COMMENTS = {"python": re.compile(r"#[^\n]*"), "other": re.compile(r"//[^\n]*|/\*.*?\*/", re.S)}


def same_words(said: str, right: str) -> bool:
    """Whether both are the same but for blanks.

    >>> same_words("return  x", "return x ")
    True
    """
    return said.split() == right.split()


def similarity(said: str, right: str) -> float:
    """Twice the length of the longest common subsequence over both lengths.

    >>> similarity("abcd", "abxd"), similarity("", "")
    (0.75, 1.0)
    """
    if not said and not right:
        return 1.0
    row = [0] * (len(right) + 1)
    for a in said:
        diagonal = 0
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return 2 * row[-1] / (len(said) + len(right))


def identifiers(code: str, language: str, keywords: frozenset[str]) -> list[str]:
    """The names in a piece of code, without strings, comments and keywords."""
    plain = _STRINGS.sub("", _COMMENTS.get(language, _COMMENTS["other"]).sub("", code))
    return [name for name in _IDENTIFIER.findall(plain) if name not in keywords]


def f1(said: list[str], right: list[str]) -> float:
    """The harmonic mean of precision and recall of names, each as often as it stands there.

    >>> round(f1(["a", "b"], ["a", "c"]), 2), f1([], [])
    (0.5, 1.0)
    """
    if not said and not right:
        return 1.0
    common = sum((Counter(said) & Counter(right)).values())
    return 2 * common / (len(said) + len(right))
