"""The training layout at the cursor: the files that the cursor's file depends on, then that file.

Input: a repository (any mapping from path to text, or a folder through `WorkingTree`), the cursor's
file and the text before the cursor. Output: a prompt in the layout of layout.py, which ends
where the cursor stands, no longer than a budget. As in the README of DeepSeek-Coder:

    # utils.py
    ...
    # model.py
    ...
    # main.py
    from model import IrisClassifier     <- the cursor is somewhere below

What does not fit is left out at the far end: files at the greatest import distance first. The last
file that fits in part loses its beginning, as at the start of a training window. Where a text
begins moves in steps, not at every line: while someone types, prompts begin alike, so that
what an engine has computed of the last one stays useful.

Not here: what is done with the text after the cursor (tokens/fim.py), and the model.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from codling.core.errors import SourceError, ToolMissingError
from codling.core.folder_walk import files_below
from codling.core.git import open_git
from codling.core.git_place import find_place
from codling.core.languages.table import SNIFF_BYTES, detect
from codling.corpus.dependencies.graph import LANGUAGES, Dependencies
from codling.corpus.dependencies.order import arrange_files
from codling.corpus.layout import file_text

Measure = Callable[[str], int]
"""Length of a text in the unit of the budget: characters (`len`) or tokens."""

MAX_FILE_BYTES = 1_000_000
_STEPS = 8
_SKIPPED_DIRS = frozenset(
    ("node_modules", "__pycache__", "site-packages", "venv", "env", "build", "dist", "target")
)


class Cursor(NamedTuple):
    """A place in a file of the repository."""

    path: str
    """Relative to the repository's root; there need not be such a file yet."""
    prefix: str
    """The file's text before the cursor, as it stands in the editor."""
    suffix: str = ""
    """The text after it: not part of the prompt, but its imports count."""


class ContextFile(NamedTuple):
    """A file in front of the cursor's, and why it is there."""

    path: str
    text: str
    """As it stands in the prompt, with its path comment; empty for one that found no room."""
    via: str
    """The file that imports it: the cursor's file, or another one in front of it."""
    distance: int
    """Imports between the cursor's file and this one; 1 is imported directly."""
    is_cut: bool = False
    """Whether its beginning is left out."""


class CursorContext(NamedTuple):
    """A prompt in its parts."""

    files: tuple[ContextFile, ...]
    """In the order of the prompt."""
    here: str
    """The cursor's file up to the cursor, with its path comment."""
    left_out: tuple[ContextFile, ...] = ()
    """What the cursor's file depends on and what found no room, the nearest first."""

    @property
    def prompt(self) -> str:
        """The whole text."""
        return "".join(file.text for file in self.files) + self.here


def context_prompt(
    files: Mapping[str, str], cursor: Cursor, *, budget: int, measure: Measure = len
) -> str:
    r"""The text before the cursor, with the files that it depends on in front of it.

    `files` may hold an older text of the cursor's file, or none. The result measures at most
    `budget` and always ends in the end of the cursor's prefix.

    >>> cursor = Cursor("a.py", "from b import x\ny =")
    >>> print(context_prompt({"b.py": "x = 1\n"}, cursor, budget=100))
    # b.py
    x = 1
    # a.py
    from b import x
    y =
    """
    return _lay_out(_Graph(files), cursor, budget, measure).prompt


