"""The licence that a source file states itself: SPDX tags and the usual headers.

Input: a file's text. Output: an SPDX expression, or None. Only the first characters are looked at,
and only where a cheap search finds a word of licences at all.

Not here: whole licence files (license_texts.py).
"""

import re

from codling.corpus.license_metadata import expression

HEADER_CHARS = 4096

_HINT = re.compile(r"(?i)licen[cs]e|redistribut|permission|public domain|proprietary|gnu general")
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+() -]*[\w.+)])", re.IGNORECASE)
_NOT_WORDS = re.compile(r"[^a-z0-9.+']+")
_GNU = (
    r"(?:terms of|under|subject to)(?: the)?(?: terms(?: and conditions)? of the)?"
    r"(?: version [\d.]+ (?:or later )?of the)? gnu (affero |lesser |library )?(?:general )?"
    r"public license"
)
_CHOICE = re.compile(r"\bdual|alternatively|either|at your option\b.{0,40}\b(?:mit|apache|bsd)")
_LATER = re.compile(r"any later version|or later|\+")
_GNU_PATTERN = re.compile(_GNU + r"(.{0,120})")
_GNU_NAMES = {"affero ": "AGPL", "lesser ": "LGPL", "library ": "LGPL", "": "GPL"}

HEADERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"licensed under (?:the )?apache license|apache license,? (?:version )?2|"
         r"apache.org/licenses/license 2.0", "Apache-2.0"),
        (r"permission is hereby granted,? free of charge,? to any person obtaining a copy|"
         r"(?:under|terms of) (?:the )?(?:terms of )?(?:the )?mit licen[cs]e|"
         r"licen[cs]ed? (?:as |is |under )?(?:the )?mit\b|mit licensed|mit style licen[cs]e",
         "MIT"),
        (r"all advertising materials mentioning features", "BSD-4-Clause"),
        (r"redistribution and use in source and binary forms(?:.(?!all advertising))*?"
         r"(?:neither the name|may not be used to endorse)|"
         r"governed by a bsd style license|(?:new|modified|3 clause|three clause) bsd licen[cs]e|"
         r"bsd 3 clause", "BSD-3-Clause"),
        (r"redistribution and use in source and binary forms|(?:under|terms of) the bsd licen[cs]e|"
         r"bsd 2 clause|(?:simplified|2 clause) bsd licen[cs]e|bsd licensed", "BSD-2-Clause"),
        (r"permission to use,? copy,? modify,? and or distribute this software for any purpose|"
         r"(?:under|terms of) the isc licen[cs]e", "ISC"),
        (r"mozilla public license,? (?:v|version) ?\.? ?2", "MPL-2.0"),
        (r"mozilla public license,? version 1.1|mpl 1.1", "MPL-1.1"),
        (r"boost software license", "BSL-1.0"),
        (r"altered source versions must be plainly marked|under the zlib licen[cs]e", "Zlib"),
        (r"free and unencumbered software released into the public domain", "Unlicense"),
        (r"creative commons (?:cc0|zero)|cc0 1.0", "CC0-1.0"),
        (r"eclipse public license (?:v|version )2", "EPL-2.0"),
        (r"eclipse public license", "EPL-1.0"),
        (r"common development and distribution license", "CDDL-1.0"),
        (r"common public license", "CPL-1.0"),
        (r"european union public licence", "EUPL-1.2"),
        (r"same terms as perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
        (r"zope public license", "ZPL-2.1"),
        (r"licensed to (?:the )?psf under|python software foundation license", "PSF-2.0"),
        (r"postgresql licen[cs]e", "PostgreSQL"),
        (r"server side public license", "SSPL-1.0"),
        (r"business source license", "BUSL-1.1"),
        (r"attribution noncommercial|cc by nc", "CC-BY-NC-4.0"),
        (r"permission to use,? copy,? modify,? and distribute this software and its documentation",
         "HPND"),
        (r"(?:is|are|placed|released|dedicated|been) (?:hereby )?(?:in|into|to) the public domain|"
         r"this (?:code|file|software|program) is public domain", "LicenseRef-public-domain"),
        (r"proprietary and confidential|confidential and proprietary|unpublished proprietary|"
         r"unauthori[sz]ed (?:copying|use|reproduction)", "LicenseRef-proprietary"),
    )
)  # fmt: skip
"""Phrases in lower case, punctuation reduced to spaces, and the licence that they stand for."""


def header_license(text: str) -> str | None:
    """The SPDX expression in a file's first characters, or None.

    >>> header_license("// SPDX-License-Identifier: MIT OR Apache-2.0")
    'MIT OR Apache-2.0'
    """
    head = text[:HEADER_CHARS]
    if not _HINT.search(head):
        return None
    tag = _SPDX.search(head)
    if tag:
        return expression(tag[1]) or "LicenseRef-unrecognised"
    words = " ".join(_NOT_WORDS.sub(" ", head.lower()).split())
    found = list(dict.fromkeys([*_gnu_licenses(words), *_phrases(words)]))
    if len(found) <= 1:
        return found[0] if found else None
    is_choice = _CHOICE.search(words)
    return (" OR " if is_choice else " AND ").join(f"({x})" if " " in x else x for x in found)


def _phrases(words: str) -> list[str]:
    found = [name for pattern, name in HEADERS if pattern.search(words)]
    for strong, weak in (("BSD-4-Clause", "BSD-3-Clause"), ("BSD-4-Clause", "BSD-2-Clause"),
                         ("BSD-3-Clause", "BSD-2-Clause"), ("EPL-2.0", "EPL-1.0")):  # fmt: skip
        if strong in found and weak in found:
            found.remove(weak)
    return found


def _gnu_licenses(words: str) -> list[str]:
    found = []
    for match in _GNU_PATTERN.finditer(words):
        around = match[0] + words[match.end() : match.end() + 120]
        version = re.search(r"(?:version|v) ?\.? ?([123](?:\.[01])?)", around)
        number = (version[1] if version else "2").rstrip(".")
        number = number if "." in number else f"{number}.0"
        later = "or-later" if _LATER.search(around) or not version else "only"
        found.append(f"{_GNU_NAMES[match[1] or '']}-{number}-{later}")
    return found[:1]
