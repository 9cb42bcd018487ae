"""A dependency graph as SVG: arcs between files if there are few, a matrix if there are many.

Input: names in the order of the samples, and for each the places of what it depends on. Output: an
SVG element that fetches nothing, for light and dark pages, whose style must be once on the page;
with the script it reacts to the pointer.

    arcs     up to 60 files, from top to bottom in the order of the samples: an arc on the right
             from each dependency down to what depends on it, one on the left where it comes later
    matrix   more: a row per file, a column per file that it depends on, both in the order of the
             samples; a point below the diagonal is a dependency that comes first, as intended
    folders  more than 1,000: the files of a folder are one row of the matrix

Not here: finding and ordering edges (corpus/dependencies), whole pages (graph.py, run_page.py).
"""

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from markupsafe import Markup

MAX_ARCS = 60
MAX_ROWS = 1000
_ROW, _CHAR, _MARGIN = 22, 6.7, 12
_MATRIX = 640
_COLORS = 8


@dataclass(frozen=True)
class Subgraph:
    """Files in order, and for each the places of the files that it depends on."""

    name: str
    paths: Sequence[str]
    depends: Sequence[Sequence[int]]

    @property
    def n_edges(self) -> int:
        """Dependencies between the files."""
        return sum(map(len, self.depends))


def style() -> Markup:
    """The style sheet of the drawings of a page, needed once."""
    return Markup(_read("drawing.css"))


def script() -> Markup:
    """The script with which the drawings of a page react to the pointer, needed once."""
    return Markup(_read("drawing.js"))


def draw(graph: Subgraph) -> Markup:
    """The graph as an SVG element, in the form that its size allows."""
    if len(graph.paths) <= MAX_ARCS:
        return Markup(_arcs(graph))
    return Markup(_matrix(graph if len(graph.paths) <= MAX_ROWS else by_folder(graph)))


def draw_file(graph: Subgraph) -> str:
    """The graph as an SVG file."""
    head, _, rest = draw(graph).partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style()}</style>{rest}\n'


def by_folder(graph: Subgraph, limit: int = MAX_ROWS) -> Subgraph:
    """The same graph with one place per folder, as deep as `limit` allows.

    >>> found = by_folder(Subgraph("x", ["a/1.py", "a/2.py", "b/3.py"], [[], [0], [1]]), 2)
    >>> found.paths, found.depends
    (['a/ (2)', 'b/ (1)'], [[], [0]])
    """
    deepest = max((path.count("/") for path in graph.paths), default=0)
    for depth in range(deepest, 0, -1):
        folders = ["/".join(posixpath.dirname(p).split("/")[:depth]) for p in graph.paths]
        if len(set(folders)) <= limit:
            break
    sizes = Counter(folders)
    place = {folder: i for i, folder in enumerate(sizes)}
    depends: list[set[int]] = [set() for _ in place]
    for file, targets in enumerate(graph.depends):
        own = place[folders[file]]
        depends[own].update(place[folders[t]] for t in targets if folders[t] != folders[file])
    names = [f"{folder or '.'}/ ({n})" for folder, n in sizes.items()]
    return Subgraph(graph.name, names, [sorted(each) for each in depends])


def _arcs(graph: Subgraph) -> str:
    names = _short(graph.paths)
    backs = [t - f for f, targets in enumerate(graph.depends) for t in targets if t > f]
    spans = [f - t for f, targets in enumerate(graph.depends) for t in targets if t < f]
    # A Bezier curve reaches three quarters of the way to its handles.
    left = _MARGIN + 0.75 * _reach(max(backs, default=0))
    end = left + max(map(len, names)) * _CHAR + 26
    body = [*_lines(graph, left, end), *_boxes(graph, names, left)]
    width = end + 0.75 * _reach(max(spans, default=0)) + _MARGIN
    return _svg(width, len(names) * _ROW + 2 * _MARGIN, "", "".join(body))


def _lines(graph: Subgraph, left: float, end: float) -> Iterator[str]:
    """An arc on the right from each dependency down to what depends on it; on the left, dashed, up
    from one that comes later."""
    colors = _colors(graph.paths)
    for file, targets in enumerate(graph.depends):
        for target in targets:
            late = target > file
            color = "back" if late else f"c{colors[target]}"
            x = left if late else end
            out = x - _reach(target - file) if late else x + _reach(file - target)
            a, b = (_MARGIN + row * _ROW + 9 for row in (target, file))
            yield (
                f'<path class="line {color}" data-a="{target}" data-b="{file}" '
                f'd="M{x:.0f},{a} C{out:.0f},{a} {out:.0f},{b} {x:.0f},{b}"/>'
            )


def _reach(rows: int) -> float:
    """How far out the handles of an arc over `rows` rows are."""
    return 0.0 if rows == 0 else 16 + 90 * rows**0.5 - 60


def _boxes(graph: Subgraph, names: Sequence[str], left: float) -> Iterator[str]:
    width = max(map(len, names)) * _CHAR + 26
    rows = zip(graph.paths, names, _colors(graph.paths), strict=True)
    for file, (path, name, color) in enumerate(rows):
        y = _MARGIN + file * _ROW
        yield (
            f'<g data-n="{file}"><title>{escape(path)}</title>'
            f'<rect class="box" x="{left:.0f}" y="{y}" width="{width:.0f}" height="18" rx="4"/>'
            f'<circle cx="{left + 10:.0f}" cy="{y + 9}" r="3.5" fill="var(--g{color})"/>'
            f'<text x="{left + 19:.0f}" y="{y + 13}">{escape(name)}</text></g>'
        )


