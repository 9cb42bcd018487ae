"""Which files of a repository depend on which: the edges that order a repository's files.

Input: the paths and languages of a repository's files, and a function that reads one of them.
Output: for a file, the paths of the files of the same repository that it names in import
statements.

    Dependencies(languages, read).of(path)     one file, reading only what it needs
    dependency_graph(files)                    all files at once, as indices

Imports are found by regular expressions after strings and comments are removed (each about ten
times as fast as a parse; benchmarks/imports.py compares the edges with those of grimp and of `gcc
-MM`), and resolved by path alone: nothing is executed, and a name outside the repository leads
nowhere.

Not here: finding and resolving the imports, one module per family of languages (python.py, c.py,
...), and the order itself (order.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from codling.corpus.dependencies.c import CResolver
from codling.corpus.dependencies.go import GoResolver
from codling.corpus.dependencies.packages import PackageResolver
from codling.corpus.dependencies.python import PythonResolver
from codling.corpus.dependencies.rust import RustResolver
from codling.corpus.dependencies.scripts import PhpResolver, RubyResolver, ShellResolver
from codling.corpus.dependencies.web import WebResolver

Read = Callable[[str], str]
"""The text of the file at a path."""


class SourceFile(NamedTuple):
    """One file of a repository, as far as its imports are concerned."""

    path: str
    """POSIX, relative to the repository's root."""
    language: str
    """A key of core/languages."""
    text: str


class Resolver(Protocol):
    """Finds the files that one file of a family of languages depends on."""

    def targets(self, path: str, text: str) -> Iterable[str]:
        """Paths that `text`, the file at `path`, names; may hold `path` itself and repetitions."""
        ...


FAMILIES: tuple[tuple[frozenset[str], Callable[[Sequence[str], Read], Resolver]], ...] = (
    (frozenset({"python"}), PythonResolver),
    (frozenset({"c", "cpp", "cuda"}), CResolver),
    (frozenset({"javascript", "typescript", "json"}), WebResolver),
    (frozenset({"java", "kotlin", "scala"}), PackageResolver),
    (frozenset({"c-sharp"}), PackageResolver),
    (frozenset({"php"}), PackageResolver),
    (frozenset({"php"}), PhpResolver),
    (frozenset({"go"}), GoResolver),
    (frozenset({"rust"}), RustResolver),
    (frozenset({"ruby"}), RubyResolver),
    (frozenset({"shell"}), ShellResolver),
)
"""Languages whose files can name each other, and what resolves these names."""

LANGUAGES = frozenset().union(*(languages for languages, _ in FAMILIES))


class Dependencies:
    """The dependencies between the files of one repository, found file by file."""

    def __init__(self, languages: Mapping[str, str], read: Read) -> None:
        """`languages` holds every path; `read` is called for the files whose text is needed."""
        self._languages = languages
        self._read = read
        self._resolvers: dict[str, list[Resolver]] = {}
        for members, make in FAMILIES:
            paths = sorted(p for p, language in languages.items() if language in members)
            if len(paths) > 1:
                resolver = make(paths, read)
                for language in members:
                    self._resolvers.setdefault(language, []).append(resolver)

    def of(self, path: str, text: str | None = None) -> list[str]:
        """The files that `path`, with its own or another text, depends on, sorted."""
        resolvers = self._resolvers.get(self._languages[path], [])
        if resolvers and text is None:
            text = self._read(path)
        return sorted({t for r in resolvers for t in r.targets(path, text or "")} - {path})


def dependency_graph(files: Sequence[SourceFile]) -> list[list[int]]:
    """For each file the indices of the files that it depends on, in path order.

    >>> a = SourceFile("a.py", "python", "import b\\n")
    >>> dependency_graph([a, SourceFile("b.py", "python", "x = 1\\n")])
    [[1], []]
    """
    texts = {file.path: file.text for file in files}
    index = {file.path: i for i, file in enumerate(files)}
    found = Dependencies({file.path: file.language for file in files}, texts.__getitem__)
    return [[index[target] for target in found.of(file.path)] for file in files]


def edges(graph: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """The pairs (file, what it depends on) of a dependency graph."""
    return ((file, target) for file, targets in enumerate(graph) for target in targets)
