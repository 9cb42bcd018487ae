"""Edits of files in a chat's answer: whole files, or pieces to search and replace.

Input: an answer, and the files that it is about. Output: the files after the edits, or None where
an edit does not fit. The forms are Aider's:

    whole   a line with the file's name, then the whole file in a code block
    diff    a line with the name, then a block of <<<<<<< SEARCH, =======, >>>>>>> REPLACE

Not here: prompts and tests (tasks/aider.py).
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

_FENCE = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)^\1[ \t]*$", re.M | re.S)
_PIECE = re.compile(r"^<{5,9} SEARCH[^\n]*\n(.*?)^={5,9}[ \t]*\n(.*?)^>{5,9} REPLACE", re.M | re.S)


def apply_whole(answer: str, files: Mapping[str, str]) -> dict[str, str] | None:
    """The files with those that the answer gives whole; None if it gives none of them.

    A block without a name is the file, where there is only one. A name alone on its line, in the
    folder of a file and with its ending, makes a new file.

    >>> apply_whole("a.py\\n```\\nx = 1\\n```", {"a.py": ""})
    {'a.py': 'x = 1\\n'}
    """
    found = {}
    for block in _FENCE.finditer(answer):
        before = answer[: block.start()]
        name = _name_before(before, files) or _new_name(before, files)
        if name is None and len(files) == 1:
            name = next(iter(files))
        if name is not None:
            found[name] = block[2]
    return {**files, **found} if found else None


def apply_pieces(answer: str, files: Mapping[str, str]) -> dict[str, str] | None:
    """The files with every piece replaced; None if there is none, or one is not found. A piece that
    searches nothing may make a new file, as in `apply_whole`."""
    edited = dict(files)
    pieces = list(_PIECE.finditer(answer))
    for piece in pieces:
        before = answer[: piece.start()]
        name = _name_before(before, files)
        if name is None and not piece[1].strip():
            name = _new_name(before, files)
        if name is None and len(files) == 1:
            name = next(iter(files))
        new = None if name is None else replace_piece(edited.get(name, ""), piece[1], piece[2])
        if name is None or new is None:
            return None
        edited[name] = new
    return edited if pieces else None


def replace_piece(text: str, searched: str, new: str) -> str | None:
    """`text` with the lines `searched` replaced; other indentation of all lines is allowed.

    >>> replace_piece("def f():\\n    return 1\\n", "return 1\\n", "return 2\\n")
    'def f():\\n    return 2\\n'
    """
    if not searched.strip():
        return text + new if not text.strip() else text.rstrip("\n") + "\n" + new
    if text.startswith(searched) or f"\n{searched}" in f"\n{text}":
        return text.replace(searched, new, 1)
    lines, wanted = text.splitlines(keepends=True), searched.strip("\n").splitlines()
    for at in range(len(lines) - len(wanted) + 1):
        here = [line.rstrip("\n") for line in lines[at : at + len(wanted)]]
        if [line.strip() for line in here] != [line.strip() for line in wanted]:
            continue
        shift = _indent(here) - _indent(wanted)
        moved = [_shift(line, shift) for line in new.splitlines(keepends=True)]
        return "".join([*lines[:at], *moved, *lines[at + len(wanted) :]])
    return None


def _name_before(text: str, files: Mapping[str, str]) -> str | None:
    """The file that one of the last lines before a block names."""
    lines = [line.strip().strip("`*#: ") for line in text.rstrip().splitlines()[-3:]]
    for line in reversed(lines):
        for name in files:
            if line == name or line.endswith((f"/{name}", f" {name}")):
                return name
    return None


def _new_name(text: str, files: Mapping[str, str]) -> str | None:
    """A name alone on the last line that is no fence, where a file may be made."""
    lines = [line for line in text.splitlines() if line.strip() and "```" not in line]
    last = lines[-1].strip().strip("`*#: ") if lines else ""
    path = PurePosixPath(last)
    known = {(each.parent, each.suffix) for each in map(PurePosixPath, files)}
    is_new = re.fullmatch(r"[\w./-]+\.\w+", last) and ".." not in path.parts
    return last if is_new and (path.parent, path.suffix) in known else None


def _indent(lines: list[str]) -> int:
    return min((len(x) - len(x.lstrip()) for x in lines if x.strip()), default=0)


def _shift(line: str, by: int) -> str:
    if by >= 0:
        return " " * by + line if line.strip() else line
    return line[min(-by, len(line) - len(line.lstrip())) :]
