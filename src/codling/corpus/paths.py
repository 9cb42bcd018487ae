"""Paths inside a repository, as strings: POSIX, relative, the root being "".

Input and output: strings. They are compared millions of times, so pathlib would be the slow part.
Not here: paths on disk.
"""

from collections.abc import Iterable, Iterator


def parent(path: str) -> str:
    """The folder that holds `path`; "" for a file in the root."""
    return path.rpartition("/")[0]


def name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def join(root: str, *parts: str) -> str:
    """`parts` below `root`, which may be ""."""
    return "/".join((root, *parts)) if root else "/".join(parts)


def ancestors(folder: str) -> Iterator[str]:
    """The folder itself, its parent, and so on to the root.

    >>> list(ancestors("a/b"))
    ['a/b', 'a', '']
    """
    while folder:
        yield folder
        folder = parent(folder)
    yield ""


def resolve(folder: str, relative: str) -> str | None:
    """Where `relative`, written in a file of `folder`, leads; None if outside the repository.

    >>> resolve("a/b", "../c/./d.h"), resolve("a", "../../x")
    ('a/c/d.h', None)
    """
    parts = folder.split("/") if folder else []
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def shared_depth(a: str, b: str) -> int:
    """How many leading folders two paths share.

    >>> shared_depth("a/b/c.h", "a/b/d/e.c")
    2
    """
    depth = 0
    for left, right in zip(a.split("/"), b.split("/"), strict=False):
        if left != right:
            break
        depth += 1
    return depth


def find_nearest(candidates: Iterable[str], to: str) -> str | None:
    """The candidate that shares most folders with `to`; then the shallowest; then by name."""
    return min(candidates, key=lambda c: (-shared_depth(c, to), c.count("/"), c), default=None)
