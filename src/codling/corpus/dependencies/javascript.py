"""JavaScript and TypeScript without what only looks like code: comments, patterns and texts.

Input: a script. Output: the same with comments and regular expressions blanked, template literals
reduced to the code in their `${...}`, and strings that hold quotes emptied; other strings, and
template literals that are one line without `${...}`, stay: they may name a module.

Whether `/` divides or begins a regular expression is decided by what precedes it: a value is
divided; after an operator, `return`, `=>`, or the `)` of `if (...)` a value begins. `/>` and
`</` are JSX's.

Not here: finding imports (web.py).
"""

import re

_PLAIN = re.compile(r"//|/\*|/|[\"'`]")
_NESTED = re.compile(r"//|/\*|/|[\"'`{}]")
_TEMPLATE = re.compile(r"[^`\\$]*+(?>(?:(?:\\[\s\S]|\$(?!\{))[^`\\$]*+)*)(`|\$\{|\Z)")
_STRINGS = {
    '"': re.compile(r'"[^"\\\n]*+(?>(?:\\[\s\S][^"\\\n]*+)*)"?'),
    "'": re.compile(r"'[^'\\\n]*+(?>(?:\\[\s\S][^'\\\n]*+)*)'?"),
}
_REGEX = re.compile(
    r"/(?>(?:[^/\\\[\n]|\\[^\n]|\[[^\]\\\n]*+(?>(?:\\[^\n][^\]\\\n]*+)*)\])+)/[A-Za-z]*"
)
_BEFORE = re.compile(r"[\w$]+\Z")
_HEAD = re.compile(r"\b(?:if|while|for|with)(?:\s+await)?\s*\Z")
_KEYWORDS = frozenset(
    {"await", "case", "delete", "do", "else", "in", "instanceof", "new", "of", "return", "throw"}
    | {"typeof", "void", "yield"}
)
_LOOK_BACK = 400
"""How many characters before a `/` are read."""


_LONGEST = 2000
"""A longer regular expression is none: on one line without an end each `/` would cost the rest."""
_MOST_OPEN = 8
"""Most template literals that may be open at once; a further backtick is only a character."""


def code_of(text: str) -> str:
    """A script without comments, regular expressions and the texts of template literals.

    >>> code_of("a = /[/*]/; // b")
    'a =  ;  '
    """
    made: list[str] = []
    depths: list[int] = []  # of braces in each `${...}` that is open
    at = n_open = 0
    while match := (_NESTED if depths else _PLAIN).search(text, at):
        mark, start = match[0], match.start()
        made.append(text[at:start])
        at = match.end()
        if mark in _STRINGS:
            at = _end(_STRINGS[mark], text, start)
            made.append(_empty_quoted(text[start:at]))
        elif mark == "//":
            at = _place(text, "\n", start, 0)
            made.append(" ")
        elif mark == "/*":
            at = _place(text, "*/", at, 2)
            made.append(" ")
        elif mark == "/":
            is_regex = _begins_value(text, start) and (
                found := _REGEX.match(text, start, start + _LONGEST)
            )
            at = found.end() if is_regex and found else at
            made.append(" " if is_regex else mark)
        elif mark == "`" or (mark == "}" and depths[-1] == 0):
            if mark == "}":
                depths.pop()
            at, opens = _template(text, start, made) if n_open < _MOST_OPEN else (at, False)
            n_open += at == start + 1
            if opens:
                depths.append(0)
        else:
            depths[-1] += 1 if mark == "{" else -1
            made.append(mark)
    return "".join([*made, text[at:]])


def _template(text: str, start: int, made: list[str]) -> tuple[int, bool]:
    """Pass the text of a template literal from `start`; whether it ends at a `${`."""
    match = _TEMPLATE.match(text, start + 1)
    if match is None or not match[1]:
        made.append(" ")  # no template: a lone character, as in the text of JSX
        return start + 1, False
    body = text[start : match.end()]
    is_whole = text[start] == "`" and match[1] == "`"
    made.append(body if is_whole and "\n" not in body else " ")
    return match.end(), match[1] == "${"


def _empty_quoted(string: str) -> str:
    """A string, emptied if it holds quotes: code in a string names no module."""
    inside = string[1:-1]
    return string if not any(quote in inside for quote in "\"'`") else string[0] * 2


def _begins_value(text: str, slash: int) -> bool:
    """Whether the `/` there stands where a value begins, so that it is a regular expression."""
    if text.startswith("/>", slash) or text[slash - 1 : slash] == "<":
        return False
    before = text[max(0, slash - _LOOK_BACK) : slash].rstrip()
    if not before or before[-1] == "}":
        return True
    if word := _BEFORE.search(before):
        is_member = before[: word.start()].endswith(".")
        return word[0] in _KEYWORDS and not is_member
    if before[-1] == ")":
        return _HEAD.search(before[: _opening(before)]) is not None
    return before[-1] not in "]\"'`" and not before.endswith(("++", "--"))


def _opening(before: str) -> int:
    """Where the bracket opens that the last character closes; 0 if it is not in the text read."""
    depth = 0
    for i in range(len(before) - 1, -1, -1):
        depth += (before[i] == ")") - (before[i] == "(")
        if not depth:
            return i
    return 0


def _place(text: str, wanted: str, start: int, after: int) -> int:
    found = text.find(wanted, start)
    return len(text) if found < 0 else found + after


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start + 1
