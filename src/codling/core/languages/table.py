"""The programming languages: how files are recognised, and how a path is written as a comment.

Input: a file's path and its first bytes. Output: a key of `LANGUAGES` ("python", "c-sharp"), or
None for what is in no language of the table. The tables beside this file are `languages.toml`, the
89 languages of DeepSeek-Coder, and `languages_more.toml`, which makes them the 338 of
DeepSeek-Coder-V2. A file in one of the latter is in none of the 89, whatever its extension.

Not here: how an extension that several languages share is decided (hints.py), and which
languages a corpus keeps (corpus/filters/rules.py).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Literal

from codling.core.languages.hints import choose, is_shared
from codling.core.packaged import packaged_table

PROSE = "text"
"""The language of documents that are running text (corpus/prose); it is not in the table."""
Family = Literal["code", "markup", "data", "prose"]

SNIFF_BYTES = 32768
"""The most of a file's beginning that `detect` reads; for most files a quarter is enough."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """One row of the table."""

    key: str
    name: str
    family: Family = "code"
    line_comment: str | None = None
    block_comment: tuple[str, str] | None = None
    extensions: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    shebangs: tuple[str, ...] = ()
    docstrings: bool = False
    """Whether a string in triple quotes that begins a line counts as a comment."""
    is_extended: bool = False
    """Whether only DeepSeek-Coder-V2 names it."""


def detect(
    path: str | PurePosixPath, first_bytes: bytes, *, extended: bool = False, header: str = "c"
) -> str | None:
    """The language of a file, by its name, first line, extension and content, in this order.

    With `extended` all 338 languages are known, else 89. `header` is the language of a header that
    could be C as well as C++, as its neighbours have it.

    >>> detect("src/app.py", b""), detect("Makefile", b""), detect("run", b"#!/usr/bin/env bash")
    ('python', 'makefile', 'shell')
    >>> detect("vector.h", b"#pragma once\\ntemplate <class T> class V {};")
    'cpp'
    """
    key = _detect(str(path).rpartition("/")[2], first_bytes, header)
    return key if key is None or extended or not LANGUAGES[key].is_extended else None


def _detect(name: str, first_bytes: bytes, header: str) -> str | None:
    by_name = _file_names().get(name) or _more("file_names").get(name)
    if by_name is not None:
        return choose(name, _text(first_bytes)) if is_shared(name) else by_name[0]
    extension, claimed = _by_extension(name)
    if not claimed:
        extension, claimed = _longest(name, _more("extensions"))
    if first_bytes.startswith(b"#!"):
        run_by = _by_shebang(first_bytes)
        if run_by and not set(run_by) & set(claimed):
            return run_by[0]
        claimed = tuple(k for k in claimed if k in run_by) or claimed
        if run_by and len(claimed) == 1:
            return claimed[0]
    if not claimed:
        return None
    if is_shared(extension):
        return choose(extension, _text(first_bytes), header)
    is_claimed = claimed[0] != "xml" or _text(first_bytes).lstrip("\ufeff \t\r\n")[:1] in ("", "<")
    return claimed[0] if is_claimed else None


def header_language(names: Iterable[str]) -> str:
    """What a header is that could be C as well as C++, among files of these names.

    >>> header_language(["a.cpp", "b.cc", "c.c", "d.h"]), header_language(["d.h"])
    ('cpp', 'c')
    """
    kinds = Counter("c" if n.endswith(".c") else "cpp" for n in names if n.endswith(_C_SOURCES))
    return "cpp" if kinds["cpp"] > kinds["c"] else "c"


def may_be_known(path: str | PurePosixPath, *, extended: bool = False) -> bool:
    """Whether a file of this name can be in a language of the table, whatever it contains.

    >>> may_be_known("a.py"), may_be_known("configure"), may_be_known("photo.png")
    (True, True, False)
    """
    name = str(path).rpartition("/")[2]
    if name in _file_names() or "." not in name.lstrip(".") or _by_extension(name)[1]:
        return True
    return extended and bool(name in _more("file_names") or _longest(name, _more("extensions"))[1])


