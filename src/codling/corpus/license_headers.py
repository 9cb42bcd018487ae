"""The licence that a source file states itself: SPDX tags and the usual headers.

Input: a file's text. Output: an SPDX expression, or None. Only the first characters are looked at,
and only where a cheap search finds a word of licences at all.

Not here: whole licence files (license_texts.py).
"""

import re

from codling.corpus.license_metadata import expression, join

HEADER_CHARS = 3000

_HINTS = ("licen", "redistribut", "permission", "public domain", "proprietary", "gnu general")
"""Every header has one of these words."""
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+() -]*[\w.+)])", re.IGNORECASE)
_WORDS = bytes(b if chr(b) in "abcdefghijklmnopqrstuvwxyz0123456789.+'" else 32 for b in range(256))
_GNU = (
    r"(?:terms of|under|subject to)(?: the)?(?: terms(?: and conditions)? of the)?"
    r"(?: version [\d.]+ (?:or later )?of the)? gnu (affero |lesser |library )?(?:general )?"
    r"public license"
)
_CHOICE = re.compile(r"\bdual|alternatively|either|at your option\b.{0,40}\b(?:mit|apache|bsd)")
_LATER = re.compile(r"any later version|or later|\+")
_GNU_PATTERN = re.compile(_GNU + r"(.{0,120})")
_GNU_NAMES = {"affero ": "AGPL", "lesser ": "LGPL", "library ": "LGPL", "": "GPL"}

HEADERS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (tuple(words.split("|")), re.compile(pattern), name)
    for words, pattern, name in (
        ("apache", r"licensed under (?:the )?apache license|apache license,? (?:version )?2|"
         r"apache.org/licenses/license 2.0", "Apache-2.0"),
        ("free of charge| mit ", r"permission is hereby granted,? free of charge,? to any person "
         r"obtaining a copy|(?:under|terms of) (?:the )?(?:terms of )?(?:the )?mit licen[cs]e|"
         r"licen[cs]ed? (?:as |is |under )?(?:the )?mit\b|mit licensed|mit style licen[cs]e",
         "MIT"),
        ("all advertising", r"all advertising materials mentioning features", "BSD-4-Clause"),
        ("redistribution and use|bsd", r"redistribution and use in source and binary forms.*"
         r"(?:neither the name|may not be used to endorse)|governed by a bsd style license|"
         r"(?:new|modified|3 clause|three clause) bsd licen[cs]e|bsd 3 clause", "BSD-3-Clause"),
        ("redistribution and use|bsd", r"redistribution and use in source and binary forms|"
         r"(?:under|terms of) the bsd licen[cs]e|bsd 2 clause|(?:simplified|2 clause) bsd "
         r"licen[cs]e|"
         r"bsd licensed", "BSD-2-Clause"),
        ("for any purpose|isc licen", r"permission to use,? copy,? modify,? and (?:or )?distribute "
         r"this software for any purpose(?!.*except as contained in this notice)|"
         r"(?:under|terms of) the isc licen[cs]e", "ISC"),
        ("except as contained", r"permission to use,? copy,? modify,? and distribute this "
         r"software for "
         r"any purpose.*except as contained in this notice", "curl"),
        ("mozilla", r"mozilla public license,? (?:v|version) ?\.? ?2", "MPL-2.0"),
        ("mozilla|mpl 1.1", r"mozilla public license,? version 1.1|mpl 1.1", "MPL-1.1"),
        ("boost software", r"boost software license", "BSL-1.0"),
        ("plainly marked|zlib", r"altered source versions must be plainly marked|"
         r"under the zlib licen[cs]e", "Zlib"),
        ("unencumbered", r"free and unencumbered software released into the public domain",
         "Unlicense"),
        ("cc0|creative commons", r"creative commons (?:cc0|zero)|cc0 1.0", "CC0-1.0"),
        ("eclipse", r"eclipse public license,? (?:v ?|version )2", "EPL-2.0"),
        ("eclipse", r"eclipse public license(?!,? (?:v ?|version )2)", "EPL-1.0"),
        ("common development", r"common development and distribution license", "CDDL-1.0"),
        ("common public", r"common public license", "CPL-1.0"),
        ("european union", r"european union public licen[cs]e", "EUPL-1.2"),
        ("as perl", r"same terms as perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
        ("zope", r"zope public license", "ZPL-2.1"),
        ("psf|python software", r"licensed to (?:the )?psf under|python software foundation "
         r"license",
         "PSF-2.0"),
        ("postgresql", r"postgresql licen[cs]e", "PostgreSQL"),
        ("server side", r"server side public license", "SSPL-1.0"),
        ("business source", r"business source license", "BUSL-1.1"),
        ("elastic", r"elastic license", "Elastic-2.0"),
        ("noncommercial|cc by nc", r"attribution noncommercial|cc by nc", "CC-BY-NC-4.0"),
        ("and its documentation", r"permission to use,? copy,? modify,? and distribute this "
         r"software "
         r"and its documentation", "HPND"),
        ("public domain", r"(?:is|are|placed|released|dedicated|been) (?:hereby "
         r")?(?:in|into|to) the "
         r"public domain|this (?:code|file|software|program) is (?:in the )?public domain",
         "LicenseRef-public-domain"),
        ("confidential|proprietary|unauthori", r"proprietary and confidential|confidential and "
         r"proprietary|unpublished proprietary|unauthori[sz]ed (?:copying|use|reproduction)",
         "LicenseRef-proprietary"),
    )
)  # fmt: skip
"""One of the words comes with every match; phrases in lower case, punctuation reduced to spaces;
and the licence that they stand for."""

