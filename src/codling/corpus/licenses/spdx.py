"""SPDX licence expressions: how they are spelled, and whether a list of licences suffices for them.

Input: a stated licence in any usual spelling. Output: an SPDX expression, or yes or no. The
spellings are license_names.toml, SPDX's identifiers license_ids.txt and license_exceptions.txt.

Not here: where a licence is stated (metadata.py, headers.py, texts.py), and which licences are
allowed (notices.py).
"""

import re
from collections.abc import Collection, Iterable
from functools import cache
from importlib import resources
from typing import Literal

from codling.core.packaged import packaged_table

TAG = re.compile(r"SPDX-License-Identifier:\s*([\w.+() -]*[\w.+)])", re.IGNORECASE)
"""A tag in any file; its group is the expression."""

_WORDS = ("AND", "OR", "WITH", "(", ")")
_WORD = re.compile(r"(\(|\)|(?<=[\s,)])(?:and|or|with)(?=[\s(]))", re.IGNORECASE)
_GNU = re.compile(r"(a?gpl|lgpl|gfdl)[- ]?v?(\d)(\.\d)?(\+|-or-later|-only)?", re.IGNORECASE)


def expression(value: object) -> str | None:
    """A stated licence as an SPDX expression; None if a name in it is not understood.

    Words that are not well formed (`MIT AND (ISC`) stay as they are: no list allows them.

    >>> expression("Apache 2.0"), expression("MIT/Apache-2.0"), expression("see file")
    ('Apache-2.0', 'MIT OR Apache-2.0', None)
    """
    if not isinstance(value, str):
        return None
    text = " ".join(value.split()).strip("\"' ")
    if known := _identifier(text):
        return known
    text = re.sub(r"\s*/\s*", " OR ", text) if "/" in text and "(" not in text else text
    written: list[str] = []
    for token in _split(text):
        if token in _WORDS or (written and written[-1] == "WITH"):
            written.append(token)
        elif (known := _identifier(token)) is None:
            return None
        else:
            written.append(f"({known})" if " " in known else known)
    if not set(written) - set(_WORDS):
        return None
    return " ".join(written).replace("( ", "(").replace(" )", ")")


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Whether an SPDX expression can be fulfilled with allowed licences alone.

    >>> is_allowed("GPL-2.0-only OR MIT", {"MIT"}), is_allowed("MIT AND GPL-2.0-only", {"MIT"})
    (True, False)
    """
    tokens = _split(expression)
    if "," in expression or any(" " in token for token in tokens):
        return False  # words side by side are no name
    value, rest = _either(tokens, allowed)
    return value and not rest


def join(expressions: Iterable[str], word: Literal["AND", "OR"]) -> str:
    """Several expressions as one, without repetitions.

    >>> join(["MIT", "MIT AND ISC", "MIT OR Zlib"], "AND")
    'MIT AND ISC AND (MIT OR Zlib)'
    """
    parts: list[str] = []
    for each in expressions:
        inner = each.split(f" {word} ") if "(" not in each else [each]
        other = "OR" if word == "AND" else "AND"
        parts += [each] if f" {other} " in each else inner
    unique = list(dict.fromkeys(parts))
    if len(unique) == 1:
        return unique[0]
    return f" {word} ".join(f"({p})" if " " in p and "(" not in p else p for p in unique)


def classifier_license(name: str) -> str | None:
    """The licence of the last part of a trove classifier under `License ::`.

    >>> classifier_license("MIT License")
    'MIT'
    """
    return _names()["classifiers"].get(name)


def _split(text: str) -> list[str]:
    """The names and words of an expression, words in capitals.

    >>> _split("MIT or (Apache 2.0)")
    ['MIT', 'OR', '(', 'Apache 2.0', ')']
    """
    parts = (" ".join(part.split()).strip(" ,") for part in _WORD.split(text))
    return [part.upper() if part.upper() in _WORDS else part for part in parts if part]


def _either(tokens: list[str], allowed: Collection[str]) -> tuple[bool, list[str]]:
    value, rest = _both(tokens, allowed)
    while rest and rest[0] == "OR":
        right, rest = _both(rest[1:], allowed)
        value = value or right
    return value, rest


def _both(tokens: list[str], allowed: Collection[str]) -> tuple[bool, list[str]]:
    value, rest = _one(tokens, allowed)
    while rest and rest[0] == "AND":
        right, rest = _one(rest[1:], allowed)
        value = value and right
    return value, rest


def _one(tokens: list[str], allowed: Collection[str]) -> tuple[bool, list[str]]:
    if not tokens:
        return False, ["a licence is missing"]
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        value, rest = _either(rest, allowed)
        return (value, rest[1:]) if rest and rest[0] == ")" else (False, ["unbalanced"])
    if rest[:1] != ["WITH"]:
        return first in allowed, rest
    # SPDX's exceptions only ever give more rights; others, such as Commons-Clause, take some.
    is_exception = rest[1:2] != [] and rest[1].lower() in _read_ids("license_exceptions.txt")
    return is_exception and first in allowed, rest[2:]


def _identifier(stated: str) -> str | None:
    """One licence, in any usual spelling, as SPDX writes it."""
    lower = stated.lower()
    if lower in _names()["spellings"]:
        return _names()["spellings"][lower]
    if match := _GNU.fullmatch(stated):
        name, major, minor, end = match.groups(default="")
        later = "or-later" if end in ("+", "-or-later") else "only"
        return f"{name.upper()}-{major}{minor or '.0'}-{later}"
    if lower.startswith("licenseref-"):
        return stated
    plain = _read_ids("license_ids.txt").get(lower.removesuffix("+"))
    return f"{plain}+" if plain and stated.endswith("+") else plain


@cache
def _names() -> dict[str, dict[str, str]]:
    """The tables of license_names.toml: "classifiers" and "spellings"."""
    return packaged_table("codling.corpus.licenses", "license_names.toml")


@cache
def _read_ids(file_name: str) -> dict[str, str]:
    """SPDX's identifiers in a file, by their names in lower case."""
    file = resources.files("codling.corpus.licenses").joinpath(file_name)
    return {name.lower(): name for name in file.read_text(encoding="utf-8").split()}
