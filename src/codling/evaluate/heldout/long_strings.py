"""Strings over several lines: a script, a page or a query in them is text, not the project's code.

Input: the text of a file, its language. Output: where such strings begin and end. Told without a
parser: comments and strings on one line are passed over, so that a quote in them opens nothing.

Not here: comments and docstrings (corpus/filters/shares.py), which lines are asked (insertion.py).
"""

import re
from functools import cache

from codling.core.languages.table import LANGUAGES
from codling.corpus.filters.shares import ONE_LINE_STRING

_TRIPLE = r'"""(?:\\[\s\S]|[^\\])*?"""'
_BACKTICK = r"`(?:\\[\s\S]|[^`\\])*`"
_RAW_BACKTICK = r"`[^`]*`"
_HEREDOC = r"<<[-~]?['\"]?(?P<end>[A-Z_]\w*)['\"]?[^\n]*\n[\s\S]*?^[ \t]*(?P=end)\b"
_FORMS: dict[str, str] = {
    **dict.fromkeys(("python", "dart"), rf"{_TRIPLE}|'''(?:\\[\s\S]|[^\\])*?'''"),
    **dict.fromkeys(("java", "kotlin", "scala", "groovy", "swift", "julia", "elixir"), _TRIPLE),
    "c-sharp": rf'{_TRIPLE}|@"(?:""|[^"])*"',
    **dict.fromkeys(("javascript", "typescript"), _BACKTICK),
    "go": _RAW_BACKTICK,
    "rust": r'r(?P<hashes>#*)"[\s\S]*?"(?P=hashes)',
    "cpp": r'R"(?P<mark>[^()\\\s]{0,16})\([\s\S]*?\)(?P=mark)"',
    **dict.fromkeys(("shell", "ruby", "perl"), _HEREDOC),
    "php": _HEREDOC.replace("<<", "<<<", 1),
}
"""What a string over several lines looks like in the languages that have them often."""


def long_strings(text: str, language: str) -> list[tuple[int, int]]:
    """Where strings over several lines begin and end, in order; the last line of such a string is
    not in it where it holds nothing but what closes it and what follows.

    >>> long_strings("f(`a\\nset -l b\\n`, c)", "go"), long_strings("f(`a`)", "go")
    ([(2, 14)], [])
    """
    pattern = _strings(language)
    found = pattern.finditer(text) if pattern else ()
    strings = [match for match in found if match.lastgroup == "long" and "\n" in match["long"]]
    return [(m.start(), text.rindex("\n", m.start(), m.end()) + 1 if _closes(m) else m.end())
            for m in strings]  # fmt: skip


def _closes(string: re.Match[str]) -> bool:
    """Whether the last line of a string is its end alone."""
    return not re.sub(r"[\"'`)#\w]", "", string["long"].rpartition("\n")[2]).strip()


@cache
def _strings(language: str) -> re.Pattern[str] | None:
    row, form = LANGUAGES.get(language), _FORMS.get(language)
    if row is None or form is None:
        return None
    comments = [rf"{re.escape(row.line_comment)}[^\n]*"] if row.line_comment else []
    if row.block_comment:
        opening, closing = map(re.escape, row.block_comment)
        comments.append(rf"{opening}[\s\S]*?{closing}")
    return re.compile("|".join([f"(?P<long>{form})", ONE_LINE_STRING, *comments]), re.MULTILINE)
