"""The dependency graph of a repository, to read and to look at.

Input: a folder. Output: text with one line per file, in the order of the training samples, and
optionally a drawing: one SVG of all files, or a page with the largest subgraphs.

Not here: finding and ordering edges (corpus/dependencies), and drawing (drawing.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.languages.table import detect
from codling.core.ranges import Ranged, Seed
from codling.core.recipe import aside
from codling.corpus.context import WorkingTree
from codling.corpus.dependencies.graph import SourceFile, dependency_graph
from codling.corpus.dependencies.order import EdgeCounts, Order, arrange_files, count_edges
from codling.report.drawing import Subgraph, draw, draw_file, script, style
from codling.report.page import render_page

MAX_DRAWN = 8
"""Subgraphs on a page."""


@dataclass(frozen=True, kw_only=True)
class GraphConfig(Ranged):
    """What `codling data graph` prints."""

    path: Path = aside()
    """The repository's folder."""
    order: Order = "scc"
    """The order in which files are listed: `scc`, `paper` or `random`."""
    seed: Seed = 0
    """For the order `random`."""
    svg: Path | None = aside(None)
    """Also draw all files into this SVG file."""
    html: Path | None = aside(None)
    """Also write a page with drawings of the largest subgraphs."""


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

    Example: codling data graph . --html graph.html
    """
    found = repository_graph(config)
    if config.svg is not None:
        files = [file for part in sorted(found.orders, key=len, reverse=True) for file in part]
        config.svg.write_text(draw_file(subgraph("", files, found)), encoding="utf-8")
    if config.html is not None:
        config.html.write_text(page(config.path.resolve().name, found), encoding="utf-8")
    return "\n".join(_lines(found))


def repository_graph(config: GraphConfig) -> RepositoryGraph:
    """Read a folder and arrange its files; SourceError if it holds none in a known language."""
    tree = WorkingTree(config.path)
    files = [SourceFile(p, detect(p, b"") or "", tree[p]) for p in tree]
    if not files:
        raise SourceError(f"{config.path} holds no source files whose imports codling can read")
    depends = dependency_graph(files)
    orders = arrange_files(depends, config.order, config.seed)
    return RepositoryGraph([f.path for f in files], depends, orders, count_edges(depends, orders))


def subgraphs(found: RepositoryGraph) -> list[Subgraph]:
    """The connected files in order, the largest subgraph first; files on their own are left out."""
    joined = [files for files in found.orders if len(files) > 1]
    joined.sort(key=lambda files: (-len(files), files[0]))
    return [subgraph(f"subgraph {n}", files, found) for n, files in enumerate(joined, 1)]


def subgraph(name: str, files: Sequence[int], found: RepositoryGraph) -> Subgraph:
    """Some files of a repository, in this order."""
    place = {file: i for i, file in enumerate(files)}
    depends = [[place[t] for t in found.depends[f] if t in place] for f in files]
    return Subgraph(name, [found.paths[f] for f in files], depends)


def page(name: str, found: RepositoryGraph) -> str:
    """The largest subgraphs as a page."""
    parts = subgraphs(found)
    return render_page(
        "codling.report",
        "graph.html",
        name=name,
        summary=_summary(found),
        drawings=[(part, draw(part)) for part in parts[:MAX_DRAWN]],
        n_more=max(0, len(parts) - MAX_DRAWN),
        graph_style=style(),
        graph_script=script(),
    )


def _summary(found: RepositoryGraph) -> str:
    counts = found.counts
    joined = sum(len(files) > 1 for files in found.orders)
    n_alone = len(found.orders) - joined
    alone = f"{_count(n_alone, 'file')} on {'its' if n_alone == 1 else 'their'} own"
    return (
        f"{_count(len(found.paths), 'file')}, {_count(counts.edges, 'dependency', 'dependencies')} "
        f"({counts.cyclic} in cycles, {counts.violated} not before their dependants), "
        f"{_count(joined, 'subgraph')}, {alone}"
    )


def _count(n: int, one: str, many: str = "") -> str:
    """A number and its noun.

    >>> _count(1, "file"), _count(2, "file")
    ('1 file', '2 files')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def _lines(found: RepositoryGraph) -> Iterator[str]:
    alone = [files[0] for files in found.orders if len(files) == 1]
    yield _summary(found)
    if found.counts.edges:
        yield "A line `a <- b` says that file a depends on b, which stands before it."
    for number, files in enumerate((files for files in found.orders if len(files) > 1), 1):
        yield f"\nsubgraph {number}: {len(files)} files"
        for file in files:
            names = ", ".join(found.paths[t] for t in found.depends[file])
            yield f"  {found.paths[file]}" + (f" <- {names}" if names else "")
    if alone:
        yield f"\non their own: {', '.join(found.paths[file] for file in alone)}"
