"""Licences as package metadata states them: pyproject.toml, package.json, Cargo.toml and others.

Input: a metadata file's name and text. Output: an SPDX expression, or None where the file does not
say, says it in free text that is not understood, or cannot be read.

Not here: licence files (license_texts.py).
"""

import json
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any, Literal

METADATA = frozenset(
    {"pyproject.toml", "package.json", "Cargo.toml", "PKG-INFO", "METADATA", "setup.cfg"}
    | {"composer.json", "bower.json", "DESCRIPTION"}
)
"""Names of metadata files that can hold a licence."""

CLASSIFIERS = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Public Domain": "LicenseRef-public-domain",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU General Public License (GPL)": "GPL-2.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "Other/Proprietary License": "LicenseRef-proprietary",
}
"""Trove classifiers under "License ::" and what they mean."""

SPELLINGS = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "expat": "MIT",
    "mit/x11": "MIT",
    "mit/expat": "MIT",
    "artistic": "Artistic-1.0-Perl",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "perl_5": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "apache 2.0": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "zlib license": "Zlib",
    "boost": "BSL-1.0",
    "boost software license": "BSL-1.0",
    "the unlicense": "Unlicense",
    "public domain": "LicenseRef-public-domain",
    "public-domain": "LicenseRef-public-domain",
    "mpl 2.0": "MPL-2.0",
    "mpl2": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "gpl": "GPL-2.0-or-later",
    "gplv2": "GPL-2.0-only",
    "gpl-2": "GPL-2.0-only",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl (>= 2)": "GPL-2.0-or-later",
    "gpl (>= 3)": "GPL-3.0-or-later",
    "lgpl (>= 2.1)": "LGPL-2.1-or-later",
    "gplv3": "GPL-3.0-only",
    "gpl-3": "GPL-3.0-only",
    "gpl-3+": "GPL-3.0-or-later",
    "gplv3+": "GPL-3.0-or-later",
    "lgpl": "LGPL-2.1-or-later",
    "lgplv3": "LGPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-2+": "LGPL-2.0-or-later",
    "lgpl-3+": "LGPL-3.0-or-later",
    "unlicensed": "LicenseRef-proprietary",
    "proprietary": "LicenseRef-proprietary",
}
"""Free spellings that are common in metadata, in lower case."""

_HEADER = re.compile(r"^(License-Expression|License|Classifier): (.*)$", re.MULTILINE)


def metadata_license(name: str, text: str) -> str | None:
    """The SPDX expression that a metadata file states, or None.

    >>> metadata_license("package.json", '{"license": "(MIT OR Apache-2.0)"}')
    '(MIT OR Apache-2.0)'
    """
    try:
        match name:
            case "pyproject.toml":
                return _pyproject(tomllib.loads(text))
            case "Cargo.toml":
                package = tomllib.loads(text).get("package", {})
                return expression(package.get("license")) if isinstance(package, dict) else None
            case "package.json" | "composer.json" | "bower.json":
                return _package_json(json.loads(text))
    except (ValueError, RecursionError):
        return None
    if name == "setup.cfg":
        found = re.search(r"^\s*license\s*=\s*(.+)$", text, re.MULTILINE | re.IGNORECASE)
        return expression(found[1]) if found else _classified(re.findall(r"License :: .*", text))
    if name == "DESCRIPTION":
        return _r_package(text)
    return _debian(text) if name == "copyright" else _headers(text)


def expression(value: object) -> str | None:
    """A stated licence as an SPDX expression; None if it is not understood.

    >>> expression("Apache 2.0"), expression("MIT/Apache-2.0"), expression("see file")
    ('Apache-2.0', 'MIT OR Apache-2.0', None)
    """
    if not isinstance(value, str):
        return None
    text = " ".join(value.split()).strip("\"' ")
    if known := _identifier(text):
        return known
    text = re.sub(r"\s*/\s*", " OR ", text) if "/" in text and "(" not in text else text
    parts = [p.strip(" ,") for p in _OPERATOR.split(text)]
    written: list[str] = []
    for part in filter(None, parts):
        if part.upper() in _OPERATORS:
            written.append(part.upper())
        elif written and written[-1] == "WITH":
            written.append(part)
        elif (known := _identifier(part)) is None:
            return None
        else:
            written.append(f"({known})" if " " in known else known)
    if not set(written) - set(_OPERATORS):
        return None
    return " ".join(written).replace("( ", "(").replace(" )", ")")


