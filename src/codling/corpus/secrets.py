"""Secrets in source code: keys and tokens in the formats of well-known issuers, private keys.

Input: a text. Output: the places of secrets with their kind. Every format is anchored by a prefix
or by the name it is assigned to, and what has too little entropy is a placeholder, not a secret.

Not here: what replaces them (redact.py).
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple


class Format(NamedTuple):
    """One kind of secret; group 1 of the pattern, if any, is the secret itself."""

    kind: str
    anchors: tuple[str, ...]
    """One of these is in every match: the cheap test before the pattern."""
    pattern: re.Pattern[str]
    min_entropy: float = 3.0
    """Bits per character below which a match is a placeholder."""
    placeholder: str = "<KEY>"


def _format(
    kind: str, anchors: str, pattern: str, min_entropy: float = 3.0, placeholder: str = "<KEY>"
) -> Format:
    return Format(kind, tuple(anchors.split()), re.compile(pattern), min_entropy, placeholder)


_B = r"(?<![A-Za-z0-9_+/=-])"
"""No part of a longer word of base64 before ..."""
_E = r"(?![A-Za-z0-9_+/-])"
"""... and none after."""

FORMATS: tuple[Format, ...] = (
    _format(
        "private-key",
        "PRIVATE",
        r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{40,20000}?"
        r"-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
        3.5,
        "<PRIVATE_KEY>",
    ),
    _format(
        "aws-access-key", "AKIA ASIA ABIA ACCA", rf"{_B}(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{{16}}{_E}"
    ),
    _format(
        "github-token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"{_B}gh[pousr]_[A-Za-z0-9]{{36,251}}{_E}"
    ),
    _format(
        "github-pat", "github_pat_", rf"{_B}github_pat_[A-Za-z0-9]{{22}}_[A-Za-z0-9]{{59}}{_E}"
    ),
    _format("slack-token", "xox", rf"{_B}xox[abeoprs]-(?:\d+-)*[A-Za-z0-9-]{{10,200}}{_E}"),
)
"""All formats."""


def find_secrets(text: str) -> Iterator[tuple[int, int, str, str]]:
    """(start, end, kind, placeholder) of every secret."""
    for each in FORMATS:
        if any(anchor in text for anchor in each.anchors):
            for match in each.pattern.finditer(text):
                group = 1 if match.re.groups else 0
                if entropy(match[group]) >= each.min_entropy:
                    yield (*match.span(group), each.kind, each.placeholder)


def entropy(text: str) -> float:
    """Bits per character of a text's own distribution of characters.

    >>> entropy("aabb"), entropy("xxxx")
    (1.0, 0.0)
    """
    n = max(1, len(text))
    return sum(-c / n * math.log2(c / n) for c in Counter(text).values())
