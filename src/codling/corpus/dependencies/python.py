"""Python imports: absolute and relative, packages with and without `__init__.py`, src-layouts.

Input: the paths of a repository's Python files, and the text of one. Output: the paths it imports.
`from a import b` leads to the module a.b where there is one, else to a itself, as grimp counts it.

Not here: imports made at run time (`importlib.import_module`, `__import__`), and what a name that
is re-exported by a package was defined in.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from codling.corpus import paths

# Comments, continued lines, strings; a triple-quoted string without an end takes all the rest. Each
# branch begins with a fixed character (not with a "{3}"), so the search leaps to the next of them.
_OPAQUE = re.compile(
    r"""\#[^\n]*|\\\r?\n
    |\"\"\"[^"\\]*+(?>(?:(?:\\.|"(?!""))[^"\\]*+)*)(?:\"{3}|\Z)
    |'''[^'\\]*+(?>(?:(?:\\.|'(?!''))[^'\\]*+)*)(?:'{3}|\Z)
    |"[^"\\\n]*+(?>(?:\\.[^"\\\n]*+)*)"?
    |'[^'\\\n]*+(?>(?:\\.[^'\\\n]*+)*)'?""",
    re.DOTALL | re.VERBOSE,
)
# `import` is a keyword: outside strings and comments it can only be an import statement.
_STATEMENT = re.compile(
    r"\bfrom[ \t]*(\.[. \t]*|[ \t])[ \t]*([\w. \t]*?)[ \t]*\bc?import\b[ \t]*(\([^)]*\)|[^\n;]*)"
    r"|\bc?import\b[ \t]*([\w. \t,]+)"
)
_STDLIB = sys.stdlib_module_names
_USUAL_ROOTS = ("", "src", "lib", "python")


class PythonImport(NamedTuple):
    """One imported module, or some names of one module."""

    level: int
    """Leading dots; 0 for an absolute import."""
    module: tuple[str, ...]
    names: tuple[str, ...] | None
    """What follows `from module import`; None for `import module`."""


def python_imports(text: str) -> Iterator[PythonImport]:
    """The import statements of a module, at any depth; strings and comments are ignored.

    >>> list(python_imports("from ..a import b as c, d"))
    [PythonImport(level=2, module=('a',), names=('b', 'd'))]
    """
    if "import" not in text:
        return
    for dots, module, names, plain in _statements(_OPAQUE.sub(" ", text)):
        if plain:
            for each in plain.split(","):
                if parts := _split_dotted(each):
                    yield PythonImport(0, parts, None)
        else:
            wanted = (_first_word(n) for n in names.strip("()").split(","))
            yield PythonImport(
                dots.count("."), _split_dotted(module), tuple(n for n in wanted if n)
            )


def _statements(text: str) -> Iterator[tuple[str, str, str, str]]:
    """What findall finds, only that the search begins with lines that have the word at all."""
    at = 0
    while (word := text.find("import", at)) >= 0:
        line = text.rfind("\n", at, word) + 1 or at
        if (match := _STATEMENT.search(text, line)) is None:
            return
        dots, module, names, plain = match.groups("")
        yield dots, module, names, plain
        at = match.end()


class PythonResolver:
    """Finds the files of one repository that a Python file imports."""

    def __init__(self, files: Sequence[str], _read: Callable[[str], str]) -> None:
        self._files = frozenset(p for p in files if p.endswith((".py", ".pyi", ".pyw")))
        self._packages = {
            paths.parent(p) for p in self._files if paths.name(p).startswith("__init__.py")
        }
        self._dirs = {d for p in self._files for d in paths.ancestors(paths.parent(p))}
        self._hosts = {paths.parent(d) for d in self._packages if d} - self._packages
        self._homes = self._index_homes()
        self._roots_of = cache(self._find_roots)

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the modules that the file at `path` imports."""
        found: set[str] = set()
        here = paths.parent(path)
        for each in python_imports(text):
            if each.level:
                base = _up(here, each.level - 1)
                if base is not None:
                    self._import_from(found, [base], each)
            elif each.module:
                roots = self._roots_of(here, each.module[0])
                if not roots and "" in self._packages and each.module[0] not in _STDLIB:
                    # The root is itself a package, whose name only its users know: `name.a` is a.
                    roots, each = [""], each._replace(module=each.module[1:])
                if each.names is None:
                    self._import(found, roots, each.module)
                else:
                    self._import_from(found, roots, each)
        return found

    def _import(self, found: set[str], roots: Sequence[str], module: tuple[str, ...]) -> None:
        # `import os.path`: the last part may be an attribute, as in grimp.
        for parts in (module, module[:-1]) if len(module) > 1 else (module,):
            for root in roots:
                if target := self._module(paths.join(root, *parts)):
                    found.add(target)
                    return

    def _import_from(self, found: set[str], roots: Sequence[str], each: PythonImport) -> None:
        waiting = set(each.names or ())
        for root in roots:
            base = paths.join(root, *each.module)
            itself = self._module(base)
            if itself is None and base not in self._dirs:
                continue
            inside = base in self._dirs
            hits = {n: self._module(paths.join(base, n)) for n in waiting} if inside else {}
            found.update(hit for hit in hits.values() if hit)
            waiting -= {name for name, hit in hits.items() if hit}
            if itself is not None:
                if waiting:
                    found.add(itself)
                return

    def _module(self, stem: str) -> str | None:
        """The file of the module or package at `stem`, a path without its extension."""
        for end in ("/__init__.py", ".py", "/__init__.pyi", ".pyi", ".pyw"):
            candidate = stem + end if stem else end[1:]
            if candidate in self._files:
                return candidate
        return None

    def _index_homes(self) -> dict[str, list[str]]:
        """For each top-level name the folders that hold it, packages excluded."""
        homes: dict[str, set[str]] = {}
        for folder in self._dirs - {""}:
            homes.setdefault(paths.name(folder), set()).add(paths.parent(folder))
        for path in self._files:
            homes.setdefault(paths.name(path).partition(".")[0], set()).add(paths.parent(path))
        return {name: sorted(dirs - (self._packages - {""})) for name, dirs in homes.items()}

    def _find_roots(self, here: str, name: str) -> list[str]:
        """Folders where `import name` from a file in `here` may find it, the likeliest first."""
        package_root = self._package_root(here)
        scripts = [d for d in paths.ancestors(here) if d not in self._packages]
        if name in _STDLIB:
            return [d for d in (package_root,) if d in self._homes.get(name, ())]
        near = [package_root, *scripts, *_USUAL_ROOTS]

        def reachable(folder: str) -> bool:
            # A lone module far away, such as tests/data/helper.py, is not a top-level import.
            return folder in near or folder in self._hosts or paths.join(folder, name) in self._dirs

        def distance(folder: str) -> tuple[int, int, str]:
            rank = near.index(folder) if folder in near else len(near)
            return rank, -paths.shared_depth(folder, here), folder

        return sorted(filter(reachable, self._homes.get(name, ())), key=distance)

    def _package_root(self, here: str) -> str:
        top: str | None = None
        for folder in paths.ancestors(here):
            if folder in self._packages:
                top = folder
            elif top is not None:
                break
        return here if top is None else paths.parent(top)


def _split_dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _before_as(text).split(".") if part.strip())


def _before_as(text: str) -> str:
    words = text.split()
    return "".join(words[: words.index("as")] if "as" in words else words)


def _first_word(text: str) -> str:
    words = text.split(None, 1)
    return words[0].strip("()") if words else ""


def _up(folder: str, levels: int) -> str | None:
    """The folder `levels` above, or None above the repository's root."""
    for _ in range(levels):
        if not folder:
            return None
        folder = paths.parent(folder)
    return folder