def may_be_code(path: str | PurePosixPath, *, extended: bool = False) -> bool:
    """Whether a file of this name can be in a programming language, going by the name alone.

    >>> may_be_code("a.py"), may_be_code("a.md"), may_be_code("a.pp")
    (True, False, True)
    """
    name = str(path).rpartition("/")[2]
    claimed = _file_names().get(name) or _by_extension(name)[1]
    if not claimed and extended:
        claimed = _more("file_names").get(name) or _longest(name, _more("extensions"))[1]
    return any(LANGUAGES[key].family == "code" for key in claimed or ())


def path_comment(language: str, path: str) -> str:
    """One line, with its newline, that names a file in the comment syntax of its language.

    Running text has none: "" for PROSE.

    >>> path_comment("python", "pkg/a.py"), path_comment("css", "a.css")
    ('# pkg/a.py\\n', '/* a.css */\\n')
    """
    if language == PROSE:
        return ""
    shown = "".join(c if c.isprintable() else "?" for c in path)
    row = LANGUAGES.get(language)
    if row is not None and row.line_comment is None and row.block_comment is not None:
        opening, closing = row.block_comment
        return f"{opening} {shown.replace(closing, '?')} {closing}\n"
    return f"{row.line_comment if row and row.line_comment else '#'} {shown}\n"


def _load() -> dict[str, Language]:
    """The tables, in the order of the files."""
    folder = "codling.core.languages"
    first = packaged_table(folder, "languages.toml")
    more = packaged_table(folder, "languages_more.toml")
    found = {key: _language(key, row) for key, row in first.items()}
    for key, row in more["languages"].items():
        found[key] = _language(key, row | {"is_extended": True})
    ALIASES.update(more["aliases"])
    return found


def _language(key: str, row: dict[str, Any]) -> Language:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Language(key=key, **values)


ALIASES: dict[str, str] = {}
"""Names of DeepSeek-Coder-V2's list -> keys, where a name is not its key in lower case."""
LANGUAGES: dict[str, Language] = _load()
"""All languages by key."""

_C_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".hpp", ".hh", ".hxx", ".H")
_INTERPRETER = re.compile(rb"#!\s*(\S*/\S+)(?:\s+(.*))?")


@cache
def _file_names() -> dict[str, tuple[str, ...]]:
    return _inverse("file_names", False)


@cache
def _extensions() -> dict[str, tuple[str, ...]]:
    return _inverse("extensions", False)


@cache
def _shebangs() -> dict[str, tuple[str, ...]]:
    return _inverse("shebangs", False)


@cache
def _more(column: str) -> dict[str, tuple[str, ...]]:
    return _inverse(column, True)


def _inverse(column: str, is_extended: bool) -> dict[str, tuple[str, ...]]:
    """Value of a column -> the languages that have it."""
    found: dict[str, list[str]] = {}
    for key, row in LANGUAGES.items():
        if row.is_extended == is_extended:
            for value in getattr(row, column):
                found.setdefault(value, []).append(key)
    return {value: tuple(keys) for value, keys in found.items()}


def _by_extension(name: str) -> tuple[str, tuple[str, ...]]:
    """The longest known extension of a file name and the languages that claim it."""
    return _longest(name, _extensions())


def _longest(name: str, table: dict[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    lower = name.lower()
    at = name.find(".", 1)
    while at != -1:
        for extension in (name[at:], lower[at:]):
            if extension in table:
                return extension, table[extension]
        at = name.find(".", at + 1)
    return "", ()


def _by_shebang(first_bytes: bytes) -> tuple[str, ...]:
    match = _INTERPRETER.match(first_bytes.split(b"\n", 1)[0])
    if not match:
        return ()
    program, rest = match[1].rpartition(b"/")[2], (match[2] or b"").split()
    if program == b"env":
        named = [w for w in rest if not w.startswith(b"-") and b"=" not in w]
        program = named[0].rpartition(b"/")[2] if named else b""
    exact = program.decode("latin-1")
    for word in (exact, exact.rstrip("0123456789.-")):
        if found := _shebangs().get(word) or _more("shebangs").get(word):
            return found
    return ()


def _text(first_bytes: bytes) -> str:
    return first_bytes[:SNIFF_BYTES].decode("utf-8", "replace")
