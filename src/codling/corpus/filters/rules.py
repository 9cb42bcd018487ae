"""Quality filters: whether a file is worth learning from, and if not, by which rule and value.

Input: a file's language, path and text with its line statistics, and thresholds. Output: a Reason,
or None. The rules, in the order in which they are asked:

    language        not among the languages that are wanted
    xml             `<?xml version=` in the first 100 characters, except XSLT
    mean-line, max-line, lines, alphabetic, digits, spaces     counts of lines and characters
    html-visible    too little visible text in HTML
    data-size       JSON or YAML that is too short or too long
    generated       a mark in the first five lines says that a program wrote it
    encoded         base64, hexadecimal or escaped data: one long run, or most of the file
    few-comments, many-comments, hex-words, repeated           (starcoder2, opencoder)
    not-parsed, pass-lines, import-lines, assert-lines, print-lines    Python (opencoder)

Not here: licences, secrets and duplicates (clean.py), and the values (profiles.py).
"""

import re
from collections.abc import Callable, Collection
from functools import cache
from typing import NamedTuple

from codling.corpus.filters import marks
from codling.corpus.filters.line_stats import LineStats
from codling.corpus.filters.profiles import LONG_LINE, Thresholds
from codling.corpus.filters.shares import (
    comment_share,
    hex_word_share,
    parses,
    python_line_shares,
    repeated_share,
)


class Reason(NamedTuple):
    """Why a file is dropped."""

    rule: str
    value: str


class FileText(NamedTuple):
    """What the rules look at."""

    language: str
    path: str
    text: str
    stats: LineStats
    marks: int = marks.ALL


Check = Callable[[FileText, Thresholds], Reason | None]


class Rule(NamedTuple):
    """A check, and the languages whose files it is for: all unless `only` or `but` names some."""

    check: Check
    only: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()

    def is_for(self, language: str) -> bool:
        """Whether it is asked of the files of a language."""
        return language not in self.but and (not self.only or language in self.only)


XML_CHARS = 100
GENERATED_LINES = 5


def drop_reason(
    file: FileText, limits: Thresholds, languages: Collection[str] = ()
) -> Reason | None:
    """Why `file` leaves the corpus, or None if it stays; no `languages` means all."""
    if languages and file.language not in languages:
        return Reason("language", file.language)
    for check in _checks(file.language):
        if reason := check(file, limits):
            return reason
    return None


@cache
def _checks(language: str) -> tuple[Check, ...]:
    """What files of a language are asked, in the order of RULES."""
    return tuple(rule.check for rule in RULES if rule.is_for(language))


def _xml(file: FileText, limits: Thresholds) -> Reason | None:
    if not limits.drop_xml or not file.marks & marks.XML:
        return None
    at = file.text.find("<?xml version=", 0, XML_CHARS)
    return Reason("xml", f"<?xml at {at}") if at >= 0 else None


def _line_lengths(file: FileText, limits: Thresholds) -> Reason | None:
    stats, may_be_long = file.stats, file.language in limits.long_lines_languages
    mean, longest = limits.max_mean_line, limits.max_line
    if mean is not None and not may_be_long and stats.mean_line > mean:
        return Reason("mean-line", f"{stats.mean_line:.1f}")
    if longest is not None and stats.max_line > (LONG_LINE if may_be_long else longest):
        return Reason("max-line", str(stats.max_line))
    if limits.max_lines is not None and stats.n_lines > limits.max_lines:
        return Reason("lines", str(stats.n_lines))
    return None


def _characters(file: FileText, limits: Thresholds) -> Reason | None:
    stats = file.stats
    n_chars = max(1, stats.n_chars)
    letters = (stats.n_alphanumeric if limits.counts_digits else stats.n_alphabetic) / n_chars
    if limits.min_alphabetic is not None and letters < limits.min_alphabetic:
        return Reason("alphabetic", f"{letters:.3f}")
    if limits.max_digits is not None and stats.n_digits / n_chars > limits.max_digits:
        return Reason("digits", f"{stats.n_digits / n_chars:.3f}")
    if limits.max_spaces is not None and stats.n_spaces / n_chars > limits.max_spaces:
        return Reason("spaces", f"{stats.n_spaces / n_chars:.3f}")
    return None


