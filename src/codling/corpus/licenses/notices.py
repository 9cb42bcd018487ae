"""Licences: what a file may be used under, by its header, its folder's notices, or declaration.

Input: licence files and package metadata of a repository; a file's path and text. Output: an SPDX
expression and what decided it. A header in the file beats the notices; of those the nearest folder
upwards decides; a notice that is not recognised makes its folder "unknown", it inherits nothing.

    of("vendor/x/a.c", text) -> ("GPL-2.0-or-later", "header"), ("MIT", "file:vendor/LICENSE"),
                                ("PSF-2.0", "declared"), ("LicenseRef-own", "declared"),
                                ("unknown", "file:COPYING"), ("unknown", "none")

Not here: the recognition of a licence's text (texts.py), of headers (headers.py)
and of package metadata (metadata.py); what an expression means (spdx.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from codling.core.packaged import packaged_table
from codling.corpus import paths
from codling.corpus.licenses.headers import header_license, stated_license
from codling.corpus.licenses.metadata import METADATA, metadata_license
from codling.corpus.licenses.spdx import is_allowed, join
from codling.corpus.licenses.terms import (
    ADDITIONAL_TERMS,
    forbids_commerce,
    leaves_terms,
    plain_words,
)
from codling.corpus.licenses.texts import ALL_HASHES, text_license

UNKNOWN = "unknown"
OWN = "LicenseRef-own"
PROPRIETARY = "LicenseRef-proprietary"
NOTICE_BYTES = 1_000_000
"""Larger files are not notices."""

PERMISSIVE = frozenset(packaged_table("codling.corpus.licenses", "permissive.toml")["permissive"])
"""Licences that ask for no more than a notice; after Blue Oak Council's list and The Stack's."""

_NOTICE_NAME = re.compile(
    r"(?:.*[-_.])?(?:licen[cs]es?|copying|unlicen[cs]e|copyright)"
    r"(?:[-_.](?:\w|[-.+])*)?",
    re.IGNORECASE,
)
_COLLECTIONS = ("licenses", "licences", "license", "licence")
"""Folders that hold the texts of several licences."""
_CHOICE_NAME = re.compile(
    r"(?i)[-._](?:mit|apache|bsd|unlicense|isc|zlib|boost)|^(?:mit|apache|bsd)"
)
"""Names of licence files, all but the first, that offer a choice."""
_OF_DOCUMENTS = re.compile(r"(?i).*[-_.](?:docs?|documentation)(?:\.(?:txt|md|rst))?")
"""Names of licence files that are not about the code."""
_ADDITION_NAME = re.compile(
    r"(?i)(?:.*[-_. ])?(?:commons[-_. ]?clause|addend(?:um|a)|restrictions?|eula|"
    r"additional[-_. ](?:terms|conditions|use)|terms(?:[-_. ](?:of[-_. ](?:use|service)|and.*))?|"
    r"(?:acceptable[-_. ])?(?:usage|use)[-_. ]policy)(?:\.(?:md|txt|rst))?"
)
"""Names of files that may add terms to a licence; by themselves they are no licence."""
_README = re.compile(r"(?i)readme(?:\.(?:md|markdown|rst|txt|adoc))?")
_LICENSE_SECTION = re.compile(
    r"(?im)^(?:#{1,6}[ \t]*|=+[ \t]+)?[^\n\w#]{0,4}licen[cs](?:e|es|ing)\b[^\n]{0,40}\n"
    r"([\s\S]{0,2000}?)(?=^#{1,6} |^[^\n]+\n[=-]{3,}[ \t]*$|\Z)"
)
"""The part of a README that speaks of the licence."""
_SOURCE_ENDING = re.compile(
    r".*\.(?:py|pyi|go|rs|js|mjs|ts|tsx|jsx|c|h|cc|cpp|hpp|java|rb|php|cs|kt|swift|json|ya?ml|toml|"
    r"html?|css|svg|png|sh|pl|in|vue|lock|spdx|xml|scala|lua|sql|hash|pot?|csv)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class LicenseConfig:
    """Which licences may be learned from."""

    permissive: tuple[str, ...] = ()
    """SPDX identifiers that pass; by default the built-in list."""
    also: tuple[str, ...] = ()
    """SPDX identifiers that pass besides, for example MPL-2.0."""
    allow_unknown: bool = False
    """Let files pass whose licence is not known. They are counted anyway."""


def is_notice(path: str) -> bool:
    """Whether a file states the licence of its folder, by its name.

    >>> is_notice("LICENSE"), is_notice("a/COPYING.LESSER"), is_notice("src/license.py")
    (True, True, False)
    """
    name = paths.name(path)
    if name in METADATA or path.endswith("debian/copyright"):
        return True
    lower = name.lower()
    if "licen" not in lower and "copy" not in lower:
        return bool(_README.fullmatch(name) or _ADDITION_NAME.fullmatch(name))
    if _SOURCE_ENDING.fullmatch(name) or _OF_DOCUMENTS.fullmatch(name):
        return False
    return bool(_NOTICE_NAME.fullmatch(name))


@dataclass(frozen=True)
class Licenses:
    """What a repository's notices say, per folder."""

    folders: Mapping[str, tuple[str, str]]
    """Folder -> (SPDX expression or "unknown", the notice's path)."""
    declared: str = ""
    own: bool = False

    def of(self, path: str, text: str) -> tuple[str, str]:
        """(SPDX expression or "unknown", what decided it) for a file."""
        if header := header_license(text):
            if header == PROPRIETARY and self.own:
                return OWN, "declared"
            return header, "header"
        for folder in paths.ancestors(paths.parent(path)):
            if folder in self.folders and not (self.declared and not folder):
                found, notice = self.folders[folder]
                if found in (UNKNOWN, PROPRIETARY) and self.own and not folder:
                    break
                return found, f"file:{notice}"
        if self.declared:
            return self.declared, "declared"
        return (OWN, "declared") if self.own else (UNKNOWN, "none")


