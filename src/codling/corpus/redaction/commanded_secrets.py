"""Secrets that commands and calls are given: behind a flag, as an argument, or through a pipe.

Input: a text. Output: the places of values that look random (assigned_secrets.looks_random)
and stand where these commands take a password or token:

    curl -u name:x            mysql -u root -px        sshpass -p x
    snmpwalk -A x -X y        vault kv put a b=x       name:x@tcp(host)/db
    rclone obscure x          net user name x          htpasswd -b file name x
    echo x | docker login --password-stdin             echo name:x | chpasswd
    login("name", "x")        new PDO(dsn, "name", "x")

Not here: which commands and calls (commanded_secrets.toml), and flags with telling names such as
--token x (assigned_secrets.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from codling.core.packaged import packaged_table
from codling.corpus.redaction.assigned_secrets import MEDIUM, STRONG, UNASSIGNED, looks_random

FLAGS = "abcdefghijklmnopqrstuvwxyz"
"""A blank, a dash and letters, of which the last is one of _PASSWORD_FLAGS."""
_MAX_LINE = 400
_TABLE = packaged_table("codling.corpus.redaction", "commanded_secrets.toml")
_FLAG = re.compile(
    r" -[a-zA-Z]{0,2}?[pPuUkKaAwW][ \t:]*[\"']?"
    r"(?:[\w.@\\/-]{1,40}[:%,])?([^\s\"'`<>;|&]{8,100})"
)
_PROGRAM = re.compile(
    rf"(?:^|[\s;|&\"'`$(])(?:{'|'.join(_TABLE['programs'].split())})\b[^\n]{{0,200}}\Z"
)
_VALUE = r"[\"']?([^\s\"'`<>;|&$()]{8,100})[\"']?"
_BEFORE_PIPE = re.compile(
    r"(?:echo|printf|print)[ \t]+(?:-\w+[ \t]+)*(?:[\"']?%s(?:\\n)?[\"']?[ \t]+)?"
    rf"(?:(?=[\"'\w])[\"']?[\w.@-]{{1,40}}:)?{_VALUE}[ \t]*\|[^\n|]{{0,200}}\Z"
)
_ARGUMENT = re.compile(r",\s*(?:\w{1,30}\s*[=:]\s*)?([\"'`])([^\s\"'`]{8,100})\1\s*(?=[,)])")
"""A quoted argument that is not the first."""
_MAX_ARGUMENTS = 400
_WORD_OF_LINE = re.compile(r"(?<![^\s\"'=:<])([^\s\"'`=<>;|&$()]{8,100})(?![^\s\"'])")
_ABBREVIATED_HASH = re.compile(r"[0-9a-f]{7,15}|[0-9A-F]{7,15}|[0-9a-f]{40}")
"""What names a commit, an image or a container."""


@dataclass(frozen=True)
class Command:
    """Where one command takes its secret, before or behind words that are rare elsewhere."""

    mark: str
    before: str = ""
    before_pipe: bool = False
    arguments: bool = False
    on_line: bool = False
    behind: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What stands behind the mark, or ends with it."""
        return re.compile((self.behind or self.before).format(value=_VALUE))

    def find(self, text: str, at: int) -> Iterator[re.Match[str]]:
        """What may be a secret, in the last group, of the command whose mark stands at `at`."""
        after = at + len(self.mark)
        if self.before_pipe or self.before:
            first = max(0, text.rfind("\n", 0, at) + 1, at - _MAX_LINE)
            found = (_BEFORE_PIPE if self.before_pipe else self.pattern).search(text, first, at)
        elif self.arguments:
            last = text.find(")", after, after + _MAX_ARGUMENTS) + 1
            yield from _ARGUMENT.finditer(text, after, last)
            return
        else:
            line_end = text.find("\n", at)
            last = min(line_end if line_end >= 0 else len(text), at + _MAX_LINE)
            if self.on_line:
                words = _WORD_OF_LINE.finditer(text, after, last)
                yield from (word for word in words if not _ABBREVIATED_HASH.fullmatch(word[1]))
                return
            found = self.pattern.match(text, after, last)
        if found is not None:
            yield found


COMMANDS = tuple(Command(**row) for row in _TABLE["command"])


def find_commanded(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the secrets that commands are given.

    >>> [text[a:b] for text in ["net user app xNKu8iS2G8NP"] for a, b in find_commanded(text)]
    ['xNKu8iS2G8NP']
    """
    yield from _behind_flags(text)
    for command in COMMANDS:
        at = text.find(command.mark)
        while at >= 0:
            for match in command.find(text, at):
                group = match.lastindex or 0
                if looks_random(match[group], STRONG + UNASSIGNED):
                    yield match.span(group)
            at = text.find(command.mark, at + len(command.mark))


def _behind_flags(text: str) -> Iterator[tuple[int, int]]:
    at = text.find(" -")
    while at >= 0:
        if text[at + 2 : at + 3].lower() in FLAGS and (match := _FLAG.match(text, at)):
            line = text[max(0, text.rfind("\n", 0, at), at - 240) : at]
            if looks_random(match[1], MEDIUM) and _PROGRAM.search(line):
                yield match.span(1)
        at = text.find(" -", at + 2)
