"""The licence that a source file states itself: SPDX tags and the usual headers.

Input: a file's text. Output: an SPDX expression, or None. Only the first characters are read,
and only where a cheap search finds a word of licences at all. Several tags count together. What
stands in a string literal is data of the program and says nothing about the file; nor does a field
whose name only contains the word (`LicenseModel: ...`). The phrases are license_headers.toml.

Not here: whole licence files (texts.py).
"""

import re
from dataclasses import dataclass
from functools import cache

from codling.core.packaged import packaged_table
from codling.corpus.licenses.spdx import TAG, expression, join
from codling.corpus.licenses.terms import ADDITIONAL_TERMS, forbids_commerce

HEADER_CHARS = 3000
_TABLE = packaged_table("codling.corpus.licenses", "license_headers.toml")
_HINTS = tuple(_TABLE["words"])
"""Every header has one of these words."""
_WORDS = bytes(b if chr(b) in "abcdefghijklmnopqrstuvwxyz0123456789.+'" else 32 for b in range(256))
_GNU = (
    r"(?:terms of|under|subject to)(?: the)?(?: terms(?: and conditions)? of the)?"
    r"(?: version [\d.]+ (?:or later )?of the)? gnu (affero |lesser |library )?(?:general )?"
    r"public license"
)
_CHOICE = re.compile(r"\bdual|alternatively|either|at your option\b.{0,40}\b(?:mit|apache|bsd)")
_LATER = re.compile(r"any later version|or later|\+")
_GNU_PATTERN = re.compile(_GNU + r"(.{0,120})")
_ABBREVIATED = re.compile(
    r"(?:licen[cs]ed|distributed|released|available|published|provided) under(?: the)?"
    r"(?: terms of)?(?: the)?(?: gnu)? ([al]?gpl|mpl|epl|cddl|eupl|cecill)"
    r"(?: ?v(?:ersion)? ?| )?(\d(?:\.\d)?)?\b(\+| or later| or any later)?"
)
_GNU_NAMES = {"affero ": "AGPL", "lesser ": "LGPL", "library ": "LGPL", "": "GPL"}

