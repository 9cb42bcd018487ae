"""Licences as package metadata states them: pyproject.toml, package.json, Cargo.toml and others.

Input: a metadata file's name and text. Output: an SPDX expression, or None where the file does not
say, says it in free text that is not understood, or cannot be read.

Not here: licence files (texts.py), how a licence is spelled (spdx.py).
"""

import re
import tomllib
from collections.abc import Iterable
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_row
from codling.corpus.licenses.spdx import classifier_license, expression, join

METADATA = frozenset(
    {"pyproject.toml", "package.json", "Cargo.toml", "PKG-INFO", "METADATA", "setup.cfg"}
    | {"composer.json", "bower.json", "DESCRIPTION"}
)
"""Names of metadata files that can hold a licence."""

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
                return _package_json(parse_row(text, name))
    except (ValueError, RecursionError, SourceError):
        return None
    if name == "setup.cfg":
        found = re.search(r"^\s*license\s*=\s*(.+)$", text, re.MULTILINE | re.IGNORECASE)
        return (
            expression(found[1]) if found else _read_classifiers(re.findall(r"License :: .*", text))
        )
    if name == "DESCRIPTION":
        return _r_package(text)
    return _debian(text) if name == "copyright" else _headers(text)


def _pyproject(data: dict[str, Any]) -> str | None:
    for table in (data.get("project"), data.get("tool", {}).get("poetry")):
        if not isinstance(table, dict):
            continue
        stated = table.get("license")
        stated = stated.get("text") if isinstance(stated, dict) else stated
        classifiers = table.get("classifiers")
        found = expression(stated)
        if found or (
            found := _read_classifiers(classifiers if isinstance(classifiers, list) else ())
        ):
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
    return _read_classifiers(values.get("Classifier", ()))


def _read_classifiers(classifiers: Iterable[object]) -> str | None:
    names = [str(c).rpartition(" :: ")[2].strip() for c in classifiers if "License :: " in str(c)]
    found = dict.fromkeys(known for name in names if (known := classifier_license(name)))
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
