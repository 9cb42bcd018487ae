"""Lines spread over the folders of a repository as its code is.

Input: files with the lines of each. Output: some of the lines. Not here: which lines there are
(insertion.py).
"""

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Line = TypeVar("_Line")


@dataclass(frozen=True)
class FileLines(Generic[_Line]):
    """A file and those of its lines that can be taken."""

    path: str
    n_chars: int
    lines: list[_Line]


def allot(n: int, weights: dict[_Key, float], rooms: dict[_Key, int]) -> dict[_Key, int]:
    """`n` seats by weight (Webster's method), to each at most as many as it has room for.

    >>> allot(9, {"a": 6.0, "b": 3.0, "c": 1.0}, {"a": 4, "b": 9, "c": 9})
    {'a': 4, 'b': 4, 'c': 1}
    """
    given = dict.fromkeys(weights, 0)
    for _ in range(min(n, sum(rooms.values()))):
        free = [key for key in weights if given[key] < rooms[key]]
        given[max(free, key=lambda key: weights[key] / (2 * given[key] + 1))] += 1
    return given


def spread_lines(
    files: Sequence[FileLines[_Line]], n: int, rng: random.Random, depth: int = 0
) -> list[_Line]:
    """`n` lines, by size over the folders at `depth` of the paths and so on inside each of them.

    Small folders stand together for the one that holds them, so they are not passed over as a
    whole. In a folder one line of every file is taken before a second of any.
    """
    if n == 0:
        return []
    inside: dict[str, list[FileLines[_Line]]] = defaultdict(list)
    for file in files:
        folders = file.path.split("/")[:-1]
        inside[folders[depth] if depth < len(folders) else ""].append(file)
    if set(inside) == {""}:
        return _take_in_turns([file.lines for file in files], n, rng)
    sizes = {name: float(sum(f.n_chars for f in some)) for name, some in inside.items()}
    rooms = {name: sum(len(f.lines) for f in some) for name, some in inside.items()}
    chosen: list[_Line] = []
    for name, n_inside in allot(n, sizes, rooms).items():
        # The files of the folder itself ("") have no further folder and end the descent.
        chosen += spread_lines(inside[name], n_inside, rng, depth + 1)
    return chosen


def _take_in_turns(pools: Sequence[list[_Line]], n: int, rng: random.Random) -> list[_Line]:
    """`n` lines, one of every pool before a second of any."""
    mixed = [rng.sample(pool, len(pool)) for pool in pools]
    rng.shuffle(mixed)
    rounds = zip_longest(*mixed)
    return [line for each in rounds for line in each if line is not None][:n]
