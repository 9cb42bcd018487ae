"""Imports by package: Java, Kotlin, Scala, C# and PHP, whose names have nothing to do with paths.

Input: the paths of a repository's files, and the text of one. Output: the paths of the files that
declare the classes it names. A file's package is what its `package` or `namespace` line says, so
source roots need not be known. A class of the same package, or of a package imported as a whole,
counts where its name occurs in the code. Java, Kotlin and Scala see each other's classes.

Not here: classes nested in others, except through the outer one, and extension methods in C#.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from codling.corpus import paths

_STRING = r"\"[^\"\\\n]*+(?>(?:\\.[^\"\\\n]*+)*)\"?|'[^'\\\n]*+(?>(?:\\.[^'\\\n]*+)*)'?"
_COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_CLASS_NAME = re.compile(r"\b[A-Z]\w*")
_TYPE = r"(?:(?:class|interface|object|trait|enum|record|struct)[ \t]+)+|delegate[ \t]+\S+[ \t]+"


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """How one language writes packages and imports."""

    opaque: re.Pattern[str]
    """Comments and strings."""
    package: re.Pattern[str]
    imported: re.Pattern[str]
    """Group 1: what is imported, with its braces and stars."""
    keyword: str = "import"
    declared: re.Pattern[str] | None = None
    """Groups: indentation and name; None: the file's name is its class."""
    qualified: re.Pattern[str] | None = None
    """Classes written with their package in the code."""
    whole_packages: bool = False
    """An import names a package, as in C#."""
    sees_enclosing: bool = False
    """The classes of a.b are visible in a.b.c."""


def _opaque(*more: str) -> re.Pattern[str]:
    return re.compile("|".join((_COMMENT, *more, _STRING)), re.DOTALL)


def _declaration_pattern(words: str) -> re.Pattern[str]:
    return re.compile(
        rf"^([ \t]*)(?:(?:[a-z]+|\[[^\]\n]*\]|@\w+)[ \t]+)*?(?:{words})(\w+)",
        re.MULTILINE,
    )


_JVM_NAME = re.compile(r"\b[a-z_]\w*+(?>(?:\.[a-z_]\w*+)*)\.[A-Z]\w*")

JAVA = Syntax(
    opaque=_opaque(r"\"\"\".*?(?:\"{3}|\Z)"),
    package=re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE),
    imported=re.compile(
        r"(?:^|;)\s*import\s+(?:static\s+)?([\w.]+?(?:\.\*)?)\s*(?=;)", re.MULTILINE
    ),
    qualified=_JVM_NAME,
)
KOTLIN = Syntax(
    opaque=_opaque(r"\"\"\".*?(?:\"{3}|\Z)"),
    package=re.compile(r"^\s*package\s+([\w.`]+)", re.MULTILINE),
    imported=re.compile(r"(?:^|;)\s*import\s+([\w.`]+?(?:\.\*)?)(?=[ \t;\r\n]|$)", re.MULTILINE),
    declared=_declaration_pattern(
        rf"{_TYPE}|fun[ \t]+(?:<[^>\n]*>[ \t]+)?(?:[\w<>?]+\.)?|(?:val|var|typealias)[ \t]+"
    ),
    qualified=_JVM_NAME,
)
SCALA = Syntax(
    opaque=_opaque(r"\"\"\".*?(?:\"{3}|\Z)"),
    package=re.compile(r"^\s*package\s+(?!object)([\w.]+)", re.MULTILINE),
    imported=re.compile(r"(?:^|;)\s*import\s+([\w.]+(?:\{[^}]*\}|\*)?)", re.MULTILINE),
    declared=_declaration_pattern(rf"{_TYPE}|(?:package object|type|def|val)[ \t]+"),
    qualified=_JVM_NAME,
    sees_enclosing=True,
)
C_SHARP = Syntax(
    opaque=_opaque(r"@\"(?:[^\"]|\"\")*\"?"),
    package=re.compile(r"^\s*namespace\s+([\w.]+)", re.MULTILINE),
    imported=re.compile(
        r"(?:^|;)\s*(?:global\s+)?using\s+(?:static\s+)?(?:\w+\s*=\s*)?([\w.]+)\s*(?=;)",
        re.MULTILINE,
    ),
    keyword="using",
    declared=_declaration_pattern(_TYPE),
    whole_packages=True,
    sees_enclosing=True,
)
PHP = Syntax(
    opaque=_opaque(r"#(?!\[)[^\n]*"),
    package=re.compile(r"^\s*(?:<\?php\s+)?namespace\s+([\w\\]+)", re.MULTILINE),
    imported=re.compile(
        r"(?:^|;)\s*use\s+(?:function\s+|const\s+)?([\w\\]+(?:\{[^}]*\})?)", re.MULTILINE
    ),
    keyword="use",
    declared=_declaration_pattern(_TYPE),
    qualified=re.compile(r"\\?\b[A-Z]\w*(?:\\\w+)+"),
)
_SYNTAX = {
    ".java": JAVA, ".kt": KOTLIN, ".kts": KOTLIN, ".scala": SCALA, ".sc": SCALA,
    ".cs": C_SHARP, ".php": PHP, ".inc": PHP,
}  # fmt: skip


