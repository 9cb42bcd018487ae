"""Rust: `mod` declarations and `use` paths, within a crate and between the crates of a workspace.

Input: the paths of a repository's Rust files, and the text of one. Output: the paths of the
modules it names. A crate's root is the nearest folder above that holds `lib.rs` or `main.rs`; its
name is that of the folder around `src`. `use a::b::C` leads to the deepest of a, a::b that is a
file. Modules written in place (`mod a { mod b; }`) count as folders, and `#[path]` moves a module
with all that is below it. A program, a test or an example reaches its own crate's library by a name
that only Cargo.toml tells, which no corpus holds: an unknown name is the library's if the library
declares what is asked of it.

Not here: macros, and names that a module re-exports.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from codling.corpus import paths

_OPAQUE = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|r(#+)\".*?\"\1|\"[^\"\\]*+(?>(?:\\.[^\"\\]*+)*)\"?", re.DOTALL
)
_PATH_VALUE = re.compile(r"\bpath\s*=\s*\Z")
_ITEM = re.compile(
    r"#\[\s*(?:cfg_attr\([^\]\n]*?,\s*)?path\s*=\s*\"(?P<path>[^\"\n]*)\"[\s)]*\]|\bmod\s+(?P<mod>\w+)\s*(?P<how>[;{])|"
    r"\buse\s+(?P<use>[^;]{1,8000});|\b(?P<inline>(?:crate|super|self)(?:::\w+)+)|(?P<brace>[{}])"
)
_DECLARED = re.compile(
    r"\bpub\s+(?:(?:async|const|unsafe|extern)\s+)*(?:fn|struct|enum|trait|type|static|union|mod|const)"
    r"\s+(\w+)"
)
_ROOTS = ("lib.rs", "main.rs")


class Name(NamedTuple):
    """A path that a file names."""

    parts: tuple[str, ...]
    """From `crate`, `self`, `super` or the name of a crate or module."""
    file: str | None = None
    """For a `mod` with `#[path]`: the file, from the folder of the modules written in place."""


def rust_names(text: str) -> Iterator[Name]:
    """What a file names, with groups expanded, and its `mod` items as `self::name`, seen from the
    file: `super` in a module written in place is the file.

    >>> sorted("::".join(name.parts) for name in rust_names("mod a; use crate::{b::C, d as E};"))
    ['crate::b::C', 'crate::d', 'self::a']
    """
    code = _OPAQUE.sub(_without_text, text)
    around: list[str | None] = []  # the names of modules written in place, None for other braces
    files: list[str] = []  # that `#[path]` has named for the module to come
    for match in _ITEM.finditer(code):
        inner = [name for name in around if name is not None]
        if match["path"] is not None:
            files.append(match["path"])
            continue
        if match["brace"] == "{" or match["how"] == "{":
            around.append(match["mod"])
        elif match["brace"]:
            del around[-1:]
        elif match["mod"]:
            parts = ("self", *inner, match["mod"])
            yield from (Name(parts, file) for file in files or (None,))
        elif match["inline"]:
            yield Name(_from_file(tuple(match["inline"].split("::")), inner))
        else:
            tree = re.sub(r"\bas\s+\w+", "", match["use"])
            yield from (Name(_from_file(p, inner)) for p in _expand("".join(tree.split())))
        files = []


def _without_text(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 20) : match.start()]
    return match[0] if match[0][0] == '"' and _PATH_VALUE.search(before) else '""'


def _from_file(parts: tuple[str, ...], inner: Sequence[str]) -> tuple[str, ...]:
    """A path in the modules `inner`, written in place, as the file itself would write it."""
    if not inner or parts[:1] not in (("self",), ("super",)):
        return parts
    n_up = next((i for i, part in enumerate(parts) if part != "super"), len(parts))
    if n_up > len(inner):
        return parts[len(inner) :]
    rest = parts[n_up:] if n_up else parts[1:]
    return ("self", *inner[: len(inner) - n_up], *rest)


class RustResolver:
    """Finds the files of one repository that a Rust file names."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._files, self._read = frozenset(files), read
        self._moved: dict[str, str] | None = None
        self._home: dict[str, str] = {}
        self._declared = cache(self._find_declared)
        self._crates: dict[str, list[str]] = {}
        for path in files:
            if paths.name(path) in _ROOTS:
                root = paths.parent(path)
                outer = paths.parent(root) if paths.name(root) == "src" else root
                self._crates.setdefault(paths.name(outer).replace("-", "_"), []).append(root)

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the modules that the file at `path` names."""
        if self._moved is None:
            self._index()
        names = set(rust_names(text))
        found = {self._find(path, name.parts) for name in names if name.file is None}
        found |= {self._moved_file(path, name) for name in names if name.file is not None}
        return {hit for hit in found if hit}

    def _index(self) -> None:
        """Note where `#[path]` moves modules: from the place without it to the file."""
        self._moved = {}
        for path in sorted(self._files):
            text = self._read(path)
            for name in rust_names(text) if "path" in text and "#[" in text else ():
                file = self._moved_file(path, name) if name.file is not None else None
                if file is not None:
                    stem = paths.join(self._below(path), *name.parts[1:])
                    self._moved[stem] = file
                    self._home.setdefault(file, stem)

    def _moved_file(self, path: str, name: Name) -> str | None:
        inner = name.parts[1:-1]
        folder = paths.join(self._below(path), *inner) if inner else paths.parent(path)
        return self._file(paths.resolve(folder, name.file or ""))

    def _find(self, path: str, parts: tuple[str, ...]) -> str | None:
        if parts[:1] == ("self",):
            return self._deepest(self._below(path), parts[1:])
        if parts[:1] == ("super",):
            n_up = next((i for i, p in enumerate(parts) if p != "super"), len(parts))
            here = self._home.get(path, _module_folder(path))
            for _ in range(n_up):
                here = paths.parent(here)
            return self._deepest(here, parts[n_up:])
        if parts[:1] == ("crate",):
            root = self._crate_root(path)
            return None if root is None else self._deepest(root, parts[1:])
        root = paths.find_nearest(self._crates.get(parts[0], ()), path) if parts else None
        if root is not None:
            return self._deepest(root, parts[1:]) or self._file(paths.join(root, "lib.rs"))
        # Since the 2018 edition a path may begin with a module of the file itself.
        return self._deepest(self._below(path), parts) or self._own_library(path, parts)

    def _own_library(self, path: str, parts: tuple[str, ...]) -> str | None:
        """Where `name::item` leads if the library of the file's own crate declares the item."""
        for folder in paths.ancestors(paths.parent(path)):
            for root in (folder, paths.join(folder, "src")):
                library = paths.join(root, "lib.rs")
                if library in self._files:
                    if path == library or len(parts) < 2 or parts[1] not in self._declared(library):
                        return None
                    return self._deepest(root, parts[1:]) or library
        return None

    def _find_declared(self, library: str) -> frozenset[str]:
        return frozenset(_DECLARED.findall(_OPAQUE.sub(_without_text, self._read(library))))

    def _below(self, path: str) -> str:
        """The folder of a file's submodules; one that `#[path]` names keeps them beside itself."""
        return paths.parent(path) if path in self._home else _module_folder(path)

    def _crate_root(self, path: str) -> str | None:
        start = self._home.get(path, path)
        for folder in paths.ancestors(paths.parent(start)):
            if any(paths.join(folder, name) in self._files for name in _ROOTS):
                return folder
        return None

    def _deepest(self, folder: str, parts: Sequence[str]) -> str | None:
        """The file of the longest beginning of a path that is one."""
        found, moved = None, self._moved or {}
        for part in parts:
            stem = paths.join(folder, part)
            folder = stem
            if stem in moved:
                found, folder = moved[stem], paths.parent(moved[stem])
                continue
            tries = (f"{stem}.rs", f"{stem}/mod.rs")
            found = next((each for each in tries if each in self._files), found)
        return found

    def _file(self, path: str | None) -> str | None:
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
