"""Whether a file parses: the share of its tokens that a grammar cannot read.

Input: a language, a path and a text. Output: a share from 0 (no error) to 1, or None where there
is no grammar for the language. Python is asked of Python itself (any error is 1), the others of
tree-sitter, which goes on after an error: real C and C++ files have some in 40% and more, because
macros are not expanded, so that "any error" would be too strict for them. A file that has errors is
read in the other ways that it may be meant (readings.py), and the best one counts.

Grammars are the wheels `tree-sitter-LANGUAGE`. Those of Python, C, C++, Java, JavaScript and
TypeScript come with codling; the rest are the extra `grammars` (27 wheels, 8 MB to fetch, 100 MB on
disk). tree-sitter-language-pack has more, but fetches them when they are used, or weighs 192 MB.

Not here: which share is too much (screen.py), and what counts as unread (parse_errors.py).
"""

import importlib
import platform
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import PurePosixPath
from typing import NamedTuple

import tree_sitter

from codling.core.packaged import packaged_table
from codling.corpus.filters.parse_errors import unread_share
from codling.corpus.filters.readings import C_FAMILY, one_branch, readings
from codling.corpus.filters.shares import parses

_TABLE = packaged_table("codling.corpus.filters", "grammars.toml")
GRAMMARS = {
    language: (package, function) for language, (package, function) in _TABLE["grammars"].items()
}
"""For each language the package `tree_sitter_NAME` and the function in it."""
DIALECTS: dict[str, dict[str, str]] = _TABLE["dialects"]
"""For some languages: the functions for files of other endings, in the same package."""
WELL_READ = 0.01
"""With so small a share no further reading is tried."""
CYTHON = (".pyx", ".pxd", ".pxi")


def error_share(language: str, path: str, text: str) -> float | None:
    """The share of a file's tokens, in bytes, that do not parse; None without a grammar for it.

    >>> error_share("python", "a.py", "x = 1"), error_share("python", "a.py", "x = ")
    (0.0, 1.0)
    """
    if own := OWN_PARSERS.get(language):
        return own.error_share(path, text)
    data = text.encode("utf-8", "replace")
    least = _unread(language, path, data)
    if least is None or least == 0.0:
        return least
    if language in C_FAMILY and one_branch(data) is None:
        return 1.0
    for other, reading in readings(language, path, data):
        share = _unread(other, path, reading)
        least = least if share is None else min(least, share)
        if least < WELL_READ:
            break
    return least


def _unread(language: str, path: str, data: bytes) -> float | None:
    parser = _parser(language, PurePosixPath(path).suffix)
    return None if parser is None else unread_share(parser.parse(data).root_node, data, language)


def has_grammar(language: str) -> bool:
    """Whether files of a language can be screened in this installation."""
    return language in OWN_PARSERS or _parser(language) is not None


def tools(languages: Iterable[str]) -> list[tuple[str, str]]:
    """Name and version of the parsers that judge these languages in this installation."""
    found = {}
    for language in languages:
        if own := OWN_PARSERS.get(language):
            found[language] = own.version
        elif language in GRAMMARS and has_grammar(language):
            name = package(language)
            found |= {p: metadata.version(p) for p in ("tree-sitter", name)}
    return sorted(found.items())


def package(language: str) -> str:
    """The wheel that holds the grammar of a language of GRAMMARS."""
    return f"tree-sitter-{GRAMMARS[language][0].replace('_', '-')}"


@cache
def _parser(language: str, suffix: str = "") -> tree_sitter.Parser | None:
    name, function = GRAMMARS.get(language, ("", ""))
    function = DIALECTS.get(language, {}).get(suffix, function)
    try:
        grammar = getattr(importlib.import_module(f"tree_sitter_{name}"), function)()
    except ImportError:
        return None
    with warnings.catch_warnings():
        # Some grammars still hand over an address where a capsule is wanted.
        warnings.simplefilter("ignore", DeprecationWarning)
        return tree_sitter.Parser(tree_sitter.Language(grammar))


class OwnParser(NamedTuple):
    """A language that is judged by itself instead of a grammar."""

    error_share: Callable[[str, str], float | None]
    version: str


def _python_share(path: str, text: str) -> float | None:
    # Cython counts as Python among the 89 languages, but Python does not parse it.
    return None if path.endswith(CYTHON) else 0.0 if parses(text) else 1.0


OWN_PARSERS = {"python": OwnParser(_python_share, platform.python_version())}