_NAME = (
    r"(?:mit|x11|isc|zlib|boost|artistic|perl|(?:new |modified |[23][-\s]clause )?bsd"
    r"(?:[-\s][234](?:[-\s]clause)?)?|[al]?gpl(?:[-\s]?(?:v|version)? ?[123](?:\.[01])?)?"
    r"(?:\+| or later)?|apache(?:[-\s](?:licen[cs]e )?(?:v|version )?2(?:\.0)?)?|"
    r"mpl(?:[-\s]?v?[12](?:\.[01])?)?|epl(?:[-\s]?v?[12](?:\.0)?)?|cddl)(?:[-\s]licen[cs]es?)?"
)
_AND = r"(?:, ?and |, | ?/ ?| ?& ?| ?\+ ?| ?\| ?| and | or | and/or )"
_LISTED = re.compile(
    (
        r"licen[cs]ed?[\s:]+(?:as |is |under |with )?(?:the )?(?:terms of )?(?:the |both )?"
        rf"({_NAME}(?:{_AND}(?:the )?{_NAME})+)\b"
    )
    .replace(" ?", r"\s*")
    .replace(" ", r"\s+")
)
"""`licensed under MIT & GPL`: searched for in small letters."""
_BETWEEN = re.compile(r", ?and |and/or | and | or (?!later)|,|/|&|\+ ?(?=[a-z])|\|")
_SUFFIX = re.compile(r"[- ]licen[cs]es? *$")
_STATED = re.compile(
    r"licen[cs]e(?:d under(?: the)?)?[ \t]*[:=]?[ \t]+(\w[^\n]{1,60}?)[ \t.]*(?:\*/|-->)?[ \t]*$",
    re.MULTILINE,
)
_LEADER = frozenset(" \t/*#;%!.<-@")
"""What precedes a field in a comment."""
_FIELD_HINT = re.compile(r"licen[cs]e(?<!spdx-license)[\w.-]*[\"']?[ \t]*[:=]")
_FIELD = re.compile(
    r"(?im)^[ \t]*(?:- )?[\"']?(?!SPDX|licen[cs]es?[\"']?[ \t]*[:=])"
    r"[\w.-]*licen[cs]e[\w.-]*[\"']?[ \t]*[:=][^\n]*$"
)
"""Lines of data that give something whose name contains the word, such as `LicenseModel: x`."""
_STRING = (
    r"[rRbBuUfFLN@$]{0,2}(?:\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z)|"
    r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*(?:`|\Z))"
)
_PIECES = re.compile(
    # Comments, a docstring of the whole file, and what it calls its licence stay.
    rf"(?P<kept>(?m:^)_*(?:copyright|licen[cs]e)_*[ \t]*=[ \t]*{_STRING}|"
    r"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|<!--[\s\S]*?(?:-->|\Z)|"
    r"(?m:^)[ \t]*(?:#(?!define\b)|--|;|%|!)[^\n]*|(?<=\s)#[^\n]*|"
    r"(?m:^)[rRuU]?(?:\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z)))|"
    r"<<[-~]?\s*[\"']?(?P<here>[A-Za-z_]\w*)[\"']?[\s\S]*?(?:\n\s*(?P=here)\b|\Z)|"
    r"(?:[=(,\[{:+?|&<>]|\b(?:return|print|echo|yield|puts|case|in|\#define\s+\w+))"
    rf"\s*{_STRING}(?:\s*{_STRING})*|(?m:^)[ \t]+\"\"\"[\s\S]*?(?:\"\"\"|\Z)"
)
_LEADING = re.compile(r"\s*(?:/\*[\s\S]*?\*/|(?:(?:#|//|--|;|%)[^\n]*\n[ \t]*)+)")
"""A comment at the beginning: no string literal is in it."""
_LITERAL = re.compile(
    r"[\"'`](?:(?<=[=(,\[{:+?|&bBfFrRL@$][\"'`])|(?<=[=(,\[{:+?|&] [\"'`]))|<<|\n[ \t]*[\"'`]"
)
"""Where a string literal may begin; prose has quotes elsewhere."""


@dataclass(frozen=True)
class Header:
    """A phrase and the licence that it stands for: a row of license_headers.toml."""

    license: str
    words: tuple[str, ...]
    """One of them occurs in every match."""
    pattern: re.Pattern[str]
    weaker: tuple[str, ...] = ()
    """What is found along with it because it is a part of it."""


def header_license(text: str) -> str | None:
    """The SPDX expression in a file's first characters, or None.

    >>> header_license("// SPDX-License-Identifier: MIT OR Apache-2.0")
    'MIT OR Apache-2.0'
    >>> header_license("print('# SPDX-License-Identifier: MIT')")
    """
    head = text[:HEADER_CHARS]
    lower = head.lower()
    for hint in _HINTS:  # a loop is twice as fast here as any()
        if hint in lower:
            break
    else:
        return None
    found = _find_stated(head, lower)
    if found and (_holds_literal(head, lower) or _FIELD_HINT.search(lower)):
        return _find_stated(head := _FIELD.sub("", without_strings(head)), head.lower())
    return found


def without_strings(code: str) -> str:
    """Code without its string literals; comments and the file's own docstring stay.

    >>> without_strings('x = "a" # "b"')
    'x   # "b"'
    """
    return _PIECES.sub(lambda match: match["kept"] or " ", code)


def stated_license(text: str) -> str | None:
    """The SPDX expression that some text states by tags or phrases, or None.

    >>> stated_license("licensed under MIT & GPL")
    'MIT AND GPL-2.0-or-later'
    """
    head = text[:HEADER_CHARS]
    return _find_stated(head, head.lower())


def _find_stated(head: str, lower: str) -> str | None:
    words = " ".join(lower.encode("ascii", "replace").translate(_WORDS).decode().split())
    tags = TAG.findall(head) if "spdx-license" in lower else []
    if tags:
        found = join([expression(tag) or "LicenseRef-unrecognised" for tag in tags], "AND")
    else:
        found = _by_phrases(lower, words) or _by_field(head, lower) or ""
    if forbids_commerce(words):
        return join([found, ADDITIONAL_TERMS] if found else [ADDITIONAL_TERMS], "AND")
    return found or None


def _holds_literal(head: str, lower: str) -> bool:
    """Whether a string literal may begin before the last word that a header has."""
    leading = _LEADING.match(head)
    after = leading.end() if leading else 0
    if all(lower.find(hint, after) < 0 for hint in _HINTS):
        return False
    first = _LITERAL.search(head, after)
    return first is not None and any(lower.find(hint, first.start()) >= 0 for hint in _HINTS)


def _by_phrases(lower: str, words: str) -> str | None:
    found = list(dict.fromkeys([*(_gnu_licenses(words) or _abbreviate(words)), *_phrases(words)]))
    if listed := _LISTED.search(lower):
        parts = _BETWEEN.split(" ".join(listed[1].split()))
        names = [expression(_SUFFIX.sub("", part)) for part in parts]
        known = list(dict.fromkeys(name for name in names if name))
        if len(known) > 1:
            is_choice = _CHOICE.search(words) or re.search(r"[/|]|\bor\b(?! later)", listed[1])
            either = join(known, "OR" if is_choice else "AND")
            families = {name.split("-")[0] for name in known}
            return join([either, *(x for x in found if x.split("-")[0] not in families)], "AND")
    if len(found) <= 1:
        return found[0] if found else None
    return join(found, "OR" if _CHOICE.search(words) else "AND")


def _by_field(head: str, lower: str) -> str | None:
    """What a field of a comment states: `@license GPL-3.0`, `License: GPLv2 or later`."""
    found: list[str] = []
    for match in _STATED.finditer(lower):
        line = lower.rfind("\n", 0, match.start()) + 1
        if _LEADER.issuperset(lower[line : match.start()]):
            found += filter(None, [expression(head[match.start(1) : match.end(1)])])
    return join(found, "AND") if found else None


def _phrases(words: str) -> list[str]:
    found: list[Header] = []
    for each in _headers():
        for key in each.words:
            if key in words:
                if each.pattern.search(words):
                    found.append(each)
                break
    weaker = {name for strong in found for name in strong.weaker}
    return [each.license for each in found if each.license not in weaker]


def _abbreviate(words: str) -> list[str]:
    """Licences with more conditions that are named by their letters: `licensed under LGPLv3`."""
    return [
        expression(f"{name}-{version}" + ("+" if later else "") if version else name)
        or f"LicenseRef-{name}"
        for name, version, later in _ABBREVIATED.findall(words)
    ]


def _gnu_licenses(words: str) -> list[str]:
    found: list[str] = []
    if "public license" not in words:
        return found
    for match in _GNU_PATTERN.finditer(words):
        around = match[0] + words[match.end() : match.end() + 120]
        version = re.search(r"(?:version|v) ?\.? ?([123](?:\.[01])?)", around)
        number = (version[1] if version else "2").rstrip(".")
        number = number if "." in number else f"{number}.0"
        later = "or-later" if _LATER.search(around) or not version else "only"
        found.append(f"{_GNU_NAMES[match[1] or '']}-{number}-{later}")
    return found[:1]


@cache
def _headers() -> tuple[Header, ...]:
    return tuple(
        Header(
            row["license"],
            tuple(row["words"]),
            re.compile(row["pattern"]),
            tuple(row.get("weaker", ())),
        )
        for row in _TABLE["header"]
    )
