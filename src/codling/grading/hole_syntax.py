"""Where the syntax of what fills a hole ends, and whether two pieces of code have the same tokens.

Input: code that a model filled in. Output: its beginning that can stand in the hole: a block ends
before a bracket that closes more than it opened and (Python) before a line that is indented less
than its first; an expression ends before such a bracket or at the end of its line; a call ends with
its closing bracket. Not here: a real parser: strings and comments are skipped by a scanner.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|//[^\n]*|#[^\n]*|/\*.*?\*/|\w+|\s+|.", re.S
)
_BY_INDENTATION = frozenset({"python"})
"""Languages whose blocks end with their indentation."""
_OPEN, _CLOSED = "([{", ")]}"


def cut_to_syntax(code: str, kind: str, language: str) -> str:
    """The part of `code` that can stand in a hole of this kind: block, control or api.

    >>> cut_to_syntax("a + f(b)) {", "control", "java")
    'a + f(b)'
    >>> cut_to_syntax("f(x);\\n}\\n}", "block", "cpp")
    'f(x);\\n'
    """
    if kind == "block" and language in _BY_INDENTATION:
        code = _cut_at_dedent(code)
    depth = end = 0
    for token in _tokens(code):
        depth += (token in _OPEN) - (token in _CLOSED) if len(token) == 1 else 0
        if depth < 0 or (kind != "block" and depth == 0 and "\n" in token):
            break
        if (
            kind == "control"
            and depth == 0
            and token in (";", ":")
            and language not in _BY_INDENTATION
        ):
            break
        end += len(token)
        if kind == "api" and depth == 0 and token in _CLOSED:
            break
    return code[:end] if kind == "block" else code[:end].strip()


def same_tokens(left: str, right: str) -> bool:
    """Whether two pieces of code differ in blanks, comments and a final semicolon only.

    >>> same_tokens("f( a,b );", "f(a, b)")
    True
    """
    return _list_tokens(left) == _list_tokens(right)


def _list_tokens(code: str) -> list[str]:
    tokens = [t for t in _tokens(code) if not t.isspace() and not t.startswith(("//", "/*"))]
    return tokens[:-1] if tokens[-1:] == [";"] else tokens


def _tokens(code: str) -> Iterator[str]:
    return (found[0] for found in _TOKEN.finditer(code))


def _cut_at_dedent(code: str) -> str:
    """Lines up to the first that is indented less than the second: the first is in the hole."""
    lines = code.split("\n")
    later = [line for line in lines[1:] if line.strip()]
    if not later:
        return code
    least = len(later[0]) - len(later[0].lstrip())
    kept = lines[:1]
    for line in lines[1:]:
        if line.strip() and len(line) - len(line.lstrip()) < least:
            break
        kept.append(line)
    return "\n".join(kept)
