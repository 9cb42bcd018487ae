"""Which licences a licence file contains, by comparing its words with published texts.

Input: the text of a LICENSE or COPYING file. Output: an SPDX expression, or None. The table
license_index.parquet beside this file has hashes of the word triples of about 120 texts of the SPDX
list (tools/license_index.py); a licence counts as contained if the file has nearly all of its
triples, and, against a similar licence, those that tell the two apart.

Sentences of the file that are in none of these and set terms of their own (terms.py) add
`LicenseRef-additional-terms`.

Not here: short notices in source files (headers.py).
"""

import re
import zlib
from functools import cache
from importlib import resources

import pyarrow.parquet as pq

from codling.corpus.licenses.spdx import TAG, expression, join
from codling.corpus.licenses.terms import ADDITIONAL_TERMS, leaves_terms

CONTAINED = 0.86
"""Share of a licence's word triples that a file must have."""
TELLING = 0.6
"""The same for the triples that a similar licence lacks ..."""
MIN_TELLING = 5
"""... of which fewer say nothing: two sentences that meet make two."""
HALF_TELLING = 0.35
"""A share of these triples that decides where neither licence has most of them."""
SAMPLED = 1200
"""Triples that are kept of a longer text (tools/license_index.py)."""
ALL_HASHES = 1 << 32
CHOICE_CHARS = 1000
"""How much of a file's beginning can say that it offers a choice."""

GNU = frozenset(
    {"AGPL-3.0", "GPL-1.0", "GPL-2.0", "GPL-3.0", "LGPL-2.0", "LGPL-2.1", "LGPL-3.0"}
    | {"GFDL-1.1", "GFDL-1.2", "GFDL-1.3"}
)
_CHOICE = re.compile(
    r"at your (?:choice|option\b(?!\)?,? any later))|your choice of|same terms as (?:the )?perl|"
    r"(?:either(?: one)?|one|any) of (?:the |these |both )?(?:(?:two|three|following) )*"
    r"licen[cs]es|under either\b|"
    r"dual(?:ly)?[- ]licen[cs]ed under[^.]{0,200}\bor\b|"
    r"\b(?:choose|elect|select|pick|use)\s+(?:either|one|any)(?:\s+of)?"
    r"(?:\s+(?:the|these|both|two))*\s+licen[cs]es?\b",
    re.IGNORECASE,
)

Triples = frozenset[int]
Key = tuple[str, int]
"""A licence and the number of one of its texts."""


def text_license(text: str) -> str | None:
    """The SPDX expression of the licences that a file contains.

    They are joined with AND, or with OR where the file's beginning offers a choice, or as the
    file's own SPDX tag says.
    """
    mine = triples(text)
    if not mine:
        return None
    found = [key for key, t in _index().items() if len(t & mine) >= CONTAINED * len(t)]
    if not found:
        return None
    kept = {k[0] for k in found if not any(_is_less(k, o, mine) for o in found if o[0] != k[0])}
    names = {f"{k}-only" if k in GNU else k for k in kept}
    stated = _own_tag(text, names)
    if stated is None:
        stated = join(sorted(names), "OR" if _CHOICE.search(text[:CHOICE_CHARS]) else "AND")
    known = frozenset().union(*(_index()[key] for key in found))
    sampled = [max(_index()[key]) for key in found if len(_index()[key]) >= SAMPLED]
    limit = min(sampled, default=ALL_HASHES)
    if leaves_terms(_without_copyright_lines(text), known, limit):
        return join([stated, ADDITIONAL_TERMS], "AND")
    return stated


def _own_tag(text: str, names: set[str]) -> str | None:
    """The expression of the file's own SPDX tag, where it is about the texts that were found."""
    tag = TAG.search(text[:CHOICE_CHARS])
    stated = expression(tag[1]) if tag else None
    if stated is None:
        return None
    tagged = {_family(word) for word in re.findall(r"[\w.+-]+", stated)} - {"AND", "OR", "WITH"}
    return stated if tagged >= {_family(name) for name in names} else None


def _family(name: str) -> str:
    return re.sub(r"(?:-only|-or-later|\+)$", "", name)


def triples(text: str) -> Triples:
    """Hashes of the word triples of a text, without the lines that say who holds the copyright."""
    words = re.findall(r"[a-z0-9]+", _without_copyright_lines(text).lower())
    grams = zip(words, words[1:], words[2:], strict=False)
    return frozenset(zlib.crc32(" ".join(triple).encode()) for triple in grams)


def _is_less(name: Key, other: Key, mine: Triples) -> bool:
    """Whether `name` was found only because the similar licence `other` is there."""
    ours, theirs, are_similar = _find_telling(name, other)
    if not are_similar:
        return False
    n_ours, n_theirs = len(ours & mine), len(theirs & mine)
    has_own = n_ours >= max(MIN_TELLING, TELLING * len(ours))
    has_other = n_theirs >= max(MIN_TELLING, TELLING * len(theirs))
    if has_own or has_other:
        return not has_own
    if n_theirs > n_ours and n_theirs >= HALF_TELLING * len(theirs):
        return True
    if n_ours > n_theirs and n_ours >= HALF_TELLING * len(ours):
        return False
    # Neither is quite there: the one of which more is missing, by name where that is equal.
    return (len(ours) - n_ours, name) > (len(theirs) - n_theirs, other)


@cache
def _find_telling(name: Key, other: Key) -> tuple[Triples, Triples, bool]:
    """The triples of each that the other lacks, and whether they share half of the shorter one."""
    # The table has the smallest hashes of each text: compare where both are complete.
    limit = min(max(_index()[name]), max(_index()[other]))
    ours, theirs = (frozenset(h for h in _index()[each] if h <= limit) for each in (name, other))
    shared = len(ours & theirs)
    return ours - theirs, theirs - ours, shared >= 0.5 * min(len(ours), len(theirs))


@cache
def _index() -> dict[Key, Triples]:
    with (
        resources.files("codling.corpus.licenses")
        .joinpath("license_index.parquet")
        .open("rb") as file
    ):
        rows = pq.read_table(file).to_pylist()
    return {(row["license"], row["variant"]): frozenset(row["hashes"]) for row in rows}


def _without_copyright_lines(text: str) -> str:
    return re.sub(r"(?im)^.*\bcopyright\b\s*(?:\(c\)|©|\[|<|\d{4}|year).*$", "", text)
