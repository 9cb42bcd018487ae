"""Redaction: secrets, e-mail addresses and IP addresses become typed placeholders.

Input: a text. Output: the text without them, and for each the line and the kind (never the thing
itself).

    <KEY>  <PASSWORD>  <PRIVATE_KEY>  <EMAIL>  <IP_ADDRESS>

Not here: the formats of secrets (secrets.py) and of addresses (addresses.py).
"""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from codling.corpus import marks
from codling.corpus.addresses import find_emails, find_ipv4, find_ipv6
from codling.corpus.config import RedactConfig
from codling.corpus.secrets import find_secrets, find_url_passwords

REDACTION_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("line", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)
"""Table `redactions`: where something was replaced, and what kind of thing it was."""


class Hit(NamedTuple):
    """Characters to replace."""

    start: int
    end: int
    kind: str
    placeholder: str


class Redaction(NamedTuple):
    """One replacement that was made."""

    line: int
    """Line of the text, the first is 1."""
    kind: str


def redact(
    text: str, config: RedactConfig, marked: int = marks.ALL, formats: int = -1
) -> tuple[str, list[Redaction]]:
    """The text with placeholders, and what they replace.

    Only what `marked` and the bits of `formats` (secrets.ANCHORS) allow is looked for.

    >>> redact("a\\nmail jo.do@acme.org", RedactConfig())
    ('a\\nmail <EMAIL>', [Redaction(line=2, kind='email')])
    """
    hits = sorted(_hits(text, config, marked, formats), key=lambda hit: (hit.start, -hit.end))
    if not hits:
        return text, []
    pieces: list[str] = []
    made: list[Redaction] = []
    end, line = 0, 1
    for hit in hits:
        if hit.start < end:
            continue  # inside what was replaced already
        line += text.count("\n", end, hit.start)
        pieces += (text[end : hit.start], hit.placeholder)
        made.append(Redaction(line, hit.kind))
        line += text.count("\n", hit.start, hit.end)
        end = hit.end
    return "".join((*pieces, text[end:])), made


def _hits(text: str, config: RedactConfig, marked: int, formats: int) -> Iterator[Hit]:
    if config.secrets and formats:
        yield from (Hit(*found) for found in find_secrets(text, formats))
    if config.secrets and marked & marks.EMAIL:
        yield from (Hit(*span, "url-password", "<PASSWORD>") for span in find_url_passwords(text))
    if config.emails and marked & marks.EMAIL:
        yield from (Hit(*span, "email", "<EMAIL>") for span in find_emails(text))
    if config.addresses and marked & marks.IPV4:
        yield from (Hit(*span, "ipv4", "<IP_ADDRESS>") for span in find_ipv4(text))
    if config.addresses and marked & marks.IPV6:
        yield from (Hit(*span, "ipv6", "<IP_ADDRESS>") for span in find_ipv6(text))
