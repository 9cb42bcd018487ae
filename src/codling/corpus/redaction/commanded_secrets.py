"""Secrets in shell commands: after a flag, as an argument, or through a pipe.

Input: a text. Output: the places of values that look random (assigned_secrets.looks_random)
and stand where these commands take a password or token:

    curl -u name:x            mysql -u root -px        sshpass -p x
    rclone obscure x          net user name x          htpasswd -b file name x
    echo x | docker login --password-stdin             echo name:x | chpasswd

Not here: flags with telling names such as --token x (assigned_secrets.py).
"""

import re
from collections.abc import Iterator

from codling.corpus.redaction.assigned_secrets import MEDIUM, STRONG, UNASSIGNED, looks_random

FLAGS = "pukaw"
"""A blank, a dash and one of these letters: the flags that take a password from some commands."""
_MAX_LINE = 400
_FLAG = re.compile(r" -[pPuUkaw](?:[ \t]*[\"']?)(?:[\w.@\\/-]{1,40}:)?([^\s\"'`<>;|&]{8,100})")
_COMMAND = re.compile(
    r"(?:^|[\s;|&\"'`$(])(?:curl|http|wget|mysql\w*|maria\w*|redis-cli|docker|podman|helm|az|oc|"
    r"openssl|mongo\w*|sshpass|ldap\w+|smbclient|sqlcmd|psql|rsync|svn|nexus|skopeo|zip|7z|htpasswd|"
    r"mosquitto_\w+|rabbitmqadmin|keytool|winexe|evil-winrm|crackmapexec|security|psexec)\b"
    r"[^\n]{0,200}\Z"
)
_VALUE = r"[\"']?([^\s\"'`<>;|&$()]{8,100})[\"']?"
_BEFORE_PIPE = re.compile(
    r"(?:echo|printf|print)[ \t]+(?:-\w+[ \t]+)*(?:[\"']?%s(?:\\n)?[\"']?[ \t]+)?"
    rf"(?:(?=[\"'\w])[\"']?[\w.@-]{{1,40}}:)?{_VALUE}[ \t]*\|[^\n|]{{0,200}}\Z"
)
_BY_MARK = {
    "-stdin": _BEFORE_PIPE,
    "with-token": _BEFORE_PIPE,
    "chpasswd": _BEFORE_PIPE,
    "htpasswd": re.compile(
        rf"[ \t]+(?:-\w+[ \t]+)*-\w*b\w*[ \t]+(?:[^\s-]\S*[ \t]+){{1,2}}{_VALUE}"
    ),
    "net use": re.compile(rf"r?[ \t]+(?:[^\s/]\S*[ \t]+){{1,2}}?(?!\\\\){_VALUE}(?=\s|$)"),
    "obscure ": re.compile(rf"[ \t]*{_VALUE}"),
}
"""Where the value stands, before or behind words that are rare elsewhere."""


def find_commanded(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the secrets that commands are given.

    >>> [text[a:b] for text in ["net user app xNKu8iS2G8NP"] for a, b in find_commanded(text)]
    ['xNKu8iS2G8NP']
    """
    yield from _behind_flags(text)
    for mark, pattern in _BY_MARK.items():
        at = text.find(mark)
        while at >= 0:
            if found := _at_mark(text, at, mark, pattern):
                yield found
            at = text.find(mark, at + len(mark))


def _behind_flags(text: str) -> Iterator[tuple[int, int]]:
    at = text.find(" -")
    while at >= 0:
        if text[at + 2 : at + 3].lower() in FLAGS and (match := _FLAG.match(text, at)):
            line = text[max(0, text.rfind("\n", 0, at), at - 240) : at]
            if looks_random(match[1], MEDIUM) and _COMMAND.search(line):
                yield match.span(1)
        at = text.find(" -", at + 2)


def _at_mark(text: str, at: int, mark: str, pattern: re.Pattern[str]) -> tuple[int, int] | None:
    if pattern is _BEFORE_PIPE:
        first = max(0, text.rfind("\n", 0, at) + 1, at - _MAX_LINE)
        match = pattern.search(text, first, at)
    else:
        line_end = text.find("\n", at)
        last = min(line_end if line_end >= 0 else len(text), at + _MAX_LINE)
        match = pattern.match(text, at + len(mark), last)
    found = match is not None and looks_random(match[1], STRONG + UNASSIGNED)
    return match.span(1) if match is not None and found else None
