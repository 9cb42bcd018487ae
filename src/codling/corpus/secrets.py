"""Secrets in source code: keys and tokens in known formats, private keys, assigned passwords.

Input: a text. Output: the places of secrets, with their kind and placeholder. What has too little
entropy, counts up, or says that it is an example is a placeholder already and stays.

Not here: the formats (secret_formats.py) and what replaces them (redact.py).
"""

import math
import re
import string
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product

from codling.corpus.secret_formats import FORMATS, URL_PASSWORD, Format

MIN_PASSWORD_ENTROPY = 2.9
_WILD = {"?": string.ascii_letters + string.digits, "#": "0123456789abcdef"}


def _bits() -> tuple[int, ...]:
    """One bit of a machine word per format; the two that are searched for apart share theirs not.

    Private keys have the first, assigned secrets the last; of the others some may share one.
    """
    others = iter(1 << 1 + i % 62 for i in range(len(FORMATS)))
    special = {"private-key": 1, "assigned-secret": 1 << 63}
    return tuple(special.get(each.kind) or next(others) for each in FORMATS)


def _expand(anchor: str) -> Iterator[str]:
    """The rarest four characters of an anchor, with all that `?` and `#` stand for.

    >>> list(_expand("github_pat_"))
    ['hub_']
    """
    windows = [anchor[i : i + 4] for i in range(len(anchor) - 3)]
    rarest = max(windows, key=lambda w: sum(not c.islower() and c not in _WILD for c in w))
    return ("".join(each) for each in product(*(_WILD.get(c, c) for c in rarest)))


def _anchors() -> dict[str, int]:
    found: dict[str, int] = {}
    for bit, each in zip(BITS, FORMATS, strict=True):
        for anchor in (word for stated in each.anchors for word in _expand(stated)):
            found[anchor] = found.get(anchor, 0) | bit
    return found


BITS = _bits()
"""The bit of each format."""
ANCHORS = _anchors()
"""Strings of four characters, one of which is in every secret -> bits of their formats."""
PRIVATE_KEY_BIT, ASSIGNED_BIT = 1, 1 << 63
ALL_FORMATS = (1 << 64) - 1

_WORD = frozenset(string.ascii_letters + string.digits + "_")
_STEMS = tuple(
    (tuple(dict.fromkeys(anchor.strip("?#") for anchor in each.anchors)), each) for each in FORMATS
)
"""The formats with the fixed part of their anchors."""

_EXAMPLE = re.compile(
    r"(?i)example|xxxx|placeholder|dummy|changeme|change[-_]me|replace|your[-_]|my[-_]?secret|fake|"
    r"0123456789|1234567890|abcdefgh|(.)\1{5}|\.\.\."
)
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{40}")
"""What a line of a private key has, and an elided key or the code around one has not."""
_GUESSABLE = re.compile(
    r"(?i)[a-z_.-]+|\d+|(?:user|p[a4]ss|pw|secret|test|admin|root|guest|hunter|foo|bar|tiger).*"
)
"""Passwords that are a word, a number or obviously made up."""
_HASH = re.compile(
    r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-\w{12}|"
    r"(?:sha\d+|md5)-.*"
)
"""Values that are hashes or UUIDs more often than secrets."""


def find_secrets(text: str, formats: int = ALL_FORMATS) -> Iterator[tuple[int, int, str, str]]:
    """(start, end, kind, placeholder) of every secret in the formats of which the bits are set.

    >>> list(find_secrets("key = 'AKIAIOSFODNN7EXAMPLE'"))  # the issuer's example
    []
    """
    for bit, (stems, each) in zip(BITS, _STEMS, strict=True):
        if formats & bit and (formats != ALL_FORMATS or any(stem in text for stem in stems)):
            group = 1 if each.pattern.groups else 0
            for match in _matches(text, stems, each):
                if (each.at_anchor or _is_apart(text, match.start())) and _is_secret(
                    match[group], each
                ):
                    yield (*match.span(group), each.kind, each.placeholder)


def _matches(text: str, stems: tuple[str, ...], form: Format) -> Iterator[re.Match[str]]:
    if not form.at_anchor:
        yield from form.pattern.finditer(text)
        return
    for stem in stems:
        at = text.find(stem)
        while at >= 0:
            if match := form.pattern.match(text, at):
                yield match
            at = text.find(stem, at + len(stem))


def find_url_passwords(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the passwords in URLs that are no examples."""
    for match in URL_PASSWORD.finditer(text):
        password = match[1]
        is_made_up = _GUESSABLE.fullmatch(password) or _EXAMPLE.search(password)
        if not is_made_up and entropy(password) >= MIN_PASSWORD_ENTROPY:
            yield match.span(1)


def entropy(text: str) -> float:
    """Bits per character of a text's own distribution of characters.

    >>> entropy("aabb"), entropy("xxxx")
    (1.0, 0.0)
    """
    n = max(1, len(text))
    return sum(-c / n * math.log2(c / n) for c in Counter(text).values())


def _is_apart(text: str, start: int) -> bool:
    """Whether what begins at `start` is no part of a longer word."""
    return start == 0 or text[start - 1] not in _WORD


def _is_secret(value: str, form: Format) -> bool:
    if form.kind == "private-key":
        return bool(_KEY_LINE.search(value)) and entropy(value) >= form.min_entropy
    if entropy(value) < form.min_entropy or _EXAMPLE.search(value):
        return False
    if form.kind == "assigned-secret":
        return _is_mixed(value) and not _HASH.fullmatch(value)
    return True


def _is_mixed(value: str) -> bool:
    """Whether a value has digits, small and capital letters in a disorder that no name has."""
    kinds = [
        ("a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else "-") for c in value
    ]
    changes = sum(a != b for a, b in pairwise(kinds))
    return {"a", "A", "0"} <= set(kinds) and changes >= len(value) * 0.35
