"""Shares of a text that some profiles limit: comments, hexadecimal words, repetition, Python lines.

Input: a text. Output: numbers between 0 and 1. These are slower than the line statistics; a profile
that does not ask for them does not pay for them.

Not here: the thresholds (profiles.py) and the rules (rules.py).
"""

import ast
import re
import warnings
from collections import Counter
from functools import cache, partial
from symtable import symtable

from codling.core.languages.table import LANGUAGES

_WORD = re.compile(r"\w+")
_HEX_WORD = re.compile(r"0[xX][0-9a-fA-F]+|(?=[a-fA-F]*\d)[0-9a-fA-F]{6,}")
N_GRAM = 10
ONE_LINE_STRING = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
"""A string on one line, with its escapes."""


def comment_share(text: str, language: str) -> float | None:
    """Share of the characters in comments and Python docstrings; None without comment syntax.

    >>> comment_share("# ab\\nx=1\\n", "python")
    0.5
    """
    pattern = _comments(language)
    if pattern is None:
        return None
    n_blank = sum(map(str.isspace, text))
    spans = comment_spans(text, language)
    n_comment = sum(len("".join(text[a:b].split())) for a, b in spans)
    n_chars = len(text) - n_blank
    return round(n_comment / n_chars, 4) if n_chars else 0.0


def comment_spans(text: str, language: str) -> list[tuple[int, int]]:
    """Where comments and Python docstrings begin and end, in order.

    Told without a parser. Where comments begin with `/*` a string on one line hides what looks like
    one in it (`"src/**/*.ts"`); strings over several lines and patterns between slashes do not.

    >>> comment_spans("x=1\\n/* a\\nb */\\n", "c"), comment_spans("a = '/*' + '*/'", "css")
    ([(4, 13)], [])
    """
    pattern = _comments(language)
    found = pattern.finditer(text) if pattern else ()
    return [match.span() for match in found if match.lastgroup != "string"]


_NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


def hex_word_share(text: str) -> float:
    """Share of the words that are hexadecimal numbers: 0x1f, or six digits and letters to f.

    >>> hex_word_share("a = 0xFF + deadbeef1")
    0.6666666666666666
    """
    words = _WORD.findall(text)
    return sum(1 for w in words if _HEX_WORD.fullmatch(w)) / max(1, len(words))


def repeated_share(text: str) -> float:
    """Share of the characters in runs of ten words that occur more than once."""
    words = _WORD.findall(text)
    if len(words) < N_GRAM:
        return 0.0
    grams = Counter(zip(*(words[i:] for i in range(N_GRAM)), strict=False))
    length = {gram: sum(map(len, gram)) for gram in grams}
    total = sum(n * length[gram] for gram, n in grams.items())
    return sum(n * length[gram] for gram, n in grams.items() if n > 1) / max(1, total)


def parses(text: str) -> bool:
    """Whether a text is valid Python of the running version, as `ast.parse` judges it.

    The table of symbols comes from the same parser, in half the time, because no syntax tree is
    made of Python objects. It refuses more (an argument named twice): then the tree decides.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parse in (partial(symtable, filename="", compile_type="exec"), ast.parse):
            try:
                parse(text)
            except _NO_PYTHON:
                continue
            return True
    return False


def python_line_shares(text: str) -> dict[str, float]:
    """Share of the lines that are not blank that begin with pass, import, assert and print."""
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    n = max(1, len(lines))
    begins = {
        "pass-lines": ("pass",),
        "import-lines": ("import ", "from "),
        "assert-lines": ("assert ", "assert(", "self.assert"),
        "print-lines": ("print(", "print "),
    }
    return {name: sum(line.startswith(b) for line in lines) / n for name, b in begins.items()}


@cache
def _comments(language: str) -> re.Pattern[str] | None:
    """What the comments of a language look like."""
    row = LANGUAGES.get(language)
    if row is None or (row.line_comment is None and row.block_comment is None):
        return None
    forms = []
    if row.line_comment is not None:
        forms.append(rf"^[^\S\n]*{re.escape(row.line_comment)}[^\n]*")
    if row.block_comment is not None:
        opening, closing = map(re.escape, row.block_comment)
        forms.append(rf"{opening}[\s\S]*?{closing}")
        if row.block_comment[0] == "/*":
            forms.append(rf"(?P<string>{ONE_LINE_STRING})")
    if row.docstrings:
        forms.append(r'^[^\S\n]*[rR]?"""[\s\S]*?"""|^[^\S\n]*[rR]?\'\'\'[\s\S]*?\'\'\'')
    return re.compile("|".join(forms), re.MULTILINE)
