"""Which of several languages a file is in, when they share an extension: marks in its content.

Input: the extension and the beginning of the file. Output: a key of the language table, or None if
the content belongs to a language outside of it. The marks, rows of hints.toml, are searched for in
order; the first that is found decides.

Not here: extensions and file names (languages.toml, languages_more.toml).
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from codling.core.packaged import packaged_table

MARK_CHARS = 8192
"""How much of a text's beginning the marks are searched in."""


class Mark(NamedTuple):
    """A pattern, and the language of texts that hold it: None for one outside of the table."""

    pattern: str
    language: str | None


class Rules(NamedTuple):
    """How one extension is decided."""

    marks: tuple[Mark, ...]
    otherwise: str | None
    """The language where no mark is found."""


@dataclass(frozen=True)
class Hints:
    """hints.toml."""

    rules: dict[str, Rules]
    """By extension."""
    patterns: dict[str, str]
    """Those that several extensions share, by name."""
    cpp_words: tuple[str, ...]


def read_hints(table: dict[str, Any]) -> Hints:
    """The rows of a table as hints.toml has them; ValueError names one that says nothing."""
    patterns = {name: _join(name, value, {}) for name, value in table["patterns"].items()}
    rows = {key: row for key, row in table.items() if key not in ("patterns", "cpp_words")}
    rules = {extension: _rules(extension, row, patterns) for extension, row in rows.items()}
    return Hints(rules, patterns, tuple(table["cpp_words"]))


def _rules(extension: str, row: dict[str, Any], patterns: dict[str, str]) -> Rules:
    if unknown := set(row) - {"marks", "otherwise"}:
        raise ValueError(f"hints.toml, {extension}: no column is called {min(unknown)}")
    if not row.get("marks"):
        raise ValueError(f"hints.toml, {extension}: it has no marks")
    marks = tuple(
        Mark(_join(extension, pattern, patterns), language or None)
        for language, pattern in row["marks"]
    )
    return Rules(marks, row.get("otherwise"))


def _join(name: str, pattern: str | list[str], patterns: dict[str, str]) -> str:
    """A pattern, or the alternatives of one, with those that it refers to."""
    whole = pattern if isinstance(pattern, str) else "|".join(pattern)
    if reference := _REFERENCE.match(whole):
        if reference[1] not in patterns:
            raise ValueError(f"hints.toml, {name}: there is no pattern {reference[1]}")
        whole = patterns[reference[1]] + whole[reference.end() :]
    return whole


_REFERENCE = re.compile(r"\(&([\w-]+)\)")

ROFF_SECTIONS = re.compile(r"\.(?:[1-9][a-z]{0,9}|man|mdoc|me|n|nr|rno|tmac)")
"""Extensions of manual pages, which version numbers look like: the content must be roff."""

_NOT_CODE = re.compile(r"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"")
_FOR_CPP_ONLY = re.compile(r"^\s*#\s*if[^\n]*\b__cplusplus\b[\s\S]*?^\s*#\s*(?:endif|else)", re.M)
"""What a C header says to C++ compilers alone."""


def is_shared(extension: str) -> bool:
    """Whether the content decides on the language of files with this extension."""
    return extension in hints().rules or ROFF_SECTIONS.fullmatch(extension) is not None


def choose(extension: str, text: str, header: str = "c") -> str | None:
    """The language of `text`, a key of the table or None.

    `header` is the language of a C or C++ file to be included that could be either.

    >>> choose(".pl", "parent(X, Y) :- father(X, Y).")
    'prolog'
    """
    if extension == ".h":
        return _header(text, header)
    found = hints().rules.get(extension)
    if found is None:
        return "groff" if _is_in(text[:MARK_CHARS], "roff") else None
    for pattern, language in found.marks:
        if _compile(pattern).search(text[:MARK_CHARS]):
            return header if language == "c" else language
    return found.otherwise


@cache
def hints() -> Hints:
    """The table, read at the first file that needs it."""
    return read_hints(packaged_table("codling.core.languages", "hints.toml"))


def _header(text: str, header: str) -> str:
    """Objective-C, C++ or C, by the code of a header alone: comments mention classes, too."""
    code = _NOT_CODE.sub("", text[:MARK_CHARS])
    if len(code) < MARK_CHARS // 4:
        code = _NOT_CODE.sub("", text)[:MARK_CHARS]
    if ("@" in code or "import" in code) and _is_in(code, "objective-c"):
        return "objective-c"
    if "__cplusplus" in code:
        code = _FOR_CPP_ONLY.sub("", code)
    is_possible = any(word in code for word in hints().cpp_words)
    return "cpp" if is_possible and _is_in(code, "cpp") else header


def _is_in(text: str, name: str) -> bool:
    """Whether a text holds a shared pattern."""
    return _compile(hints().patterns[name]).search(text) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    # Within the line: white space from every empty line on is the same match again, and slow.
    return re.compile(pattern.replace(r"^\s*", r"^[ \t]*"), re.MULTILINE)
