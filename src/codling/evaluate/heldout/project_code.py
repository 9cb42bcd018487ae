"""Which files of a repository are code of the project, and of every other: why it is not.

    no-code                 pages, data, and what has no programming language
    vendored-or-generated   code of others, and what a program wrote, by path or by the first lines
    tests, examples, docs, scripts   parts of a repository beside its code (corpus/parts.py)

Input: a path, a language, the beginning of the text. Output: the reason, or None. Not here: which
lines of a file can be asked about (insertion.py) and what of commits is fair (left_out.py).
"""

import re

from codling.core.languages.table import LANGUAGES
from codling.corpus.filters.rules import generated_mark
from codling.corpus.parts import part_of

COMMENT_STARTS = ("#", "//", "/*", "*", "--", ";", "%", '"""', "'''", "<!--")
"""Marks that begin a comment or documentation in the languages of the table."""
NO_CODE = "no-code"
FOREIGN = "vendored-or-generated"
HEAD_CHARS = 2000
"""Characters in which the words of generated files are sought."""
_FOREIGN_PATH = re.compile(
    r"(?i)(?:^|/)(?:vendor|vendored|_vendor|third[-_]?party|3rdparty|node_modules|bower_components|"
    r"dist|generated|__generated__|snapshots|__snapshots__)/|"
    r"\.min\.\w+$|\.lock$|[-.]lock\.\w+$|[._]pb2?(?:_grpc)?\.\w+$|\.generated\.\w+$|\.g\.dart$|"
    r"(?:^|/)go\.(?:sum|mod)$|\.snap$|\.bundle\.js$|(?:^|/)zz_generated[^/]*$|\.designer\.cs$"
)


def is_foreign(path: str) -> bool:
    """Whether the path says that a file was vendored or generated.

    >>> is_foreign("api/user_pb2.py"), is_foreign("lib/vendor/a.go"), is_foreign("lib/vendor.go")
    (True, True, False)
    """
    return _FOREIGN_PATH.search(path) is not None


def file_reason(path: str, language: str | None, head: str) -> str | None:
    """Why a file is not code of the project, or None; `head` are its first HEAD_CHARS.

    >>> file_reason("tests/data/a.py", "python", ""), file_reason("src/a.py", "python", "")
    ('tests', None)
    """
    row = LANGUAGES.get(language or "")
    if row is None or row.family != "code":
        return NO_CODE
    if is_foreign(path) or generated_mark(head):
        return FOREIGN
    part = part_of(path)
    return None if part == "code" else part
