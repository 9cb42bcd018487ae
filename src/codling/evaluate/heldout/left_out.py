"""What of later commits is not a fair question, and why: commits, files, lines.

    commits   merge, revert, bot
    files     renamed, removed, vendored-or-generated, no-code, too-large, unreadable, not-text,
              reformatted
    lines     trivial, comment, length, reformatted, moved, renumbered, in-file, in-tree,
              asked-already

"in-tree" lines are anywhere in the tree that was learned from, "in-file" ones elsewhere in the
open file: a copy says nothing about a model. Lines are compared without their blanks.

Input: a commit, a change, a line. Output: the reason, or None. Not here: reading commits
(corpus/sources/commits.py) and choosing among what is left (commits.py).
"""

import re

from codling.core.languages.table import LANGUAGES, SNIFF_BYTES, detect
from codling.corpus.filters.rules import generated_mark
from codling.corpus.sources.commits import Change, Commit
from codling.evaluate.heldout.project_code import COMMENT_STARTS, FOREIGN, is_foreign

COPIES = frozenset({"reformatted", "moved", "renumbered", "in-file"})
MAX_FILE_BYTES = 400_000
MIN_CHARS = 5
MAX_CHARS = 160
_BOT = re.compile(
    r"(?i)\[bot\]|\bbot@|\b(?:dependabot|renovate|greenkeeper|pyup|snyk|pre-commit-ci|mergify|"
    r"github-actions|allcontributors|imgbot|semantic-release|weblate)\b"
)
_BUMP = re.compile(
    r"(?i)(?:(?:chore|build|fix|ci)(?:\(deps[^)]*\))?!?: )?(?:bump|update dependenc)\b|"
    r"(?:chore|build|fix)\(deps[^)]*\)"
)
_REVERT = re.compile(r"(?i)revert\b|This reverts commit [0-9a-f]{7}")
_TRIVIAL = re.compile(
    r"[\W_]*(?:(?:else|try|finally|do|pass|return|break|continue|end|endif|fi|done|esac|begin|then|"
    r"default|None|null|nil|true|false|True|False|self|this|async|await|static|public|private)"
    r"[\W_]*)*"
)
_STYLE = str.maketrans("'`", '""', " \t\r\n\f\v,;()")
_NUMBER = re.compile(r"\d+")
_BLANKS = str.maketrans("", "", " \t\r\n\f\v")


def commit_reason(commit: Commit) -> str | None:
    """Why nothing of a commit is asked."""
    if _REVERT.match(commit.subject) or "This reverts commit " in commit.message:
        return "revert"
    is_bot = _BOT.search(commit.author) or _BOT.search(commit.email)
    return "bot" if is_bot or _BUMP.match(commit.subject) else None


def change_reason(change: Change) -> str | None:
    """Why nothing of a changed file is asked, by its name and by what git says about it."""
    if change.status in "RC":
        return "renamed"
    if change.status not in "AM":
        return "removed"
    if is_foreign(change.path):
        return FOREIGN
    language = detect(change.path, b"")
    # A file without a known suffix may name its language in its first line.
    return "no-code" if language is not None and LANGUAGES[language].family != "code" else None


def text_reason(path: str, old: str, new: str) -> str | None:
    """The same, by its text before and after."""
    language = code_language(path, new)
    if language is None:
        return "no-code"
    if generated_mark(new):
        return FOREIGN
    return "reformatted" if without_style(old) == without_style(new) else None


def line_reason(line: str, line_comment: str | None) -> str | None:
    """Why a stripped line is not asked, by the line alone."""
    if _TRIVIAL.fullmatch(line):
        return "trivial"
    if line.startswith(COMMENT_STARTS + ((line_comment,) if line_comment else ())):
        return "comment"
    return None if MIN_CHARS <= len(line) <= MAX_CHARS else "length"


def code_language(path: str, text: str) -> str | None:
    """The programming language of a file; None for pages, data and what is unknown."""
    language = detect(path, text[:SNIFF_BYTES].encode("utf-8", "replace"))
    return language if language and LANGUAGES[language].family == "code" else None


def without_blanks(text: str) -> str:
    """The key by which lines are compared.

    >>> without_blanks("  x = f( 1 )")
    'x=f(1)'
    """
    return text.translate(_BLANKS)


def without_numbers(key: str) -> str:
    """The key of a line with every number as 0: what a release changes in it does not count.

    >>> without_numbers('version="1.27.0"') == without_numbers('version="2.3.14"')
    True
    """
    return _NUMBER.sub("0", key)


def without_style(text: str) -> str:
    """A text without all that a formatter changes.

    >>> without_style("f('a',\\n  b,\\n)") == without_style('f("a", b)')
    True
    """
    return text.translate(_STYLE)