def _matrix(graph: Subgraph) -> str:
    n = len(graph.paths)
    cell = max(0.5, min(12.0, _MATRIX / n))
    side, left, top = cell * n, _MARGIN + 14, 30
    groups, colors = _groups(graph.paths), _colors(graph.paths)
    edges = [(target, file) for file, targets in enumerate(graph.depends) for target in targets]
    first = [edge for edge in edges if edge[0] < edge[1]]
    late = [edge for edge in edges if edge[0] > edge[1]]
    hint = "row: a file; column: what it depends on; point at it to read the names"
    body = [
        f'<rect class="field" x="{left}" y="{top}" width="{side:.1f}" height="{side:.1f}"/>',
        f'<line class="rule" x1="{left}" y1="{top}" x2="{left + side:.1f}" y2="{top + side:.1f}"/>',
        f'<text class="says" x="{_MARGIN}" y="18">{hint}</text>',
        *_ticks(colors, cell, left, top),
        _points(first, "first", cell, left, top),
        _points(late, "late", cell, left, top),
        f'<line class="cross" x1="{left}" x2="{left + side:.1f}" y1="0" y2="0"/>',
        f'<line class="cross" y1="{top}" y2="{top + side:.1f}" x1="0" x2="0"/>',
        *_legend(groups, colors, left + side + 20, top + 4),
    ]
    longest = max(map(len, groups))
    data = (
        f" data-names='{escape(json.dumps(list(graph.paths)))}' data-cell=\"{cell:.4f}\" "
        f'data-at="{left},{top}" data-hint="{hint}"'
    )
    width = left + side + 60 + min(44, longest + 8) * _CHAR
    height = top + max(side, 20 * (_COLORS + 3)) + _MARGIN
    return _svg(width, height, data, "".join(body))


def _points(
    edges: Sequence[tuple[int, int]], kind: str, cell: float, left: float, top: float
) -> str:
    size = max(2.0, cell * 0.9)
    marks = "".join(
        f"M{left + x * cell:.1f} {top + y * cell:.1f}h{size:.1f}v{size:.1f}h-{size:.1f}z"
        for x, y in edges
    )
    return f'<path class="{kind}" d="{marks}"/>' if marks else ""


def _ticks(colors: Sequence[int], cell: float, left: float, top: float) -> Iterator[str]:
    """The folder of each row as a coloured band; neighbours of one folder share one."""
    start = 0
    for i in range(1, len(colors) + 1):
        if i == len(colors) or colors[i] != colors[start]:
            y, height = top + start * cell, (i - start) * cell
            fill = f"var(--g{colors[start]})"
            shape = f'x="{left - 12}" y="{y:.1f}" width="8" height="{height:.1f}"'
            yield f'<rect {shape} fill="{fill}"/>'
            start = i


def _legend(groups: Sequence[str], colors: Sequence[int], left: float, top: float) -> Iterator[str]:
    names: dict[int, Counter[str]] = {}
    for group, color in zip(groups, colors, strict=True):
        names.setdefault(color, Counter())[group] += 1
    y = top
    for color in sorted(names):
        inside = names[color]
        name = next(iter(inside)) if len(inside) == 1 else f"{len(inside)} more folders"
        label = escape(name if len(name) <= 34 else "..." + name[-31:])
        yield f'<rect x="{left:.0f}" y="{y}" width="10" height="10" fill="var(--g{color})"/>'
        yield f'<text x="{left + 16:.0f}" y="{y + 9}">{label} ({inside.total()})</text>'
        y += 20
    for kind, label in (("first", "dependency comes first"), ("late", "comes later (cycle)")):
        yield f'<rect class="{kind}" x="{left + 2:.0f}" y="{y + 2}" width="6" height="6"/>'
        yield f'<text x="{left + 16:.0f}" y="{y + 9}">{label}</text>'
        y += 20


def _svg(width: float, height: float, attributes: str, body: str) -> str:
    return (
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}"{attributes}>{body}</svg>'
    )


def _groups(paths: Sequence[str]) -> list[str]:
    """The folder of each path, one level below what all have in common (two if that is one)."""
    inside = [path.split("/")[:-1] for path in paths]
    common = len(posixpath.commonprefix(inside)) if inside else 0
    for depth in (1, 2):
        found = ["/".join(parts[: common + depth]) or "." for parts in inside]
        if len(set(found)) > 2:
            break
    return found


def _colors(paths: Sequence[str]) -> list[int]:
    """A colour per folder: the largest folders have their own, the rest share the last."""
    groups = _groups(paths)
    ranked = sorted(Counter(groups).items(), key=lambda item: (-item[1], item[0]))
    own = _COLORS if len(ranked) <= _COLORS else _COLORS - 1
    number = {name: i for i, (name, _) in enumerate(ranked[:own])}
    return [number.get(group, _COLORS - 1) for group in groups]


def _short(paths: Sequence[str]) -> list[str]:
    """Paths without the folders that all share, and long ones without their beginning."""
    common = posixpath.commonprefix([path.split("/")[:-1] for path in paths])
    cut = sum(len(part) + 1 for part in common)
    bare = [path[cut:] for path in paths]
    return [name if len(name) <= 34 else "..." + name[-31:] for name in bare]


def _read(name: str) -> str:
    return resources.files("codling.report").joinpath(name).read_text("utf-8")
