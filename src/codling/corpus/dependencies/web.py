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
from codling.corpus.dependencies.web_config import Specifiers

_COMMENT_OR_STRING = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"[^\"\\\n]*+(?>(?:\\.[^\"\\\n]*+)*)\"?"
    r"|'[^'\\\n]*+(?>(?:\\.[^'\\\n]*+)*)'?"
    r"|`[^`\\]*+(?>(?:\\.[^`\\]*+)*)`?",
    re.DOTALL,
)
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
    """The module names that a script imports; comments are not looked into.

    >>> list(web_specifiers('import a from "./a"; // from "./b"'))
    ['./a']
    """
    if "import" not in text and "require" not in text and "from" not in text:
        return
    if "//" in text or "/*" in text:
        text = _COMMENT_OR_STRING.sub(_without_comment, text)
    for groups in _SPECIFIER.findall(text):
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
        if name.startswith("."):
            return self._at(paths.normal(here, name))
        hits = (self._at(candidate) for candidate in self._specifiers.candidates(here, name))
        return next(filter(None, hits), None)

    def _at(self, stem: str | None) -> str | None:
        """The file at a module path: itself, its TypeScript source, with an ending, or an index."""
        if stem is None:
            return None
        if stem in self._files:
            return stem
        dot = stem.rfind(".")
        for compiled in _SOURCES.get(stem[dot:], ()) if dot >= 0 else ():
            if stem[:dot] + compiled in self._files:
                return stem[:dot] + compiled
        tries = (*(stem + e for e in _ENDINGS), *(paths.join(stem, "index" + e) for e in _ENDINGS))
        return next((t for t in tries if t in self._files), None)


def _without_comment(match: re.Match[str]) -> str:
    found = match.group()
    return " " if found[:2] in ("//", "/*") else found
