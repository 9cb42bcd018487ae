"""What answers look like in each language: the rows of languages.toml, read and checked once.

Input: a language as benchmarks call it (cpp, ts, rkt). Output: its row; a language without one has
the defaults, which are those of C.

Not here: what is done with it (chat_code.py, code_items.py, fences.py, deepseek_rules.py).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from codling.core.packaged import packaged_table

_FORMS = ("plain", "top", "class", "shell")


@dataclass(frozen=True, kw_only=True)
class AnswerLanguage:
    """One language; languages.toml says what the columns mean."""

    key: str
    aliases: tuple[str, ...]
    form: Literal["plain", "top", "class", "shell"] = "plain"
    defines: str = r"\bNAME\b"
    name: str = ""
    parameters: str = r"(?:^|,)\s*(\w+)\s*(?=[,:?=]|$)"
    method: str = ""
    call: str = ""
    static_call: str = ""
    imports: str = ""
    dropped: str = ""
    main: str = ""
    declares: str = ""
    shows: str = ""
    ends_open: str = ""
    keeps_body: bool = False
    clashes: bool = False
    opened: str = ""
    stripped: str = ""
    wrap_if: str = ""
    wrap: str = ""
    exports: bool = False
    requires: bool = False
    exact_imports: bool = False
    nested_static: bool = False
    lexis: tuple[str, ...] = ()
    ends_lines: bool = False
    directive: str = ""
    deepseek_main: str = ""
    deepseek_indent: int = 0
    deepseek_brace: bool = False
    deepseek_signature: str = ""


def language_of(key: str) -> AnswerLanguage:
    """The row of a language, or one of defaults.

    >>> language_of("ts").aliases, language_of("zig").aliases
    (('ts', 'typescript', 'tsx'), ('zig',))
    """
    return languages().get(key) or AnswerLanguage(key=key, aliases=(key,))


@cache
def languages() -> dict[str, AnswerLanguage]:
    """All rows, by the names that benchmarks give the languages."""
    return read_languages(packaged_table("codling.grading", "languages.toml"))


def read_languages(table: Mapping[str, Mapping[str, Any]]) -> dict[str, AnswerLanguage]:
    """The rows of a table as languages.toml has them; ValueError names a wrong one."""
    columns = {field.name for field in dataclasses.fields(AnswerLanguage)} - {"key"}
    found = {}
    for key, row in table.items():
        where = f"languages.toml, {key}"
        if unknown := set(row) - columns - {"like"}:
            raise ValueError(f"{where}: no column is called {min(unknown)}")
        like = row.get("like")
        if like is not None and like not in table:
            raise ValueError(f"{where}: there is no language {like} to be like")
        values = {**(table[like] if like else {}), **row}
        if values.get("form", "plain") not in _FORMS:
            raise ValueError(f"{where}: form is none of {', '.join(_FORMS)}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        found[key] = AnswerLanguage(key=key, **{k: v for k, v in values.items() if k != "like"})
    return found
