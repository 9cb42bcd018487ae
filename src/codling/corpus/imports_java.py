"""Java imports, and the classes of the same package, which need none.

Input: the paths of a repository's Java files, and the text of one. Output: the paths it depends on.
A file's package is what its `package` line says, so source roots need not be known. A class of the
same package, or of a package imported with `*`, counts where its name stands in the code.

Not here: classes other than the one a file is named after, except nested ones named through it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from codling.corpus import paths

_OPAQUE = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"{3}.*?(?:\"{3}|\Z)"
    r"|\"[^\"\\\n]*+(?:\\.[^\"\\\n]*+)*+\"?|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'?",
    re.DOTALL,
)
_PACKAGE = re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE)
_IMPORT = re.compile(r"^\s*import\s+(static\s+)?([\w.]+?)(\.\*)?\s*;", re.MULTILINE)
_QUALIFIED = re.compile(r"\b[a-z_]\w*(?:\.[a-z_]\w*)*\.[A-Z]\w*")
_CLASS_NAME = re.compile(r"\b[A-Z]\w*")


class JavaFile(NamedTuple):
    """What a Java file says of itself and of others."""

    package: str
    imports: tuple[str, ...]
    """Qualified names of classes, nested classes or static members."""
    packages: tuple[str, ...]
    """Packages, or classes, imported with `.*`."""
    qualified: frozenset[str]
    """Classes written with their package in the code."""
    names: frozenset[str]
    """Capitalised words of the code."""


def read_java(text: str) -> JavaFile:
    """The package, imports and class names of a Java file.

    >>> read_java("package p; import a.B; import c.*; class D extends E {}").imports
    ('a.B',)
    """
    code = _OPAQUE.sub('""', text)
    imports = _IMPORT.findall(code.replace(";", ";\n"))
    stated = _PACKAGE.search(code)
    return JavaFile(
        package=stated.group(1) if stated else "",
        imports=tuple(name for _, name, star in imports if not star),
        packages=tuple(name for _, name, star in imports if star),
        qualified=frozenset(_QUALIFIED.findall(code)),
        names=frozenset(_CLASS_NAME.findall(code)),
    )


def java_package(text: str) -> str:
    """The package that a file declares; "" for the unnamed one."""
    stated = _PACKAGE.search(text)
    if stated and "/*" in text[: stated.start()]:
        stated = _PACKAGE.search(_OPAQUE.sub("", text))
    return stated.group(1) if stated else ""


class JavaResolver:
    """Finds the files of one repository that a Java file depends on."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._files, self._read = files, read
        self._packages: dict[str, dict[str, list[str]]] = {}

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the classes that the file at `path` names."""
        if not self._packages:
            self._index()
        return {hit for hit in self._find(path, read_java(text)) if hit}

    def _find(self, path: str, file: JavaFile) -> Iterator[str | None]:
        for name in (*file.imports, *file.qualified):
            yield self._named(name, path)
        for package in (file.package, *file.packages):
            classes = self._packages.get(package)
            if classes is None:
                yield self._named(package, path)  # import static a.B.*;
                continue
            for name in classes.keys() & file.names:
                yield paths.nearest(classes[name], path)

    def _named(self, qualified: str, path: str) -> str | None:
        """The file of a.b.C, also for a.b.C.Nested and a.b.C.member."""
        package, _, name = qualified.rpartition(".")
        while package:
            classes = self._packages.get(package)
            if classes is not None and name in classes:
                return paths.nearest(classes[name], path)
            package, _, name = package.rpartition(".")
        return None

    def _index(self) -> None:
        for path in self._files:
            package = self._packages.setdefault(java_package(self._read(path)), {})
            package.setdefault(paths.name(path).removesuffix(".java"), []).append(path)
