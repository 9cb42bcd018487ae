"""What a bare module name means: tsconfig.json and package.json, read as tsc and Node.js do.

Input: the paths of a repository's JSON files, a module name and the folder it is imported in.
Output: the paths, without extensions settled, where the module may lie, the likeliest first.

A project's settings are those of its tsconfig.json over those that it extends (one, or several of
which the later ones win). A tsconfig.json that only refers to others (`references`) stands for
them. `rootDirs` are folders that count as one.

Sources: https://www.typescriptlang.org/tsconfig (paths, baseUrl, rootDirs, moduleSuffixes, extends,
references) and https://nodejs.org/api/packages.html (exports, imports). Not here: the extensions
(web.py).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_row
from codling.corpus import paths

_CONFIGS = ("tsconfig.json", "jsconfig.json", "tsconfig.base.json")
_CONDITIONS = ("types", "source", "import", "module", "node", "require", "default")
_BUILT = re.compile(r"^(?:dist|build|lib|out|es|esm|cjs)(?:/(?:esm|cjs|es|types|src))?/")
_COMMENT_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_MAX_CONFIGS = 16
"""Most files of one chain in which each extends, or refers to, the next."""


class Project(NamedTuple):
    """What a tsconfig.json says about where modules lie, from the repository's root."""

    aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Patterns of names and their places: `paths`, and `baseUrl` as a last `*`."""
    root_dirs: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


class Specifiers:
    """Turns bare module names into places in the repository."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._files, self._read = frozenset(files), read
        self._package_files = [p for p in files if paths.name(p) == "package.json"]
        self._packages: dict[str, tuple[str, dict[str, Any]]] | None = None
        self._known: dict[str, dict[str, Any]] = {}
        self._projects = cache(self._find_projects)

    def candidates(self, here: str, name: str) -> Iterator[str]:
        """Where module `name`, imported by a file in the folder `here`, may lie."""
        if name.startswith("#"):
            yield from self._private(here, name)
            return
        for project in self._projects(here):
            for pattern, targets in project.aliases:
                if (middle := match_star(pattern, name)) is not None:
                    yield from (t.replace("*", middle) for t in targets)
        yield from self._package(name)

    def beside(self, here: str, name: str) -> Iterator[str]:
        """Where a relative module may lie: from its folder, then from those that count as it."""
        place = paths.resolve(here, name)
        if place is None:
            return
        yield place
        for project in self._projects(here):
            for root in project.root_dirs:
                if not root or f"{place}/".startswith(f"{root}/"):
                    rest = place[len(root) :].lstrip("/")
                    yield from (paths.join(other, rest) for other in project.root_dirs)

    def suffixes(self, here: str) -> tuple[str, ...]:
        """What may stand between a module's name and its extension, in order."""
        found = (project.suffixes for project in self._projects(here) if project.suffixes)
        return next(found, ("",))

    def _find_projects(self, here: str) -> list[Project]:
        """What the nearest tsconfig.json says that says anything about modules."""
        for folder in paths.ancestors(here):
            for config in _CONFIGS:
                path = paths.join(folder, config)
                if path in self._files and (found := self._follow_references(path, here, {path})):
                    return found
        return []

    def _follow_references(self, path: str, here: str, seen: set[str]) -> list[Project]:
        """What the project at `path`, and those around `here` that it refers to, say."""
        project = self._project(path)
        found = [project] if project != Project() else []
        references = self._json(path).get("references")
        for each in references if isinstance(references, list) else ():
            place = paths.resolve(paths.parent(path), _text(_mapping(each).get("path")))
            for config in self._config_files(place, "tsconfig.json"):
                is_around = paths.parent(config) in paths.ancestors(here)
                if is_around and config not in seen and len(seen) < _MAX_CONFIGS:
                    seen.add(config)
                    found += self._follow_references(config, here, seen)
        return found

    def _project(self, path: str) -> Project:
        """The settings in the file at `path`, over those that it extends."""
        options = self._options(path, 0)
        base, suffixes = options.get("baseUrl"), options.get("moduleSuffixes")
        folder, patterns = options.get("paths", (None, {}))
        aliases: list[tuple[str, list[str]]] = []
        for pattern, targets in patterns.items():
            root = folder if base is None else base
            own = [_from_config(t, root, paths.parent(path)) for t in targets if _text(t)]
            aliases.append((pattern, [place for place in own if place is not None]))
        # The most specific pattern first, as tsc: the longest text before the star.
        aliases.sort(key=lambda a: (-len(a[0].partition("*")[0]), a[0]))
        if base is not None:
            aliases.append(("*", [paths.join(base, "*")]))
        return Project(
            tuple((pattern, tuple(targets)) for pattern, targets in aliases),
            tuple(options.get("rootDirs", ())),
            tuple(suffixes or ()),
        )

    def _options(self, path: str, depth: int) -> dict[str, Any]:
        """Compiler options, places from the repository's root; `paths` with its file's folder."""
        if path in self._known or depth > _MAX_CONFIGS:
            return self._known.get(path, {})
        found = self._known[path] = {}  # what extends itself stops here
        raw, folder = self._json(path), paths.parent(path)
        parents = raw.get("extends")
        for parent in parents if isinstance(parents, list) else [parents]:
            config = next(self._parents(folder, _text(parent)), None)
            found |= {} if config is None else self._options(config, depth + 1)
        own = _mapping(raw.get("compilerOptions"))
        if isinstance(own.get("baseUrl"), str):
            found["baseUrl"] = paths.resolve(folder, own["baseUrl"])
        if isinstance(own.get("paths"), dict):
            lists = {k: v for k, v in own["paths"].items() if isinstance(v, list)}
            found["paths"] = (folder, lists)
        if isinstance(own.get("rootDirs"), list):
            roots = (paths.resolve(folder, _text(each)) for each in own["rootDirs"])
            found["rootDirs"] = [root for root in roots if root is not None]
        if isinstance(own.get("moduleSuffixes"), list):
            found["moduleSuffixes"] = [_text(each) for each in own["moduleSuffixes"]]
        return found

    def _parents(self, folder: str, name: str) -> Iterator[str]:
        """The file that `extends` names: a path, or a file of one of the repository's packages."""
        places = [paths.resolve(folder, name)] if name else []
        if name and not name.startswith("."):
            places += self._package(name)
        for place in places:
            yield from self._config_files(place, "tsconfig.json")

    def _config_files(self, place: str | None, inside: str) -> Iterator[str]:
        if place is not None:
            tries = (place, f"{place}.json", paths.join(place, inside))
            yield from (each for each in tries if each in self._files)

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
        if (path := paths.resolve(folder, place)) is not None:
            yield path
    relative = target.removeprefix("./")
    if built := _BUILT.match(relative):
        stem = re.sub(r"(?:\.d)?\.[cm]?[jt]sx?$", "", relative[built.end() :])
        yield from (paths.join(folder, "src", stem), paths.join(folder, stem))


def _from_config(target: str, root: str, folder: str) -> str | None:
    """A place that `paths` names, from its root or, by `${configDir}`, from the config's folder."""
    inside = target.removeprefix("${configDir}")
    return paths.resolve(root if inside == target else folder, inside)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
