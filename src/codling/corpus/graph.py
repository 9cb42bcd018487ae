"""The dependency graph of a repository, to read and to look at.

Input: a folder. Output: text with one line per file, in the order of the training samples, and
optionally a drawing (SVG) with dependencies on the left of what depends on them.

Not here: finding edges (imports.py) and ordering (order.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from codling.core.errors import SourceError
from codling.core.languages import detect
from codling.corpus.context import WorkingTree
from codling.corpus.graph_config import GraphConfig
from codling.corpus.imports import SourceFile, dependency_graph
from codling.corpus.order import EdgeCounts, arrange_files, count_edges, strong_components

_DRAWN_FILES = 400
_ROW, _COLUMN, _MARGIN = 18, 260, 20


@dataclass(frozen=True)
class RepositoryGraph:
    """The files of a repository with their dependencies, arranged."""

    paths: Sequence[str]
    depends: Sequence[Sequence[int]]
    orders: Sequence[Sequence[int]]
    """One list of files per weakly connected subgraph."""
    counts: EdgeCounts


def graph(config: GraphConfig) -> str:
    """Which files of a repository depend on which, in the order of the training samples.

    Example: codling data graph . --svg graph.svg
    """
    found = repository_graph(config)
    if config.svg is not None:
        config.svg.write_text(drawing(found), encoding="utf-8")
    return "\n".join(_lines(found))


def repository_graph(config: GraphConfig) -> RepositoryGraph:
    """Read a folder and arrange its files; SourceError if it holds none in a language we know."""
    tree = WorkingTree(config.path)
    files = [SourceFile(p, detect(p, b"") or "", tree[p]) for p in tree]
    if not files:
        raise SourceError(f"{config.path} holds no source files whose imports codling can read")
    depends = dependency_graph(files)
    orders = arrange_files(depends, config.order, config.seed)
    return RepositoryGraph([f.path for f in files], depends, orders, count_edges(depends, orders))


def drawing(found: RepositoryGraph) -> str:
    """The subgraphs of two files and more as SVG, the largest first, up to some hundred files."""
    chosen: list[Sequence[int]] = []
    for files in sorted(found.orders, key=lambda files: (-len(files), files[0])):
        if len(files) > 1 and sum(map(len, chosen)) + len(files) <= _DRAWN_FILES:
            chosen.append(files)
    depth = _depths(found.depends)
    place: dict[int, tuple[int, int]] = {}
    top = _MARGIN
    for files in chosen:
        used: dict[int, int] = {}
        for file in files:
            row = used.setdefault(depth[file], 0)
            place[file] = (_MARGIN + depth[file] * _COLUMN, top + row * _ROW)
            used[depth[file]] += 1
        top += (max(used.values()) + 1) * _ROW
    width = max((x for x, _ in place.values()), default=0) + _COLUMN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" '
        f'width="{width}" height="{top}" font-family="sans-serif" font-size="11">'
    )
    return "\n".join([head, *_edges(found, place), *_labels(found, place), "</svg>", ""])


def _lines(found: RepositoryGraph) -> Iterator[str]:
    counts = found.counts
    alone = [files[0] for files in found.orders if len(files) == 1]
    joined = [files for files in found.orders if len(files) > 1]
    yield (
        f"{len(found.paths)} files, {counts.edges} dependencies ({counts.cyclic} in cycles, "
        f"{counts.violated} not before their dependants), {len(joined)} subgraphs, "
        f"{len(alone)} files on their own"
    )
    for number, files in enumerate(joined, 1):
        yield f"\nsubgraph {number}: {len(files)} files"
        for file in files:
            names = ", ".join(found.paths[t] for t in found.depends[file])
            yield f"  {found.paths[file]}" + (f" <- {names}" if names else "")
    if alone:
        yield f"\non their own: {', '.join(found.paths[file] for file in alone)}"


def _depths(depends: Sequence[Sequence[int]]) -> list[int]:
    """The longest chain of dependencies below each file; the files of a cycle share a depth."""
    depth = [0] * len(depends)
    for members in strong_components(depends):
        inside = set(members)
        below = [depth[t] + 1 for f in members for t in depends[f] if t not in inside]
        for file in members:
            depth[file] = max(below, default=0)
    return depth


def _edges(found: RepositoryGraph, place: dict[int, tuple[int, int]]) -> Iterator[str]:
    yield '<g stroke="#7d9bb5" stroke-opacity="0.5" fill="none">'
    for file, (x, y) in place.items():
        for target in found.depends[file]:
            u, v = place[target]
            start = u + min(_COLUMN - 40, 8 + 6 * len(_shown(found.paths[target])))
            middle = (start + x) // 2
            yield f'<path d="M{start},{v} C{middle},{v} {middle},{y} {x - 4},{y}"/>'
    yield "</g>"


def _labels(found: RepositoryGraph, place: dict[int, tuple[int, int]]) -> Iterator[str]:
    for file, (x, y) in place.items():
        path, shown = escape(found.paths[file]), escape(_shown(found.paths[file]))
        yield f'<text x="{x}" y="{y + 4}"><title>{path}</title>{shown}</text>'


def _shown(path: str) -> str:
    return path if len(path) <= 34 else "..." + path[-31:]
