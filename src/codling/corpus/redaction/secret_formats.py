"""The formats of keys and tokens of well-known issuers: the rows of secret_formats.toml, checked.

Not here: secrets in no format but with a telling name (assigned_secrets.py), the search and its
checks (secrets.py).
"""

import re
from typing import Any, NamedTuple

from codling.core.packaged import packaged_table

MIN_ANCHOR = 4
"""Characters of an anchor: the compiled search compares so many at once."""


class Format(NamedTuple):
    """One kind of secret."""

    kind: str
    anchors: tuple[str, ...]
    """Strings of which each match holds one; `?` and `#` stand for other characters."""
    pattern: re.Pattern[str]
    """Group 1, where there is one, is the secret alone."""
    min_entropy: float = 3.0
    """Bits per character below which a match is a placeholder."""
    placeholder: str = "<KEY>"
    at_anchor: bool = False
    """The pattern is tried only where an anchor begins: much faster where it has no fixed start."""
    at_word: bool = False
    """The anchors begin words: inside of words they are too frequent."""


_AFTER = r"(?![A-Za-z0-9_/+-])"
"""A key is not part of a longer word; secrets.py checks what precedes it."""


def read_formats(table: dict[str, Any]) -> tuple[tuple[Format, ...], tuple[str, ...]]:
    """The formats and the documented examples of a table as secret_formats.toml has them.

    Raises ValueError for a row that the search could not work with.
    """
    found = tuple(_format(row) for row in table["format"])
    if len({each.kind for each in found}) < len(found):
        raise ValueError("two formats of secrets have the same kind")
    return found, tuple(table["examples"])


def _format(row: dict[str, Any]) -> Format:
    kind, anchors, pattern = (row.pop(key) for key in ("kind", "anchors", "pattern"))
    whole = re.compile(pattern if row.pop("is_part", False) else f"(?:{pattern}){_AFTER}")
    if not anchors or min(map(len, anchors)) < MIN_ANCHOR or whole.groups > 1:
        raise ValueError(
            f"secret format {kind}: anchors of {MIN_ANCHOR} characters or more, one group at most"
        )
    return Format(kind, tuple(anchors), whole, **row)


FORMATS, EXAMPLES = read_formats(packaged_table("codling.corpus.redaction", "secret_formats.toml"))
"""All formats, the particular before the general; and keys that are known as examples."""

URL_PASSWORD = re.compile(
    r"://[\w.%+-]{0,64}:((?:[^\s:/@\"'`<>{}$%\\*()\[\]]|%[0-9A-Fa-f]{2}){8,100})@[\w-]",
)
"""The password in a URL: its anchor, the sign @, is looked for with the e-mail addresses."""
URL_USER = re.compile(r"://([\w.-]{16,255})@[\w-]")
"""A user without a password: some services take a token there."""
