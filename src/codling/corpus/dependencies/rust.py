"""Rust: `mod` declarations and `use` paths, within a crate and between the crates of a workspace.

Input: the paths of a repository's Rust files, and the text of one. Output: the paths of the
modules it names. A crate's root is the nearest folder above that holds `lib.rs` or `main.rs`; its
name is that of the folder around `src`. `use a::b::C` leads to the deepest of a, a::b that is a
file.

Not here: modules written in place, `#[path]`, macros, and names that a module re-exports.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from codling.corpus import paths

_OPAQUE = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|r(#+)\".*?\"\1|\"[^\"\\]*+(?>(?:\\.[^\"\\]*+)*)\"?", re.DOTALL
)
_MODULE = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", re.MULTILINE)
_USE = re.compile(r"\buse\s+([^;]+);")
_INLINE = re.compile(r"\b((?:crate|super|self)(?:::\w+)+)")
_ROOTS = ("lib.rs", "main.rs")


def rust_paths(text: str) -> Iterator[tuple[str, ...]]:
    """The paths that a file uses, group by group taken apart, and its `mod` items as `self::name`.

    >>> sorted(rust_paths("mod a; use crate::{b::C, d::{self, E as F}};"))
    [('crate', 'b', 'C'), ('crate', 'd'), ('crate', 'd', 'E'), ('self', 'a')]
    """
    code = _OPAQUE.sub('""', text)
    yield from (("self", name) for name in _MODULE.findall(code.replace("; ", ";\n")))
    for tree in _USE.findall(code):
        yield from _expand("".join(re.sub(r"\bas\s+\w+", "", tree).split()))
    yield from (tuple(each.split("::")) for each in set(_INLINE.findall(code)))


class RustResolver:
    """Finds the files of one repository that a Rust file names."""

    def __init__(self, files: Sequence[str], _read: Callable[[str], str]) -> None:
        self._files = frozenset(files)
        self._crates: dict[str, list[str]] = {}
        for path in files:
            if paths.name(path) in _ROOTS:
                root = paths.parent(path)
                outer = paths.parent(root) if paths.name(root) == "src" else root
                self._crates.setdefault(paths.name(outer).replace("-", "_"), []).append(root)

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the modules that the file at `path` names."""
        found = (self._find(path, parts) for parts in set(rust_paths(text)))
        return {hit for hit in found if hit}

    def _find(self, path: str, parts: tuple[str, ...]) -> str | None:
        here = _module_folder(path)
        if parts[0] == "self":
            return self._deepest(here, parts[1:])
        if parts[0] == "super":
            levels = next((i for i, p in enumerate(parts) if p != "super"), len(parts))
            for _ in range(levels):
                here = paths.parent(here)
            return self._deepest(here, parts[levels:])
        if parts[0] == "crate":
            root = self._crate_root(path)
            return None if root is None else self._deepest(root, parts[1:])
        root = paths.nearest(self._crates.get(parts[0], ()), path)
        if root is not None:
            return self._deepest(root, parts[1:]) or self._file(paths.join(root, "lib.rs"))
        # Since the 2018 edition a path may begin with a module of the file itself.
        return self._deepest(here, parts)

    def _crate_root(self, path: str) -> str | None:
        for folder in paths.ancestors(paths.parent(path)):
            if any(paths.join(folder, name) in self._files for name in _ROOTS):
                return folder
        return None

    def _deepest(self, folder: str, parts: Sequence[str]) -> str | None:
        for n in range(len(parts), 0, -1):
            stem = paths.join(folder, *parts[:n])
            for candidate in (f"{stem}.rs", f"{stem}/mod.rs"):
                if candidate in self._files:
                    return candidate
        return None

    def _file(self, path: str) -> str | None:
        return path if path in self._files else None


def _module_folder(path: str) -> str:
    """The folder of a file's submodules: src/a.rs keeps them in src/a, src/lib.rs in src."""
    if paths.name(path) in (*_ROOTS, "mod.rs"):
        return paths.parent(path)
    return path.removesuffix(".rs")


def _expand(tree: str) -> Iterator[tuple[str, ...]]:
    head, brace, rest = tree.partition("{")
    prefix = tuple(p for p in head.split("::") if p)
    if not brace:
        yield tuple(p for p in prefix if p not in ("*",))
        return
    for part in _split(rest.rpartition("}")[0]):
        for tail in _expand(part):
            yield prefix + (() if tail == ("self",) else tail)


def _split(inside: str) -> Iterator[str]:
    """The parts between commas that are outside braces."""
    depth = start = 0
    for i, character in enumerate(inside):
        depth += (character == "{") - (character == "}")
        if character == "," and not depth:
            yield inside[start:i]
            start = i + 1
    if inside[start:]:
        yield inside[start:]
