"""JavaScript and TypeScript imports: relative modules, index files, `paths` and `exports`.

Input: the paths of a repository's JavaScript, TypeScript and JSON files, and the text of one.
Output: the paths it imports with `import`, `export ... from`, `require(...)` or `import(...)`. A
specifier with a dot is relative; others go through the nearest tsconfig.json (`paths`, `baseUrl`)
and through the names, `exports`, `imports` and `main` of the repository's own package.json files.
A build's output that is absent (`dist/x.js`) is traced back to its source where the names allow
it.

Not here: node_modules, bundlers' own aliases.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from codling.corpus import paths
from codling.corpus.dependencies.javascript import code_of
from codling.corpus.dependencies.web_config import Specifiers

_SPECIFIER = re.compile(
    r"(?:\bfrom|\bimport|\brequire(?:\.resolve)?\s*\(|\bimport\s*\()\s*(?:\"([^\"\n]+)\"|'([^'\n]+)'|`([^`$\n]+)`)"
)
_ENDINGS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".json")
# TypeScript writes the extension of what it compiles to.
_SOURCES = {
    ".js": (".ts", ".tsx", ".d.ts"),
    ".jsx": (".tsx",),
    ".mjs": (".mts",),
    ".cjs": (".cts",),
}


def web_specifiers(text: str) -> Iterator[str]:
    """The module names that a script imports; comments are ignored.

    >>> list(web_specifiers('import a from "./a"; // from "./b"'))
    ['./a']
    """
    if "import" not in text and "require" not in text and "from" not in text:
        return
    for groups in _SPECIFIER.findall(code_of(text)):
        yield next(filter(None, groups), "")


class WebResolver:
    """Finds the files of one repository that a script imports."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._files = frozenset(files)
        self._specifiers = Specifiers(files, read)

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the modules that the file at `path` imports."""
        if path.endswith(".json"):
            return set()
        found = (self._find(path, name) for name in set(web_specifiers(text)))
        return {hit for hit in found if hit}

    def _find(self, path: str, name: str) -> str | None:
        here = paths.parent(path)
        is_relative = name.startswith(".")
        candidates = self._specifiers.beside if is_relative else self._specifiers.candidates
        suffixes = self._specifiers.suffixes(here)
        hits = (self._at(candidate, suffixes) for candidate in candidates(here, name))
        return next(filter(None, hits), None)

    def _at(self, stem: str, suffixes: Sequence[str]) -> str | None:
        """The file at a module path: itself, its TypeScript source, with an ending, or an index."""
        if stem in self._files:
            return stem
        dot = stem.rfind(".")
        sources = _SOURCES.get(stem[dot:], ()) if dot >= 0 else ()
        tries = [(stem[:dot], ending) for ending in sources]
        tries += [(stem, ending) for ending in _ENDINGS]
        tries += [(paths.join(stem, "index") if stem else "index", ending) for ending in _ENDINGS]
        named = (f"{start}{suffix}{ending}" for start, ending in tries for suffix in suffixes)
        return next((path for path in named if path in self._files), None)
