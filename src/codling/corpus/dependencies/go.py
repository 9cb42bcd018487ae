"""Go imports: packages are folders, so the edges lead to the files that declare the names used.

Input: the paths of a repository's Go files, and the text of one. Output: the paths of the files of
imported packages, and of its own package, whose declarations it uses. The module's path is taken
from the imports themselves: it is what most often precedes the name of a folder of the
repository. A blank import leads to the files that have an `init`. Another module of the same owner
(`replace` to a folder, go.work) is the folder that its name ends with, if that declares what is
used; `vendor/` holds modules by their full names.

Not here: methods and build constraints, and go.mod, which no corpus holds.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from codling.corpus import paths

_OPAQUE = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"[^\"\\\n]*+(?>(?:\\.[^\"\\\n]*+)*)\"?|`[^`]*`?|'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_IMPORTS = re.compile(r"^import\s*(?:\(([^)]*)\)|([^\n]*))", re.MULTILINE)
_SPEC = re.compile(r"(?:([\w.]+)[ \t]+)?[\"`]([^\"`\n]+)[\"`]")
_DECLARED = re.compile(r"^(?:func|type|var|const)[ \t]+(\w+)", re.MULTILINE)
_BLOCK = re.compile(r"^(?:type|var|const)[ \t]*\(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
_IN_BLOCK = re.compile(r"^\t(\w+)", re.MULTILINE)
_MEMBER = re.compile(r"\b(\w+)\.([A-Z]\w*)")
_INIT = re.compile(r"^func init\(\)", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z_]\w*")


def go_imports(text: str) -> Iterator[tuple[str, str]]:
    """The imported packages: the name they have in the file, and their path.

    >>> list(go_imports('import (\\n  f "fmt"\\n  "a.b/c/d"\\n)\\n'))
    [('f', 'fmt'), ('d', 'a.b/c/d')]
    """
    head = _COMMENT.sub("", text[: text.find("\nfunc ")]) if "/" in text else text
    for block, line in _IMPORTS.findall(head):
        for alias, path in _SPEC.findall(block or line):
            name = paths.name(re.sub(r"/v\d+$", "", path))
            yield alias or name.removeprefix("go-").partition(".")[0], path


class GoResolver:
    """Finds the files of one repository that a Go file depends on."""

    def __init__(self, files: Sequence[str], read: Callable[[str], str]) -> None:
        self._files, self._read = files, read
        self._declared: dict[str, dict[str, str]] = {}
        self._members: dict[str, set[str]] = {}
        self._initial: dict[str, set[str]] = {}
        self._module = ""

    def targets(self, path: str, text: str) -> set[str]:
        """The paths of the files whose declarations the file at `path` uses."""
        if not self._declared:
            self._index()
        here = paths.parent(path)
        code = _OPAQUE.sub('""', text)
        own, words = self._declared.get(here, {}), set(_WORD.findall(code))
        found = {own[name] for name in own.keys() & words}
        used: dict[str, set[str]] = {}
        for alias, name in set(_MEMBER.findall(code)):
            used.setdefault(alias, set()).add(name)
        for alias, imported in go_imports(text):
            names = used.get(alias, set()) if alias != "." else {w for w in words if w[0].isupper()}
            folder = self._folder(imported)
            if folder is None:
                folder = self._other_module(imported, names)
            if folder is not None:
                found |= self._find_used(folder, alias, names)
        return found

    def _find_used(self, folder: str, alias: str, names: set[str]) -> set[str]:
        """The files of a package that an import under some name needs."""
        if alias == "_":
            return self._initial.get(folder, set()) or self._members.get(folder, set())
        declared = self._declared[folder]
        return {declared[name] for name in declared.keys() & names}

    def _other_module(self, imported: str, names: set[str]) -> str | None:
        """The folder of a package of another module that the repository holds."""
        vendored = f"vendor/{imported}"
        if vendored in self._declared:
            return vendored
        owner, parts = paths.parent(self._module), imported.split("/")
        for n in range(1, len(parts)):
            folder = "/".join(parts[n:])
            if folder in self._declared and "/".join(parts[:n]) == owner:
                return folder if names and names <= self._declared[folder].keys() else None
        return None

    def _folder(self, imported: str) -> str | None:
        if imported == self._module:
            return "" if "" in self._declared else None
        if self._module and not imported.startswith(self._module + "/"):
            return None
        folder = imported[len(self._module) + 1 :] if self._module else imported
        return folder if folder in self._declared else None

    def _index(self) -> None:
        imported: Counter[str] = Counter()
        for path in self._files:
            text = self._read(path)
            declared = self._declared.setdefault(paths.parent(path), {})
            imported.update(p for _, p in go_imports(text) if "." in p.partition("/")[0])
            if not path.endswith("_test.go"):
                self._members.setdefault(paths.parent(path), set()).add(path)
                if _INIT.search(text):
                    self._initial.setdefault(paths.parent(path), set()).add(path)
                for name in _declarations(text) - {"main", "init", "_"}:
                    declared.setdefault(name, path)
        self._module = self._most_likely_module(imported)

    def _most_likely_module(self, imported: Counter[str]) -> str:
        votes: Counter[str] = Counter()
        for path, count in imported.items():
            parts = path.split("/")
            for n in range(1, len(parts)):
                if "/".join(parts[n:]) in self._declared:
                    votes["/".join(parts[:n])] += count
                    break
        return min(votes, key=lambda m: (-votes[m], m), default="")


def _declarations(text: str) -> set[str]:
    in_blocks = (name for block in _BLOCK.findall(text) for name in _IN_BLOCK.findall(block))
    return {*_DECLARED.findall(text), *in_blocks}
