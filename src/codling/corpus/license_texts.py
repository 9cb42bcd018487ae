"""Which licences a licence file contains, by comparing its words with published texts.

Input: the text of a LICENSE or COPYING file. Output: an SPDX expression, or None. The texts come
from the package `identify` (those of choosealicense.com); a licence counts as contained if the file
has nearly all of its word triples, and, against a similar licence, those that tell the two apart.

Not here: short notices in source files (license_headers.py).
"""

import re
from functools import cache

CONTAINED = 0.86
"""Share of a licence's word triples that a file must have."""
TELLING = 0.6
"""The same for the triples that a similar licence lacks."""

GNU = frozenset({"AGPL-3.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0"})

Triples = frozenset[int]


def text_license(text: str) -> str | None:
    """The SPDX expression of the licences that a file contains, joined with AND."""
    mine = _triples(text)
    if not mine:
        return None
    index = _index()
    share = {name: len(t & mine) / len(t) for name, t in index.items()}
    found = [name for name in index if share[name] >= CONTAINED]
    kept = [name for name in found if not any(_is_less(name, o, mine) for o in found if o != name)]
    return " AND ".join(f"{k}-only" if k in GNU else k for k in sorted(kept)) or None


def _is_less(name: str, other: str, mine: Triples) -> bool:
    """Whether `name` was found only because the similar licence `other` is there."""
    index = _index()
    ours, theirs = index[name] - index[other], index[other] - index[name]
    if len(index[name] & index[other]) < 0.5 * min(len(index[name]), len(index[other])):
        return False
    our_share = len(ours & mine) / len(ours) if ours else 0.0
    their_share = len(theirs & mine) / len(theirs) if theirs else 0.0
    return (their_share >= TELLING and their_share > our_share) or (our_share < their_share)


@cache
def _index() -> dict[str, Triples]:
    from identify.vendor.licenses import LICENSES

    return {name: _triples(text) for name, text in LICENSES}


def _triples(text: str) -> Triples:
    words = re.findall(r"[a-z0-9]+", _without_copyright_lines(text).lower())
    return frozenset(hash(triple) for triple in zip(words, words[1:], words[2:], strict=False))


def _without_copyright_lines(text: str) -> str:
    return re.sub(r"(?im)^.*\bcopyright\b\s*(?:\(c\)|©|\[|<|\d{4}|year).*$", "", text)