def read_notices(
    notices: Mapping[str, bytes], declared: str = "", *, own: bool = False
) -> Licenses:
    """The licences of a repository's folders from its licence files and package metadata.

    What lies in a folder LICENSES or licenses speaks for the folder above, where that has no
    licence file of its own and all of them agree.
    """
    direct: dict[str, list[tuple[str, str]]] = {}
    collected: dict[str, list[tuple[str, str]]] = {}
    for path, data in notices.items():
        found = _recognise(path, data.decode("utf-8", "replace"))
        if found is not None:
            folder = paths.parent(path)
            kind = collected if paths.name(folder).lower() in _COLLECTIONS else direct
            kind.setdefault(_folder_of(folder), []).append((path, found))
    folders = {folder: _combine(texts) for folder, texts in direct.items()}
    for folder, texts in collected.items():
        known = {expression for _, expression in texts if expression != UNKNOWN}
        if folder not in folders and len(known) == 1:
            folders[folder] = (known.pop(), texts[0][0])
    return Licenses(folders, declared, own)


def allowed_licenses(config: LicenseConfig) -> frozenset[str]:
    """The identifiers that pass the gate."""
    return frozenset(config.permissive or PERMISSIVE) | frozenset(config.also) | {OWN}


def license_reason(
    expression: str, allowed: frozenset[str], *, allow_unknown: bool
) -> tuple[str, str] | None:
    """The rule of the licence gate that a file breaks, and its licence; None if it passes."""
    if expression == UNKNOWN:
        return None if allow_unknown else ("license-unknown", UNKNOWN)
    return None if is_allowed(expression, allowed) else ("license-not-permissive", expression)


def _recognise(path: str, text: str) -> str | None:
    """What one notice says; None where it does not mention licences."""
    name = paths.name(path)
    if path.endswith("debian/copyright") or name in METADATA:
        return metadata_license(name, text)
    if _README.fullmatch(name):
        parts = (plain_words(part) for part in _LICENSE_SECTION.findall(text))
        return ADDITIONAL_TERMS if any(forbids_commerce(part) for part in parts) else None
    found = text_license(text) or stated_license(text)
    if found is None and leaves_terms(text, (), ALL_HASHES):
        return ADDITIONAL_TERMS
    if found is None and _ADDITION_NAME.fullmatch(name):
        return None
    is_page = name.islower() and name.endswith((".md", ".rst", ".html"))
    return found or (None if is_page else UNKNOWN)


def _folder_of(folder: str) -> str:
    """The folder that notices in `folder` speak for: that of a wheel's metadata is the wheel."""
    while (last := paths.name(folder).lower()) and (
        last in _COLLECTIONS or last == "debian" or last.endswith((".dist-info", ".egg-info"))
    ):
        folder = paths.parent(folder)
    return folder


def _combine(found: list[tuple[str, str]]) -> tuple[str, str]:
    """One statement from all notices of a folder.

    Licence files are joined with OR where their names offer a choice (LICENSE-MIT, LICENSE-APACHE),
    else with AND; metadata speaks only where no file is recognised. Terms of a further file are
    added to what is known; beside nothing known they leave it unknown.
    """
    files = sorted((p, x) for p, x in found if not _is_metadata(p))
    metadata = sorted((p, x) for p, x in found if _is_metadata(p))
    terms = [(p, x) for p, x in files if x == ADDITIONAL_TERMS]
    known = [(p, x) for p, x in files if x not in (UNKNOWN, ADDITIONAL_TERMS)]
    if not known and not metadata:
        return UNKNOWN, files[0][0]
    if not known and terms:
        return join([metadata[0][1], ADDITIONAL_TERMS], "AND"), terms[0][0]
    if not known:
        return metadata[0][::-1]
    expressions = [x for _, x in known]
    if {"LGPL-3.0-only", "GPL-3.0-only"} == set(expressions):
        expressions = ["LGPL-3.0-only"]  # the LGPL's text is an addition to the GPL's
    is_choice = any(_CHOICE_NAME.search(paths.name(p)) for p, _ in known[1:])
    stated = join(expressions, "OR" if is_choice else "AND")
    return (join([stated, ADDITIONAL_TERMS], "AND") if terms else stated), known[0][0]


def _is_metadata(path: str) -> bool:
    return paths.name(path) in METADATA or path.endswith("debian/copyright")