class WorkingTree(Mapping[str, str]):
    """The text files of a folder by their path, read when asked for and again when they have
    changed.

    In a git repository these are the files that git does not ignore; elsewhere all but hidden
    folders and the usual places of installed packages and build results.
    """

    def __init__(self, folder: Path) -> None:
        """Raises SourceError if `folder` is not a folder."""
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder; give the repository's root")
        self.folder = folder.resolve()
        self._texts: dict[str, tuple[int, str]] = {}
        self._paths: dict[str, None] = {}
        self._asks_git = True
        self.refresh()

    def refresh(self) -> bool:
        """List the files again; whether there are other files than before."""
        paths = sorted(p for p in self._git_files() if _is_code(p))
        # No repository, or a folder that its repository ignores but the user asks for.
        paths = paths or sorted(p for p in self._walk() if _is_code(p))
        changed = paths != list(self._paths)
        self._paths = dict.fromkeys(paths)
        return changed

    def stamp(self, path: str) -> int:
        """Changes when the file changes; 0 for a file that is not there."""
        try:
            found = (self.folder / path).stat()
        except OSError:
            return 0
        return hash((found.st_mtime_ns, found.st_size))

    def __getitem__(self, path: str) -> str:
        if path not in self._paths:
            raise KeyError(path)
        stamp = self.stamp(path)
        cached = self._texts.get(path)
        if cached is None or cached[0] != stamp:
            cached = self._texts[path] = (stamp, self._read(path))
        return cached[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def place(self, path: str) -> Path:
        """Where a listed file lies, without links; KeyError if it is not listed, or is a link to
        what is not."""
        if path not in self._paths:
            raise KeyError(path)
        try:
            real = (self.folder / path).resolve()
        except RuntimeError:  # links in a circle
            raise KeyError(path) from None
        if not real.is_relative_to(self.folder):
            raise KeyError(path)
        if real.relative_to(self.folder).as_posix() not in self._paths:
            raise KeyError(path)
        return real

    def _read(self, path: str) -> str:
        try:
            place = self.place(path)
            if not place.is_file() or place.stat().st_size > MAX_FILE_BYTES:
                return ""
            return place.read_text(encoding="utf-8", errors="replace")
        except (KeyError, OSError):
            return ""

    def _git_files(self) -> list[str]:
        """The files that git does not ignore; none where there is no repository."""
        place = find_place(self.folder)
        if place is None or not self._asks_git:
            return []
        try:
            with open_git(place) as git:
                return [*git.list_tracked(), *git.list_untracked()]
        except (SourceError, ToolMissingError):
            self._asks_git = False  # it is not waited for again
            return []

    def _walk(self) -> Iterator[str]:
        found = files_below(self.folder, lambda name: name[0] != "." and name not in _SKIPPED_DIRS)
        yield from (path.relative_to(self.folder).as_posix() for path in found)


class RepositoryContext:
    """Prompts for one repository, again and again: keeps what has not changed between two calls."""

    def __init__(self, folder: Path) -> None:
        """Raises SourceError if `folder` is not a folder."""
        self.tree = WorkingTree(folder)
        self._graph = _Graph(self.tree, self.tree.stamp)

    def prompt(self, cursor: Cursor, *, budget: int, measure: Measure = len) -> str:
        """As `context_prompt`; the cursor's path may also be absolute.

        Raises SourceError if it lies outside the repository.
        """
        return self.lay_out(cursor, budget=budget, measure=measure).prompt

    def lay_out(self, cursor: Cursor, *, budget: int, measure: Measure = len) -> CursorContext:
        """The same in its parts, each with its reason."""
        if self.tree.refresh():
            self._graph = _Graph(self.tree, self.tree.stamp)
        cursor = cursor._replace(path=self.inside(cursor.path))
        return _lay_out(self._graph, cursor, budget, measure)

    def inside(self, path: Path | str) -> str:
        """`path` relative to the repository's root."""
        folder, place = self.tree.folder, Path(os.path.normpath(self.tree.folder / path))
        if place.is_relative_to(folder) and "\0" not in str(path):
            return place.relative_to(folder).as_posix()
        with suppress(ValueError, OSError, RuntimeError):  # no path at all; links in a circle
            return place.resolve().relative_to(folder).as_posix()
        raise SourceError(f"{path} lies outside the repository {self.tree.folder}")


class SnapshotContext:
    """Prompts for files that do not change, such as those of a commit."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._graph = _Graph({path: text for path, text in files.items() if _is_code(path)})

    def prompt(self, cursor: Cursor, *, budget: int, measure: Measure = len) -> str:
        """As `context_prompt`."""
        return _lay_out(self._graph, cursor, budget, measure).prompt


class _Graph:
    """The dependencies of a repository, each looked up once while its file is unchanged."""

    def __init__(self, files: Mapping[str, str], stamp: Callable[[str], int] = lambda _: 0) -> None:
        found = {p: detect(p, b"") for p in files}
        self.languages = {p: language for p, language in found.items() if language in LANGUAGES}
        self.files, self._stamp = files, stamp
        self._dependencies = Dependencies(self.languages, files.__getitem__)
        self._known: dict[str, tuple[int, list[str]]] = {}

    def of(self, path: str) -> list[str]:
        stamp = self._stamp(path)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, self._dependencies.of(path))
        return known[1]

    def of_text(self, path: str, text: str) -> list[str]:
        """What `text`, placed at `path`, depends on, whether there is such a file or not."""
        if path in self.languages:
            return self._dependencies.of(path, text)
        languages = {**self.languages, path: detect(path, text[:SNIFF_BYTES].encode()) or ""}
        return Dependencies(languages, lambda p: text if p == path else self.files[p]).of(path)


def _lay_out(graph: _Graph, cursor: Cursor, budget: int, measure: Measure) -> CursorContext:
    path, prefix, suffix = cursor
    language = detect(path, prefix[:SNIFF_BYTES].encode()) or ""
    here = file_text(language, path, "") + prefix
    room = budget - measure(here)
    if room < 0:
        return CursorContext((), _cut_start_in_steps(prefix, budget, measure))
    near = _by_distance(graph, path, prefix + suffix)
    whole, cut = _fit_files(graph, list(near), room, budget, measure)
    paths = [*cut, *_in_order(graph, sorted(whole))]
    files = [_explain(near, path, p, (cut | whole)[p], is_cut=p in cut) for p in paths]
    left = [_explain(near, path, p) for p in near if p not in paths]
    context = CursorContext(tuple(files), here, tuple(left))
    # Tokens of joined texts may be more than the sum of their parts.
    prompt = context.prompt
    n_over = (
        0 if measure(prompt) <= budget else len(prompt) - len(_cut_start(prompt, budget, measure))
    )
    return _without_start(context, n_over) if n_over else context


def _explain(
    near: Mapping[str, str], cursor_path: str, path: str, text: str = "", *, is_cut: bool = False
) -> ContextFile:
    distance, via = 1, near[path]
    while via != cursor_path:
        distance, via = distance + 1, near[via]
    return ContextFile(path, text, near[path], distance, is_cut)


def _without_start(context: CursorContext, n_chars: int) -> CursorContext:
    """The context without the first characters of its prompt."""
    files = list(context.files)
    left_out = list(context.left_out)
    while files and n_chars >= len(files[0].text):
        n_chars -= len(files[0].text)
        left_out.append(files.pop(0)._replace(text="", is_cut=False))
    if files:
        files[0] = files[0]._replace(text=files[0].text[n_chars:], is_cut=True)
    here = context.here if files else context.here[n_chars:]
    return CursorContext(tuple(files), here, tuple(left_out))


def _fit_files(
    graph: _Graph, near: Sequence[str], room: int, budget: int, measure: Measure
) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of the first files that fit, and the end of the next one, which fits in part."""
    chosen: dict[str, str] = {}
    sizes: list[int] = []
    for each in near:
        text = chosen[each] = file_text(graph.languages[each], each, graph.files[each])
        sizes.append(measure(text))
        if sum(sizes) > room:
            break
    else:
        return chosen, {}
    left = room - room % max(1, budget // _STEPS)  # typing does not change it at every character
    for n, (path, text) in enumerate(chosen.items()):
        if sizes[n] > left:
            kept = {p: chosen[p] for p in near[:n]}
            end = _cut_start(text, left, measure, whole_lines=True)
            return kept, {path: end} if end else {}
        left -= sizes[n]
    raise AssertionError("what does not fit into more does not fit into less")


def _by_distance(graph: _Graph, path: str, text: str) -> dict[str, str]:
    """All files that `path` depends on, the directly imported ones first, itself left out, each
    with the file that imports it."""
    found = dict.fromkeys(graph.of_text(path, text), path)
    for each in iter(waiting := list(found)):
        for target in graph.of(each):
            if target not in found and target != path:
                found[target] = each
                waiting.append(target)
    return found


def _in_order(graph: _Graph, paths: Sequence[str]) -> Iterator[str]:
    index = {p: i for i, p in enumerate(paths)}
    edges = [[index[t] for t in graph.of(p) if t in index] for p in paths]
    return (paths[i] for files in arrange_files(edges, "scc") for i in files)


def _cut_start_in_steps(text: str, budget: int, measure: Measure) -> str:
    """The end of `text` within the budget, from a line that stays the first while text is added."""
    step = max(1, budget // _STEPS)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    places = [at for before, at in pairwise(starts) if before // step < at // step]
    fits = bisect_left(places, True, key=lambda at: measure(text[at:]) <= budget)
    if fits < len(places) and places[fits] < len(text):
        return text[places[fits] :]
    return _cut_start(text, budget, measure)


def _cut_start(text: str, budget: int, measure: Measure, *, whole_lines: bool = False) -> str:
    """The longest end of `text` within the budget, in whole lines where there is one that fits."""
    lines = text.splitlines(keepends=True)
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        if measure("".join(lines[middle:])) <= budget:
            high = middle
        else:
            low = middle + 1
    if low < len(lines) or whole_lines:
        return "".join(lines[low:])
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        if measure(text[middle:]) <= budget:
            high = middle
        else:
            low = middle + 1
    return text[low:]


def _is_code(path: str) -> bool:
    return detect(path, b"") in LANGUAGES
