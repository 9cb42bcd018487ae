"""A suffix index over the tokens of files: what followed the longest match of a context.

Input: files as token ids. Output: for a context, the length of its longest match and the tokens
that followed there, with counts and places. Positions are sorted by the tokens before them, read
backwards, up to MAX_MATCH: all matches of a context lie side by side and are found by bisection, in
about 28 steps per matched token at 10^9 bytes of text. In memory a token takes its own 2 or 4 bytes
and 4 for its position.

A file can be dropped at once: its positions no longer count. Nothing else is rebuilt.

Not here: the artefact on disk (repository.py) and the weight of a match (mixture.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codling.engine.memory.kernels import Ids, count_continuations, match_ranges, scan_back

MAX_MATCH = 16
"""Longer matches add no information."""
MAX_READ = 64
"""At most this many places of a match are read, evenly spaced."""
SEPARATOR = {np.dtype(np.uint16): 0xFFFF, np.dtype(np.uint32): 0xFFFFFFFF}
"""Precedes each file; no token has this id, so no match crosses it."""


@dataclass(frozen=True)
class Continuations:
    """What followed the longest match of a context."""

    length: int
    """Tokens that match; 0: nothing does, and the rest is empty."""
    ids: NDArray[np.int64]
    """The different tokens that followed."""
    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    """One position of each."""

    @property
    def n_read(self) -> int:
        """How many places were read."""
        return int(self.counts.sum())

    @property
    def unanimity(self) -> float:
        """Share of the places that continue with the likeliest token."""
        return float(self.counts.max()) / self.n_read if self.length else 0.0

    @property
    def likeliest(self) -> int:
        """A place that continues with the token that follows most often."""
        return int(self.places[self.counts.argmax()])


NOTHING = Continuations(0, *(np.zeros(0, np.int64) for _ in range(3)))


class SuffixIndex:
    """Positions of all tokens, sorted by the tokens before them."""

    def __init__(self, tokens: Ids, order: Ids, file_starts: Ids) -> None:
        """`tokens`: files, each after a separator; `file_starts[i]`: of file i's separator."""
        self.tokens, self.order, self.file_starts = tokens, order, file_starts
        self.separator = SEPARATOR[np.dtype(tokens.dtype)]
        self.alive = np.ones(len(file_starts), np.bool_)
        self._ranges = np.zeros((MAX_MATCH, 2), np.int64)
        self._buffers = tuple(np.zeros(MAX_READ, np.int64) for _ in range(3))

    @classmethod
    def build(cls, files: Sequence[Sequence[int] | Ids], vocab_size: int) -> "SuffixIndex":
        """Sort all positions: four rounds that double the compared length.

        Takes about half a second per million tokens, and 40 bytes a token while it runs.
        """
        dtype = np.uint16 if vocab_size < 0xFFFF else np.uint32
        separator = SEPARATOR[np.dtype(dtype)]
        parts = [np.concatenate([[separator], np.asarray(f, np.int64)]) for f in files]
        lengths = [len(p) for p in parts]
        tokens = np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
        starts = np.cumsum([0, *lengths])[:-1].astype(np.int64)
        return cls(tokens, _sort_positions(tokens, separator), starts)

    def recall(self, context: Ids) -> Continuations:
        """What followed the longest match of the end of `context` in files that are not dropped."""
        n = match_ranges(self.tokens, self.order, context, MAX_MATCH, self.separator, self._ranges)
        ids, counts, places = self._buffers
        for depth in range(n - 1, -1, -1):
            low, high = self._ranges[depth]
            n_kinds = count_continuations(
                self.tokens, self.order, low, high, self.file_starts, self.alive, *self._buffers
            )
            if n_kinds:
                found = (ids[:n_kinds].copy(), counts[:n_kinds].copy(), places[:n_kinds].copy())
                return Continuations(depth + 1, *found)
        return NOTHING

    def file(self, number: int) -> Ids:
        """The tokens of a file."""
        end = len(self.tokens)
        if number + 1 < len(self.file_starts):
            end = int(self.file_starts[number + 1])
        return self.tokens[int(self.file_starts[number]) + 1 : end]

    def read(self, position: int, n: int) -> list[int]:
        """At most `n` tokens from a position on, up to the end of its file.

        >>> SuffixIndex.build([[1, 2, 3], [4]], vocab_size=9).read(2, 5)
        [2, 3]
        """
        found: list[int] = self.tokens[position : position + n].tolist()
        return found[: found.index(self.separator)] if self.separator in found else found

    def file_of(self, position: int) -> int:
        """The number of the file that holds a position."""
        return int(np.searchsorted(self.file_starts, position, side="right")) - 1


def recall_in_text(text: Ids, n: int, border: int) -> Continuations:
    """What followed the longest match of the end of text[:n] further up in it, without an index.

    No match crosses a `border`, which is not a token.
    """
    ids, counts, places = (np.zeros(MAX_READ, np.int64) for _ in range(3))
    length, n_kinds = scan_back(text, n, MAX_MATCH, border, ids, counts, places)
    if not length:
        return NOTHING
    return Continuations(length, ids[:n_kinds], counts[:n_kinds], places[:n_kinds])


def _sort_positions(tokens: Ids, separator: int) -> Ids:
    """All positions of tokens, sorted by the MAX_MATCH tokens before them, read backwards."""
    n = len(tokens)
    # rank[p]: the place of the tokens up to p, read backwards, among all of them.
    rank = tokens.astype(np.int64)
    reach = 1
    while reach < MAX_MATCH:
        before = np.empty(n, np.int64)
        before[:reach], before[reach:] = -1, rank[: n - reach] if n > reach else rank[:0]
        by_both = np.lexsort((before, rank))
        fresh = np.ones(n, np.int64)
        fresh[1:] = (np.diff(rank[by_both]) != 0) | (np.diff(before[by_both]) != 0)
        rank[by_both] = np.cumsum(fresh)
        reach *= 2
    positions = np.flatnonzero(tokens != separator)
    positions = positions[positions > 0]
    order = positions[np.argsort(rank[positions - 1], kind="stable")]
    return order.astype(np.int32 if n < 2**31 else np.int64)
