"""Who is asked and who asks: the Host and Origin headers of a request, read strictly.

Input: header values as the client sent them. Output: whether they name this machine. A page on the
web can point its own name at 127.0.0.1 (DNS rebinding) or send requests to localhost; so every name
that is not certainly this machine's own counts as foreign.

Not here: keys (guard.py), and what a browser asks before it sends (CORS, app.py).
"""

import ipaddress
import re
from collections.abc import Collection, Sequence

from codling.serve.config import LOOPBACK

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?", re.ASCII)
"""host[:port] of RFC 3986 without user names, escapes and zones."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_OF_PAGES = ("http", "https", "ws", "wss", "ftp", "data", "blob", "file", "filesystem")
"""Schemes of what a browser may have loaded from anywhere; others belong to installed programs."""


def is_local_authority(authority: str) -> bool:
    """Whether `authority` (host, or host:port) names this machine and nothing else.

    >>> is_local_authority("LocalHost:8000"), is_local_authority("[0:0::1]:1")
    (True, True)
    >>> is_local_authority("localhost:8101@evil.com"), is_local_authority("127.0.0.1.nip.io")
    (False, False)
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found[2] or 0) > 65535:
        return False
    if not found[1].startswith("["):
        # One dot at the end says that the name is complete.
        return found[1].lower().removesuffix(".") in LOOPBACK
    try:
        return ipaddress.IPv6Address(found[1][1:-1]) == ipaddress.IPv6Address("::1")
    except ValueError:
        return False


def is_local_host(values: Sequence[str]) -> bool:
    """Whether the Host headers of a request are one, and it names this machine."""
    return len(values) == 1 and is_local_authority(values[0])


def may_ask(values: Sequence[str], allowed: Collection[str]) -> bool:
    """Whether a request with these Origin headers may be answered without a key.

    None at all: no browser's page. This machine's pages, the `allowed` origins, and installed
    programs with a scheme of their own (vscode-webview://...) may; other pages, sandboxed ones
    ("null") and what cannot be read may not.

    >>> may_ask(["http://localhost:5173"], ()), may_ask(["https://localhost.evil.com"], ())
    (True, False)
    """
    if not values:
        return True
    if len(values) > 1:
        return False
    if values[0] in allowed or "*" in allowed:
        return True
    scheme, separator, authority = values[0].partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return False
    if scheme in ("http", "https"):
        return is_local_authority(authority)
    return scheme not in _OF_PAGES