WEAKER = {
    "BSD-4-Clause": ("BSD-3-Clause", "BSD-2-Clause"),
    "BSD-3-Clause": ("BSD-2-Clause",),
    "Unlicense": ("LicenseRef-public-domain",),
    "CC0-1.0": ("LicenseRef-public-domain",),
    "curl": ("HPND", "ISC"),
}
"""What is found along with a licence because it is a part of it."""


def header_license(text: str) -> str | None:
    """The SPDX expression in a file's first characters, or None.

    >>> header_license("// SPDX-License-Identifier: MIT OR Apache-2.0")
    'MIT OR Apache-2.0'
    """
    head = text[:HEADER_CHARS]
    lower = head.lower()
    for hint in _HINTS:  # a loop is twice as fast here as any()
        if hint in lower:
            break
    else:
        return None
    tag = _SPDX.search(head) if "spdx-license" in lower else None
    if tag:
        return expression(tag[1]) or "LicenseRef-unrecognised"
    words = " ".join(lower.encode("ascii", "replace").translate(_WORDS).decode().split())
    found = list(dict.fromkeys([*_gnu_licenses(words), *_phrases(words)]))
    if len(found) <= 1:
        return found[0] if found else None
    is_choice = _CHOICE.search(words)
    return join(found, "OR" if is_choice else "AND")


def _phrases(words: str) -> list[str]:
    found = []
    for keys, pattern, name in HEADERS:
        for key in keys:
            if key in words:
                if pattern.search(words):
                    found.append(name)
                break
    weaker = {name for strong in found for name in WEAKER.get(strong, ())}
    return [name for name in found if name not in weaker]


def _gnu_licenses(words: str) -> list[str]:
    found: list[str] = []
    if "public license" not in words:
        return found
    for match in _GNU_PATTERN.finditer(words):
        around = match[0] + words[match.end() : match.end() + 120]
        version = re.search(r"(?:version|v) ?\.? ?([123](?:\.[01])?)", around)
        number = (version[1] if version else "2").rstrip(".")
        number = number if "." in number else f"{number}.0"
        later = "or-later" if _LATER.search(around) or not version else "only"
        found.append(f"{_GNU_NAMES[match[1] or '']}-{number}-{later}")
    return found[:1]
