"""Redaction: secrets, e-mail addresses and IP addresses become typed placeholders.

Input: a text. Output: the text without them, and for each the line and the kind (never the thing
itself).

    <KEY>  <PASSWORD>  <PRIVATE_KEY>  <EMAIL>  <IP_ADDRESS>

Not here: the formats of secrets (secrets.py) and of addresses (addresses.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from codling.corpus.filters import marks
from codling.corpus.redaction.addresses import find_emails, find_ipv4, find_ipv6
from codling.corpus.redaction.secrets import ALL_FORMATS, find_secrets, find_url_passwords


@dataclass(frozen=True, kw_only=True)
class RedactConfig:
    """What is replaced by placeholders."""

    secrets: bool = True
    """Keys, tokens and passwords in known formats."""
    emails: bool = True
    """E-mail addresses, except those of example domains."""
    addresses: bool = True
    """Public IP addresses."""


class Hit(NamedTuple):
    """Characters to replace."""

    start: int
    end: int
    kind: str
    placeholder: str


class Edit(NamedTuple):
    """One replacement: the characters from `start` to `end`."""

    start: int
    end: int
    placeholder: str
    line: int
    """Line of the text, the first is 1."""
    kind: str


def redact(
    text: str, config: RedactConfig, marked: int = marks.ALL, formats: int = ALL_FORMATS
) -> tuple[str, list[Edit]]:
    """The text with placeholders, and what they replace.

    >>> text, (edit,) = redact("a\\nmail jo.do@acme.org", RedactConfig())
    >>> text, edit.line, edit.kind
    ('a\\nmail <EMAIL>', 2, 'email')
    """
    edits = find_edits(text, config, marked, formats)
    return apply_edits(text, edits), edits


def find_edits(
    text: str, config: RedactConfig, marked: int = marks.ALL, formats: int = ALL_FORMATS
) -> list[Edit]:
    """What is to be replaced, in order; none overlaps another.

    Only what `marked` and the bits of `formats` (secrets.ANCHORS) allow is looked for.
    """
    hits = sorted(_hits(text, config, marked, formats), key=lambda hit: (hit.start, -hit.end))
    found: list[Edit] = []
    end, line = 0, 1
    for hit in hits:
        if hit.start < end:
            continue  # inside what is replaced already
        line += text.count("\n", end, hit.start)
        found.append(Edit(hit.start, hit.end, hit.placeholder, line, hit.kind))
        line += text.count("\n", hit.start, hit.end)
        end = hit.end
    return found


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with every edit made."""
    pieces: list[str] = []
    end = 0
    for edit in edits:
        pieces += (text[end : edit.start], edit.placeholder)
        end = edit.end
    return "".join((*pieces, text[end:]))


def redact_parts(parts: Sequence[str], config: RedactConfig) -> tuple[list[str], list[Edit]]:
    """The parts of one text, searched as one: what crosses a border is found too, and its
    placeholder stands in the part where it begins.

    >>> redact_parts(["mail jo.do@", "acme.org now"], RedactConfig())[0]
    ['mail <EMAIL>', ' now']
    """
    edits = find_edits("".join(parts), config)
    found: list[str] = []
    start = 0
    for part in parts:
        found.append(apply_edits(part, _clip_edits(edits, start, start + len(part))))
        start += len(part)
    return found, edits


def _clip_edits(edits: Iterable[Edit], start: int, end: int) -> Iterator[Edit]:
    """What the edits of a text do to its characters from `start` to `end`."""
    for edit in edits:
        if edit.start < end and edit.end > start:
            yield edit._replace(
                start=max(edit.start - start, 0),
                end=min(edit.end, end) - start,
                placeholder=edit.placeholder if edit.start >= start else "",
            )


def _hits(text: str, config: RedactConfig, marked: int, formats: int) -> Iterator[Hit]:
    if config.secrets and formats:
        yield from (Hit(*found) for found in find_secrets(text, formats))
    if config.secrets and marked & marks.URL:
        yield from (Hit(*span, "url-password", "<PASSWORD>") for span in find_url_passwords(text))
    if config.emails and marked & marks.EMAIL:
        yield from (Hit(*span, "email", "<EMAIL>") for span in find_emails(text))
    if config.addresses and marked & marks.IPV4:
        yield from (Hit(*span, "ipv4", "<IP_ADDRESS>") for span in find_ipv4(text))
    if config.addresses and marked & marks.IPV6:
        yield from (Hit(*span, "ipv6", "<IP_ADDRESS>") for span in find_ipv6(text))
