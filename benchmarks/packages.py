"""Archives of published packages for benchmarks, fetched by tools/fetch_sources.py.

Input: a kind, a name and a folder. Output: the archives, fetched where they are missing. The
clients are set up by whoever runs the benchmark (apt-get needs deb-src lines); addresses of
registries stand nowhere here. pip builds the metadata of an sdist to fetch it, so name only
packages that you would install.

Not here: searching or listing what a registry has.
"""

import sys
from pathlib import Path
from typing import Literal

sys.path.append(str(Path(__file__).parents[1] / "tools"))
import fetch_sources as sources

Kind = Literal["pypi", "npm", "debian"]
_REGISTRIES = {"pypi": "sdist", "npm": "npm", "debian": "debian-full"}
_BEFORE_VERSION = {"pypi": "==", "npm": "@", "debian": "="}


def fetch(kind: Kind, name: str, folder: Path) -> list[Path]:
    """The archives of a package, with a version as its client has it; none if not had."""
    package = read_package(kind, name)
    return sources.find(package, folder) if sources.fetch(package, folder) else []


def read_package(kind: Kind, name: str) -> sources.Package:
    """A package by the name that its client takes.

    >>> read_package("npm", "@babel/core@7.26.0").version, read_package("pypi", "attrs").version
    ('7.26.0', '')
    """
    bare, _, version = name[1:].partition(_BEFORE_VERSION[kind])
    return sources.Package(_REGISTRIES[kind], name[0] + bare, version)