_OPERATORS = ("AND", "OR", "WITH", "(", ")")
_OPERATOR = re.compile(r"(\(|\)|(?<=[\s,)])(?:and|or|with)(?=[\s(]))", re.IGNORECASE)
_GNU = re.compile(r"(a?gpl|lgpl|gfdl)[- ]?v?(\d)(\.\d)?(\+|-or-later|-only)?", re.IGNORECASE)


def _identifier(stated: str) -> str | None:
    """One licence, in any usual spelling, as SPDX writes it."""
    lower = stated.lower()
    if lower in SPELLINGS:
        return SPELLINGS[lower]
    if match := _GNU.fullmatch(stated):
        name, major, minor, end = match.groups(default="")
        later = "or-later" if end in ("+", "-or-later") else "only"
        return f"{name.upper()}-{major}{minor or '.0'}-{later}"
    if lower.startswith("licenseref-"):
        return stated
    plain = _identifiers().get(lower.removesuffix("+"))
    return f"{plain}+" if plain and stated.endswith("+") else plain


@cache
def _identifiers() -> dict[str, str]:
    """SPDX's identifiers by their names in lower case."""
    file = resources.files("codling.corpus").joinpath("license_ids.txt")
    return {name.lower(): name for name in file.read_text(encoding="utf-8").split()}


def join(expressions: Iterable[str], word: Literal["AND", "OR"]) -> str:
    """Several expressions as one, without repetitions.

    >>> join(["MIT", "MIT AND ISC", "MIT OR Zlib"], "AND")
    'MIT AND ISC AND (MIT OR Zlib)'
    """
    parts: list[str] = []
    for each in expressions:
        inner = each.split(f" {word} ") if "(" not in each else [each]
        other = "OR" if word == "AND" else "AND"
        parts += [each] if f" {other} " in each else inner
    unique = list(dict.fromkeys(parts))
    if len(unique) == 1:
        return unique[0]
    return f" {word} ".join(f"({p})" if " " in p and "(" not in p else p for p in unique)


def _pyproject(data: dict[str, Any]) -> str | None:
    for table in (data.get("project"), data.get("tool", {}).get("poetry")):
        if not isinstance(table, dict):
            continue
        stated = table.get("license")
        stated = stated.get("text") if isinstance(stated, dict) else stated
        classifiers = table.get("classifiers")
        found = expression(stated)
        if found or (found := _classified(classifiers if isinstance(classifiers, list) else ())):
            return found
    return None


def _package_json(data: object) -> str | None:
    if not isinstance(data, dict):
        return None
    stated = data.get("license", data.get("licenses"))
    many = stated if isinstance(stated, list) else [stated]
    names = [each.get("type") if isinstance(each, dict) else each for each in many]
    found = [x for x in (expression(name) for name in names) if x]
    return " OR ".join(found) if found and len(found) == len(names) else None


def _headers(text: str) -> str | None:
    """The licence in the headers of a Python distribution's METADATA or PKG-INFO."""
    values: dict[str, list[str]] = {}
    for key, value in _HEADER.findall(text.split("\n\n", 1)[0]):
        values.setdefault(key, []).append(value.strip())
    for key in ("License-Expression", "License"):
        if found := expression(values.get(key, [""])[0]):
            return found
    return _classified(values.get("Classifier", ()))


def _classified(classifiers: Iterable[object]) -> str | None:
    names = [str(c).rpartition(" :: ")[2].strip() for c in classifiers if "License :: " in str(c)]
    found = list(dict.fromkeys(CLASSIFIERS[name] for name in names if name in CLASSIFIERS))
    return " OR ".join(found) or None


def _r_package(text: str) -> str | None:
    """The field License of an R package: "MIT + file LICENSE", "GPL-2 | GPL-3"."""
    stated = re.search(r"^License:\s*(.+)$", text, re.MULTILINE)
    if stated is None or not re.search(r"^Package:", text, re.MULTILINE):
        return None
    names = re.sub(r"\+\s*file\s+\S+", "", stated[1]).split("|")
    found = [known for name in names if (known := expression(name))]
    return join(found, "OR") if len(found) == len(names) else None


def _debian(text: str) -> str | None:
    """The licence that a machine-readable debian/copyright gives to all files ("Files: *")."""
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"^Files:\s*\*\s*$", paragraph, re.MULTILINE):
            stated = re.search(r"^License:\s*(\S.*)$", paragraph, re.MULTILINE)
            return expression(stated[1]) if stated else None
    return None
