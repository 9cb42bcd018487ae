"""Which of several languages a file is in, when they share an extension: marks in its content.

Input: the extension, the languages of the table that claim it, the beginning of the file. Output:
one of them, or None if the content belongs to a language outside the table. The marks are searched
for in order; the first that is found decides, otherwise the last entry (a plain name) does.

Not here: extensions and file names (languages.toml).
"""

import re
from collections.abc import Sequence
from functools import cache

_CPP = (
    r"^\s*(?:template\s*<|(?:export\s+)?namespace\b|class\s+\w+|using\s+(?:namespace\s|\w+\s*=)|"
    r"(?:public|private|protected)\s*(?:slots\s*)?:|(?:virtual|friend|constexpr|explicit|inline\s+constexpr)\b)|"
    r"\bstd::|#\s*include\s*<(?:string|vector|memory|map|iostream|cstd\w+|cmath|utility|functional|"
    r"algorithm|type_traits|limits|set|unordered_\w+|array|tuple|optional|atomic|mutex|thread)>"
)
_OBJECTIVE_C = r"^\s*(?:@(?:interface|implementation|protocol|class|end|property)\b|#import\b)"

HINTS: dict[str, tuple[tuple[str, str | None] | str | None, ...]] = {
    ".h": ((_OBJECTIVE_C, None), (_CPP, "cpp"), "c"),
    ".m": (
        (_OBJECTIVE_C, None),
        (r"^\s*:-\s|^\s*(?:pred|func)\s", None),
        (r"\(\*|^\s*(?:Begin)?Package\s*\[|:=.*\[|^\s*\w+\[[^\]]*_\]", "mathematica"),
        (r"^\s*(?:%|function\b|end\b|classdef\b|[\w.]+\s*=)|\bzeros\(", "matlab"),
        None,
    ),
    ".pl": (
        (r"^\s*(?::-|%)|^[^#\n]*:-|^[a-z]\w*\([^)]*\)\.\s*$", "prolog"),
        (
            r"\b(?:use\s+(?:strict|warnings|v?5)|my\s+[$@%]|sub\s+\w+|package\s+[\w:]+;|print\b)|#!",
            "perl",
        ),
        "perl",
    ),
    ".pro": (
        (r"^\s*(?:QT|TEMPLATE|SOURCES|HEADERS|CONFIG|TARGET|include)\s*[-+]?[=(]", None),
        (r"^\s*(?:pro|function)\s+\w+\s*(?:,|$)", None),
        (r":-|^[a-z]\w*\([^)]*\)\.", "prolog"),
        None,
    ),
    ".v": (
        (r"^\s*(?:Require|Theorem|Lemma|Proof|Definition|Fixpoint|Inductive|Section)\b", None),
        (r"^\s*(?:import\s+\w+\s*$|(?:pub\s+)?fn\s+\w+)", None),
        (
            r"\b(?:end)?module\b|`(?:timescale|define|include|ifdef|ifndef)\b|\balways\b|\bassign\b",
            "verilog",
        ),
        None,
    ),
    ".vh": ((r"\b(?:logic|typedef\s+enum|interface|class|package)\b", "systemverilog"), "verilog"),
    ".ts": ((r"^\s*<\?xml|<!DOCTYPE TS|^\s*<TS\b", None), "typescript"),
    ".fs": (
        (
            r"^\s*(?:#version\b|uniform\b|varying\b|precision\b|void\s+main\b|(?:in|out)\s+vec\d)",
            "glsl",
        ),
        (r"^\s*(?:\\ |: \S+ )", None),
        "f-sharp",
    ),
    ".gs": (
        (r"^\s*(?:#version\b|uniform\b|layout\s*\()", "glsl"),
        (r"\bfunction\b|^\s*(?:var|let|const|//)", "javascript"),
        None,
    ),
    ".cls": (
        (
            r"^VERSION 1\.0 CLASS|^\s*Attribute VB_|^\s*(?:Public|Private) (?:Sub|Function)\b",
            "visual-basic",
        ),
        (r"\\(?:Provides|Load|Needs|def|new|documentclass|RequirePackage)", "tex"),
        None,
    ),
    ".cake": ((r"^\s*#(?:tool|addin|load|l)\b|\bTask\(|^\s*//", "c-sharp"), "coffeescript"),
    ".inc": ((r"<\?(?:php|=)", "php"), None),
    ".pp": ((r"^\s*(?:unit|program|interface|implementation|begin|uses)\b", "pascal"), None),
    ".st": (
        (r"\$\w+\$|^\s*(?:group\s+\w+;|delimiters\b)|::=", None),
        (r"^!|^\s*\"|\bsubclass:|\|\s*\w+.*\|", "smalltalk"),
        None,
    ),
    ".t": (
        (r"\b(?:use\s+(?:strict|warnings|Test|lib|v?5)|my\s+[$@%])|^#!.*perl", "perl"),
        None,
    ),
    ".y": ((r"^%[%{]|^%(?:token|type|start|union|left|define)\b", "yacc"), None),
    ".releaserc": ((r"\A\s*\{", "json"), "yaml"),
}
"""Per extension: (mark, language) pairs, the last entry is the language where no mark is found."""


def choose(extension: str, claimed: Sequence[str], text: str) -> str | None:
    """The language of `text`, one of `claimed` or None.

    >>> choose(".pl", ["perl", "prolog"], "parent(X, Y) :- father(X, Y).")
    'prolog'
    """
    *marks, otherwise = HINTS.get(extension, (claimed[0],))
    for mark in marks:
        assert isinstance(mark, tuple)
        if _compiled(mark[0]).search(text):
            return mark[1]
    assert not isinstance(otherwise, tuple)
    return otherwise


MORE_HINTS: dict[str, tuple[tuple[str, str], ...]] = {
    ".h": ((_OBJECTIVE_C, "objective-c"),),
    ".m": ((_OBJECTIVE_C, "objective-c"),),
    ".pp": ((r"^\s*(?:class|define|node)\s+[\w:]+.*\{|=>", "puppet"),),
    ".ts": ((r"^\s*<\?xml|<!DOCTYPE TS|^\s*<TS\b", "xml"),),
}
"""Per extension the marks of extended languages, where no language of the first table is found."""


def choose_more(extension: str, text: str) -> str | None:
    """The extended language of `text`, or None.

    >>> choose_more(".m", "#import <Foundation/Foundation.h>")
    'objective-c'
    """
    marks = MORE_HINTS.get(extension, ())
    return next((key for mark, key in marks if _compiled(mark).search(text)), None)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)
