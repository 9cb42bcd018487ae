"""Secrets in source code: keys and tokens in known formats, private keys, assigned passwords.

Input: a text. Output: the places of secrets, with their kind and placeholder. What has too little
entropy, counts up, or says that it is an example is a placeholder already and stays.

Not here: the formats (secret_formats.toml), secrets in no format (assigned_secrets.py,
commanded_secrets.py), and what replaces them (redact.py).
"""

import math
import re
import string
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, count, product

from codling.corpus.redaction.assigned_secrets import find_assigned
from codling.corpus.redaction.commanded_secrets import find_commanded
from codling.corpus.redaction.randomness import n_changes, random_bits
from codling.corpus.redaction.secret_formats import (
    EXAMPLES,
    FORMATS,
    URL_PASSWORD,
    URL_USER,
    Format,
)

MIN_WORD = 15
"""Every key has so many characters without a blank (marks_kernel.py)."""
MIN_PASSWORD_ENTROPY = 2.9
MIN_CHANGES, MIN_USER_BITS = 3, 14.0
"""What a user's name in a URL needs to be a token (randomness.py)."""
_WILD = {"?": string.ascii_letters + string.digits, "#": "0123456789abcdef"}


PRIVATE_KEY_BIT, ASSIGNED_BIT = 1, 1 << 63


def _bits() -> tuple[int, ...]:
    """One bit of a machine word per format, which some share.

    The first is that of private keys alone, half of the others are for formats whose anchors begin
    words; the last, that of assigned secrets, no format has.
    """
    inside, begins = count(), count()
    return tuple(
        PRIVATE_KEY_BIT
        if each.kind == "private-key"
        else 1 << 32 + next(begins) % 31
        if each.at_word
        else 1 << 1 + next(inside) % 31
        for each in FORMATS
    )


def _expand(anchor: str, *, at_word: bool = False) -> Iterator[str]:
    """The rarest four characters of an anchor, with all that `?` and `#` stand for.

    Of anchors that begin words they are the first.

    >>> list(_expand("github_pat_"))
    ['hub_']
    """
    windows = [anchor[i : i + 4] for i in range(1 if at_word else len(anchor) - 3)]
    rarest = max(windows, key=lambda w: sum(not c.islower() and c not in _WILD for c in w))
    return ("".join(each) for each in product(*(_WILD.get(c, c) for c in rarest)))


def _anchors() -> dict[str, int]:
    found: dict[str, int] = {}
    for bit, each in zip(BITS, FORMATS, strict=True):
        words = (_expand(stated, at_word=each.at_word) for stated in each.anchors)
        for anchor in chain.from_iterable(words):
            found[anchor] = found.get(anchor, 0) | bit
    return found


BITS = _bits()
"""The bit of each format."""
ANCHORS = _anchors()
"""Strings of four characters, one of which is in every secret -> bits of their formats."""
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


def find_secrets(text: str, formats: int = ALL_FORMATS) -> Iterator[tuple[int, int, str, str]]:
    """(start, end, kind, placeholder) of every secret in the formats of which the bits are set.

    >>> list(find_secrets("key = 'AKIAIOSFODNN7EXAMPLE'"))  # the issuer's example
    []
    """
    words = _long_words(text) if formats == ALL_FORMATS else text
    for stems, each in _select(formats):
        if any(stem in words for stem in stems):
            group = 1 if each.pattern.groups else 0
            for match in _matches(text, stems, each):
                if (each.at_anchor or _is_apart(text, match.start())) and _is_secret(
                    match[group], each
                ):
                    yield (*match.span(group), each.kind, each.placeholder)
    if formats & ASSIGNED_BIT:
        spans = chain(find_assigned(text), find_commanded(text))
        yield from ((*span, "assigned-secret", "<KEY>") for span in spans)


@lru_cache(maxsize=4096)
def _select(formats: int) -> tuple[tuple[tuple[str, ...], Format], ...]:
    """The formats of which the bits are set, with the fixed parts of their anchors."""
    return tuple(each for bit, each in zip(BITS, _STEMS, strict=True) if formats & bit)


def _long_words(text: str) -> str:
    """Where anchors may stand: a tenth to a fifth of a text. Only those of PEM have blanks."""
    pem = "PRIVATE KEY\n" if "PRIVATE KEY" in text else ""
    return pem + "\n".join([word for word in text.split() if len(word) >= MIN_WORD])


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
    """(start, end) of the passwords in URLs that are not examples."""
    for match in URL_PASSWORD.finditer(text):
        password = match[1]
        is_made_up = _GUESSABLE.fullmatch(password) or _EXAMPLE.search(password)
        if not is_made_up and entropy(password) >= MIN_PASSWORD_ENTROPY:
            yield match.span(1)
    for match in URL_USER.finditer(text):
        if n_changes(match[1]) >= MIN_CHANGES and random_bits(match[1]) >= MIN_USER_BITS:
            yield match.span(1)


def entropy(text: str) -> float:
    """Bits per character of a text's own distribution of characters.

    >>> entropy("aabb"), entropy("xxxx")
    (1.0, 0.0)
    """
    n = max(1, len(text))
    return sum(-c / n * math.log2(c / n) for c in Counter(text).values())


def _is_apart(text: str, start: int) -> bool:
    """Whether what begins at `start` is not part of a longer word."""
    return start == 0 or text[start - 1] not in _WORD


def _is_secret(value: str, form: Format) -> bool:
    if form.placeholder == "<PRIVATE_KEY>" and form.kind != "age-secret-key":
        return bool(_KEY_LINE.search(value)) and entropy(value) >= form.min_entropy
    is_example = _EXAMPLE.search(value) or any(each in value for each in EXAMPLES)
    return entropy(value) >= form.min_entropy and not is_example