_UNSEEN = re.compile(r"<(script|style|template)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.S | re.I)


def _html(file: FileText, limits: Thresholds) -> Reason | None:
    visible = len(" ".join(_UNSEEN.sub(" ", file.text).split()))
    share = visible / max(1, len(file.text))
    if limits.min_visible_text is not None and share < limits.min_visible_text:
        return Reason("html-visible", f"{share:.3f}")
    if limits.min_visible_chars is not None and visible < limits.min_visible_chars:
        return Reason("html-visible", f"{visible} characters")
    return None


def _data(file: FileText, limits: Thresholds) -> Reason | None:
    n_chars = len(file.text)
    low, high = limits.min_data_chars, limits.max_data_chars
    if (low is not None and n_chars < low) or (high is not None and n_chars > high):
        return Reason("data-size", f"{n_chars} characters")
    return None


_GENERATED = re.compile(
    r"(?i)auto-?\s?generated|automatically generated|generated (?:by|from|with|using|code|file)|"
    r"@generated|do not (?:edit|modify)|this file (?:is|was) (?:machine )?generated|"
    r"code generated .* do not edit|machine[- ]generated"
)


def _check_generated(file: FileText, limits: Thresholds) -> Reason | None:
    if not limits.drop_generated or not file.marks & marks.GENERATED:
        return None
    found = generated_mark(file.text)
    return Reason("generated", " ".join(found.split())[:40].lower()) if found else None


def generated_mark(text: str) -> str:
    """The words in the first lines that say that a program wrote a file; "" if none do."""
    head = text[:2000].split("\n", GENERATED_LINES)[:GENERATED_LINES]
    found = _GENERATED.search("\n".join(head))
    return found[0] if found else ""


BASE64 = re.compile(r"[A-Za-z0-9+/\n]{64,}={0,2}")
CODED = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,\s*|\b\s*)){8,}|(?:\\u[0-9a-fA-F]{4}){8,}")


def _check_encoded(file: FileText, limits: Thresholds) -> Reason | None:
    run, share = limits.max_encoded_run, limits.max_encoded_share
    if run is None and share is None:
        return None
    spans = [m.span() for m in BASE64.finditer(file.text)] if file.marks & marks.BASE64 else []
    if file.marks & marks.CODED:
        spans += coded_spans(file.text)
    longest = max((end - start for start, end in spans), default=0)
    if run is not None and longest > run:
        return Reason("encoded", f"{longest} characters")
    n_encoded = _count_covered(spans)
    if share is not None and n_encoded > share * len(file.text):
        return Reason("encoded", f"{n_encoded / len(file.text):.3f}")
    return None


_CODED_CHARACTERS = re.compile(r"[0-9a-fA-Fxu\\,\s]{23,}")
"""What CODED matches consists of at least 23 of these characters in a row."""


def coded_spans(text: str) -> list[tuple[int, int]]:
    """Where CODED matches; it is tried only inside runs of the characters that it consists of."""
    return [
        match.span()
        for run in _CODED_CHARACTERS.finditer(text)
        # One character more: whether a word ends shows only there.
        for match in CODED.finditer(text, run.start(), run.end() + 1)
    ]


def _count_covered(spans: list[tuple[int, int]]) -> int:
    """Number of characters in any of the spans."""
    n, last = 0, 0
    for start, end in sorted(spans):
        n += max(0, end - max(start, last))
        last = max(last, end)
    return n


def _comments(file: FileText, limits: Thresholds) -> Reason | None:
    low, high = limits.min_comments, limits.max_comments
    if low is None and high is None:
        return None
    share = comment_share(file.text, file.language)
    if share is None:
        return None
    if low is not None and share < low and file.language in limits.comment_languages:
        return Reason("few-comments", f"{share:.3f}")
    if high is not None and share > high:
        return Reason("many-comments", f"{share:.3f}")
    return None


def _words(file: FileText, limits: Thresholds) -> Reason | None:
    if limits.max_hex_words is not None:
        share = hex_word_share(file.text)
        if share > limits.max_hex_words:
            return Reason("hex-words", f"{share:.3f}")
    if limits.max_repeated is not None:
        share = repeated_share(file.text)
        if share > limits.max_repeated:
            return Reason("repeated", f"{share:.3f}")
    return None


MAX_PYTHON_LINES = {
    "pass-lines": 0.05,
    "import-lines": 0.3,
    "assert-lines": 0.4,
    "print-lines": 0.4,
}
"""Largest share of each kind of line in a Python file."""


def _python(file: FileText, limits: Thresholds) -> Reason | None:
    if not limits.parse_python:
        return None
    for rule, share in python_line_shares(file.text).items():
        if share > MAX_PYTHON_LINES[rule]:
            return Reason(rule, f"{share:.3f}")
    return None if parses(file.text) else Reason("not-parsed", "syntax error")


RULES = (
    Rule(_xml, but=frozenset({"xslt"})),
    Rule(_line_lengths),
    Rule(_characters),
    Rule(_html, only=frozenset({"html"})),
    Rule(_data, only=frozenset({"json", "yaml"})),
    Rule(_check_generated),
    Rule(_check_encoded),
    Rule(_comments),
    Rule(_words),
    Rule(_python, only=frozenset({"python"})),
)
"""All rules, cheap ones first."""
