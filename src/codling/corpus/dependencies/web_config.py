"""What a bare module name means: tsconfig.json and package.json, read as tsc and Node.js do.

Input: the paths of a repository's JSON files, a module name and the folder it is imported in.
Output: the paths, without extensions settled, where the module may lie, the likeliest first.

Sources: https://www.typescriptlang.org/tsconfig (paths, baseUrl, extends) and
https://nodejs.org/api/packages.html (exports, imports). Not here: the extensions (web.py).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_row
from codling.corpus import paths

_CONFIGS = ("tsconfig.json", "jsconfig.json", "tsconfig.base.json")
_CONDITIONS = ("types", "source", "import", "module", "node", "require", "default")
_BUILT = re.compile(r"^(?:dist|build|lib|out|es|esm|cjs)(?:/(?:esm|cjs|es|types|src))?/")
_COMMENT_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")


class Specifiers:
    """Turns bare module names into places in the repository."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._files, self._read = frozenset(files), read
        self._package_files = [p for p in files if paths.name(p) == "package.json"]
        self._packages: dict[str, tuple[str, dict[str, Any]]] | None = None
        self._aliases = cache(self._find_aliases)

    def candidates(self, here: str, name: str) -> Iterator[str]:
        """Where module `name`, imported by a file in the folder `here`, may lie."""
        if name.startswith("#"):
            yield from self._private(here, name)
            return
        for pattern, targets in self._aliases(here):
            if (middle := match_star(pattern, name)) is not None:
                yield from (t.replace("*", middle) for t in targets)
        yield from self._package(name)

    def _find_aliases(self, here: str) -> list[tuple[str, list[str]]]:
        """The nearest tsconfig.json's `paths`, with `baseUrl` as a last `*`, from the root."""
        for folder in paths.ancestors(here):
            for config in _CONFIGS:
                path = paths.join(folder, config)
                if path in self._files and (aliases := self._tsconfig(path, depth=0)):
                    return aliases
        return []

    def _tsconfig(self, path: str, depth: int) -> list[tuple[str, list[str]]]:
        raw = self._json(path)
        options = _mapping(raw.get("compilerOptions"))
        folder = paths.parent(path)
        base_url = options.get("baseUrl")
        base = paths.normal(folder, base_url if isinstance(base_url, str) else "")
        aliases: list[tuple[str, list[str]]] = []
        for pattern, targets in _mapping(options.get("paths")).items():
            places = (paths.normal(base or "", t) for t in targets if isinstance(t, str))
            aliases.append((pattern, [p for p in places if p is not None]))
        # The most specific pattern first, as tsc: the longest text before the star.
        aliases.sort(key=lambda a: (-len(a[0].partition("*")[0]), a[0]))
        if isinstance(base_url, str) and base is not None:
            aliases.append(("*", [paths.join(base, "*")]))
        if not aliases and depth < 4 and isinstance(raw.get("extends"), str):
            parent = paths.normal(folder, raw["extends"])
            for candidate in (parent, f"{parent}.json"):
                if candidate in self._files:
                    return self._tsconfig(candidate, depth + 1)
        return aliases

    def _package(self, name: str) -> Iterator[str]:
        """The module of one of the repository's own packages: `@scope/package/sub`."""
        parts = name.split("/")
        n_name = 2 if name.startswith("@") else 1
        found = self._own_packages().get("/".join(parts[:n_name]))
        if found is None:
            return
        folder, manifest = found
        rest = "/".join(parts[n_name:])
        exports = manifest.get("exports")
        if exports is not None:
            for target in expand_exports(exports, f"./{rest}" if rest else "."):
                yield from _with_source(folder, target)
        if not rest:
            for key in ("types", "source", "module", "main"):
                if isinstance(entry := manifest.get(key), str):
                    yield from _with_source(folder, entry)
        yield from _with_source(folder, rest or "index")

    def _private(self, here: str, name: str) -> Iterator[str]:
        for folder in paths.ancestors(here):
            path = paths.join(folder, "package.json")
            if path in self._files:
                imports = self._json(path).get("imports")
                for target in expand_exports(imports, name) if isinstance(imports, dict) else ():
                    yield from _with_source(folder, target)
                return

    def _own_packages(self) -> dict[str, tuple[str, dict[str, Any]]]:
        if self._packages is None:
            self._packages = {}
            for path in self._package_files:
                manifest = self._json(path)
                if isinstance(manifest.get("name"), str):
                    self._packages.setdefault(manifest["name"], (paths.parent(path), manifest))
        return self._packages

    def _json(self, path: str) -> dict[str, Any]:
        """The object in a JSON file with comments and trailing commas; {} if it is not one."""
        text = _COMMENT_OR_STRING.sub(
            lambda m: m.group() if m.group()[0] == '"' else " ", self._read(path)
        )
        try:
            return _mapping(parse_row(_TRAILING_COMMA.sub("", text), path))
        except SourceError:
            return {}


def expand_exports(exports: object, key: str) -> list[str]:
    """The targets of `key` in a package's `exports` or `imports`, all conditions, the best first.

    >>> expand_exports({"./*": {"import": "./dist/*.js"}}, "./a")
    ['./dist/a.js']
    """
    if not isinstance(exports, dict) or not any(k.startswith((".", "#")) for k in exports):
        return _targets(exports) if key == "." else []
    if key in exports:
        return _targets(exports[key])
    stars = sorted((p for p in exports if "*" in p), key=lambda p: (-len(p.partition("*")[0]), p))
    for pattern in stars:
        if (middle := match_star(pattern, key)) is not None:
            return [t.replace("*", middle) for t in _targets(exports[pattern])]
    return []


def match_star(pattern: str, name: str) -> str | None:
    """What `*` stands for in `name`; "" for a pattern without one; None if they differ.

    >>> match_star("@/*", "@/a/b"), match_star("app", "app"), match_star("app", "apple")
    ('a/b', '', None)
    """
    before, star, after = pattern.partition("*")
    if not star:
        return "" if pattern == name else None
    fits = (
        name.startswith(before) and name.endswith(after) and len(name) >= len(before) + len(after)
    )
    return name[len(before) : len(name) - len(after)] if fits else None


def _targets(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [t for each in value for t in _targets(each)]
    if isinstance(value, dict):
        known = [c for c in _CONDITIONS if c in value]
        return [
            t for c in (*known, *(c for c in value if c not in known)) for t in _targets(value[c])
        ]
    return []


def _with_source(folder: str, target: str) -> Iterator[str]:
    """The target, and where its source would be: `dist/x.js` from `src/x` or from `x`."""
    for place in (target, f"src/{target}"):
        if (path := paths.normal(folder, place)) is not None:
            yield path
    relative = target.removeprefix("./")
    if built := _BUILT.match(relative):
        stem = re.sub(r"(?:\.d)?\.[cm]?[jt]sx?$", "", relative[built.end() :])
        yield from (paths.join(folder, "src", stem), paths.join(folder, stem))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