class PackageFile(NamedTuple):
    """What a file states about its own package and those it uses."""

    package: str
    """Parts separated by points in every language; "" for the unnamed one."""
    imports: tuple[str, ...]
    """Qualified names of classes or their members."""
    packages: tuple[str, ...]
    """Packages, or classes, imported as a whole."""
    names: frozenset[str]
    """Capitalised words of the code."""


def read_package_file(text: str, syntax: Syntax) -> PackageFile:
    """The package, imports and class names of a file.

    >>> read_package_file("package p; import a.B; import c.*;", JAVA)[:3]
    ('p', ('a.B',), ('c',))
    """
    code = syntax.opaque.sub('""', text)
    names = [name for raw in _find_imports(code, syntax) for name in _expand(raw)]
    whole = [n.rpartition(".")[0] for n in names if n.endswith((".*", "._"))]
    single = [n for n in names if not n.endswith((".*", "._"))]
    if syntax.qualified is not None:
        single.extend(map(_expand_one, dict.fromkeys(syntax.qualified.findall(code))))
    return PackageFile(
        package=package_of(code, syntax),
        imports=tuple(dict.fromkeys(single)),
        packages=tuple(whole + single if syntax.whole_packages else whole),
        names=frozenset(_CLASS_NAME.findall(code)),
    )


def _find_imports(code: str, syntax: Syntax) -> Iterator[str]:
    """What findall finds, only that the search begins with lines that have the keyword at all."""
    at = 0
    while (word := code.find(syntax.keyword, at)) >= 0:
        match = syntax.imported.search(code, max(at, code.rfind("\n", at, word) + 1))
        if match is None:
            return
        yield match[1]
        at = match.end()


def package_of(text: str, syntax: Syntax) -> str:
    """The package that a file declares; in Scala the clauses at its head are joined."""
    if syntax is SCALA:
        return _expand_one(".".join(syntax.package.findall(text)))
    found = syntax.package.search(text)
    return _expand_one(found[1]) if found else ""


def declared_names(path: str, text: str, syntax: Syntax) -> set[str]:
    """The names that a file gives to others: its outermost declarations."""
    stem = paths.name(path).partition(".")[0]
    if syntax.declared is None:
        return {stem}
    found = [(len(indent), name) for indent, name in syntax.declared.findall(text)]
    least = min((indent for indent, _ in found), default=0)
    return {name for indent, name in found if indent == least}


class PackageResolver:
    """Finds the files of one repository that a file depends on, by the names they declare."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._syntax = {p: s for p in files if (s := _SYNTAX.get(p[p.rfind(".") :])) is not None}
        self._read = read
        self._packages: dict[str, dict[str, list[str]]] = {}

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the classes that the file at `path` names."""
        if not self._packages:
            self._index()
        syntax = self._syntax.get(path) or _SYNTAX.get(path[path.rfind(".") :])
        return set(self._find(path, read_package_file(text, syntax), syntax)) if syntax else set()

    def _find(self, path: str, file: PackageFile, syntax: Syntax) -> Iterator[str]:
        for name in file.imports:
            yield from self._find_named(name, path)
        visible = [file.package, *file.packages]
        if syntax.sees_enclosing:
            parts = file.package.split(".")
            visible.extend(".".join(parts[:n]) for n in range(1, len(parts)))
        for package in visible:
            classes = self._packages.get(package)
            if classes is None:
                yield from self._find_named(package, path)  # import static a.B.*;
                continue
            for name in classes.keys() & file.names:
                yield from self._nearest(classes[name], path)

    def _find_named(self, qualified: str, path: str) -> Iterator[str]:
        """The file of a.b.C, also for a.b.C.Nested and a.b.C.member."""
        package, _, name = qualified.rpartition(".")
        while package:
            classes = self._packages.get(package)
            if classes is not None and name in classes:
                yield from self._nearest(classes[name], path)
                return
            package, _, name = package.rpartition(".")

    @staticmethod
    def _nearest(candidates: Sequence[str], path: str) -> Iterator[str]:
        # A class in several files (partial classes, copies of a module): one of them, or itself.
        hit = path if path in candidates else paths.find_nearest(candidates, path)
        if hit is not None:
            yield hit

    def _index(self) -> None:
        for path, syntax in self._syntax.items():
            text = self._read(path)
            package = self._packages.setdefault(package_of(text, syntax), {})
            for name in declared_names(path, text, syntax):
                package.setdefault(name, []).append(path)


def _expand(raw: str) -> Iterator[str]:
    """`a.{B, C => D}` and `A\\{B, C as D}` as single names; everything else as it is.

    >>> list(_expand("a.{B, C => D}"))
    ['a.B', 'a.C']
    """
    head, brace, inside = raw.partition("{")
    if not brace:
        yield _expand_one(raw)
        return
    for part in inside.rstrip("} \n").split(","):
        if words := part.split():
            yield _expand_one(head + words[0])


def _expand_one(name: str) -> str:
    return name.replace("\\", ".").replace("`", "").strip(".")
