"""Splits a shell script of an answer: keeps its functions and settings, drops the commands that it
runs.

Input: a script that defines a function. Output: the same without top-level commands, such as
demonstrations and `exit`. Not here: any other language (chat_code.py).
"""

import re

_OPENS = re.compile(
    r"^([ \t]*)(?:function[ \t]+[\w-]+[ \t]*(?:\([ \t]*\))?|[\w-]+[ \t]*\([ \t]*\))[ \t]*([({])?"
)
_KEPT = re.compile(
    r"^(?:#|(?:declare|typeset|readonly|export|local|shopt|IFS=)\b|[A-Za-z_]\w*(?:\[[^]]*\])?\+?=)"
)


def shell_functions(code: str, name: str) -> str:
    """The functions, assignments and comments of a script; `name` is the one that is asked for."""
    lines = code.replace("\r\n", "\n").split("\n")
    kept, i = [], 0
    while i < len(lines):
        opened = _OPENS.match(lines[i])
        end = i + 1
        if opened:
            end = _end_of_function(lines, i, opened[1])
        elif _KEPT.match(lines[i]):
            end = _end_of_value(lines, i)
        if opened or (_KEPT.match(lines[i]) and not _runs(lines[i], name)):
            kept += lines[i:end]
        i = end
    return "\n".join(kept) + "\n"


def _runs(line: str, name: str) -> bool:
    return (
        not line.startswith("#")
        and re.search(rf"(?:\$\(|`)\s*{re.escape(name)}\b", line) is not None
    )


def _end_of_function(lines: list[str], start: int, indent: str) -> int:
    """The line after the brace that closes it: the first at its own indentation, or on its line."""
    first = lines[start].split(" #")[0].rstrip()
    if re.search(r"[{(].*[;&)}\s][})]$", first):
        return start + 1
    for i in range(start + 1, len(lines)):
        if re.match(rf"{indent}[}})](?:\s|;|$)", lines[i]):
            return i + 1
    return len(lines)


def _end_of_value(lines: list[str], start: int) -> int:
    """The line after an assignment, which may be an array over several lines."""
    depth = 0
    for i in range(start, len(lines)):
        plain = re.sub(r"\\.|'[^']*'|\"[^\"]*\"", "", lines[i])
        depth += plain.count("(") - plain.count(")")
        if depth <= 0:
            return i + 1
    return start + 1
