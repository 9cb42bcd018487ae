"""The rows of the key/value cache: what each holds, who takes which, and moves between them.

A slot is one row. A prompt takes a slot when it joins and gives it back when it ends, between any
two steps. A slot remembers the tokens whose keys and values it holds, also after it was given back:
a later prompt that begins with the same tokens takes them over instead of computing them again.

All slots together hold so many pages of tokens at most. Where a prompt needs more, slots that
nobody uses lose theirs, from the end of the one that was unused longest; so rows of mixed lengths
share the memory, and none has that of the longest.

Input: prompts as token ids. Output: slots, and the moves to make in the cache before the next
batch. Not here: who runs when (scheduler.py), and the cache's memory (reserved.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from codling.engine.reserved import CacheShape

MIN_SHARED = 16
"""A prefix shorter than this is not worth a copy, nor waiting for one."""


@dataclass(frozen=True)
class Copy:
    """Before the next batch: the first `n_tokens` positions of row `source` go to row `target`."""

    source: int
    target: int
    n_tokens: int


@dataclass(frozen=True)
class Swap:
    """Before the next batch: rows `a` and `b`, of `n_a` and `n_b` tokens, change places."""

    a: int
    b: int
    n_a: int
    n_b: int


@dataclass(frozen=True)
class Release:
    """Before the next batch: positions `start` up to `stop` of a row give their memory back."""

    row: int
    start: int
    stop: int


Move = Copy | Swap | Release


@dataclass(eq=False)
class Slot:
    """One row of the cache."""

    index: int
    tokens: list[int] = field(default_factory=list)
    """The tokens whose keys and values the row holds, from position 0."""
    prompt_ids: list[int] | None = None
    """The prompt that has taken the slot and that the slot will hold; None while it is free."""
    last_used: int = 0
    n_pages: int = 0
    """Pages of tokens that it holds, or that are promised to it."""

    @property
    def is_free(self) -> bool:
        """Whether a prompt may take it."""
        return self.prompt_ids is None


class Placing(NamedTuple):
    """The slot that a prompt has taken."""

    slot: Slot
    n_cached: int
    """Tokens of the prompt that need no computing."""


class SlotTable:
    """All rows of one cache, in the order of their indices.

    >>> table = SlotTable(CacheShape.of_whole_rows(2, 64))
    >>> first = table.take(list(range(20)))
    >>> first.slot.index, first.n_cached, table.take(list(range(30)))  # the second waits for it
    (0, 0, None)
    >>> first.slot.tokens.extend(range(20))
    >>> table.take(list(range(30))).n_cached, table.take_moves()
    (20, [Copy(source=0, target=1, n_tokens=20)])
    """

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self._slots = [Slot(i) for i in range(shape.n_rows)]
        self._moves: list[Move] = []
        self._clock = 0

    def take(self, prompt_ids: list[int]) -> Placing | None:
        """A slot for a prompt; None if all are taken, their memory is, or its prefix is being
        computed for another.

        In the last case the prompt takes it over once it is there.
        """
        taken = [slot for slot in self._slots if not slot.is_free]
        if len(taken) >= self.shape.n_streams:
            return None
        source, n_shared = self._best_source(prompt_ids)
        if source is not None and n_shared > len(source.tokens):
            return None
        # Others grow meanwhile, by a page each: who joins into the last one would soon leave again.
        n_pages = self._pages(len(prompt_ids) + 1) + len(taken)
        for slot in self._choices(source, n_shared):
            if self._make_room(n_pages, slot, kept=source):
                return self._place(prompt_ids, slot, source, n_shared)
        return None

    def grow(self, slot: Slot, n_tokens: int) -> bool:
        """Promise a slot the memory for so many tokens more; False if others use all there is."""
        n_pages = self._pages(len(slot.tokens) + n_tokens)
        if n_pages > slot.n_pages:
            if not self._make_room(n_pages, slot):
                return False
            slot.n_pages = n_pages
        return True

    def give_back(self, slot: Slot) -> None:
        """Free a slot; it goes on holding its tokens until another prompt needs the place."""
        slot.prompt_ids, slot.last_used = None, self._tick()
        self._shrink(slot, self._pages(len(slot.tokens)))

    def clear(self) -> None:
        """Free all slots and forget what they hold."""
        for slot in self._slots:
            self._shrink(slot, 0)
            slot.prompt_ids = None

    def arrange(self) -> None:
        """Bring the taken slots side by side with as few swaps as possible, if they must be."""
        taken = [not slot.is_free for slot in self._slots]
        places = [i for i, used in enumerate(taken) if used]
        n_taken = len(places)
        if not self.shape.keeps_side_by_side or not places or places[-1] - places[0] < n_taken:
            return
        starts = range(len(taken) - n_taken + 1)
        start = max(starts, key=lambda i: sum(taken[i : i + n_taken]))
        window = range(start, start + n_taken)
        gaps = [i for i in window if not taken[i]]
        strays = [i for i in places if i not in window]
        for gap, stray in zip(gaps, strays, strict=True):
            self._swap(gap, stray)

    def take_moves(self) -> list[Move]:
        """The moves to make before the next batch, in this order; they are not given twice."""
        moves, self._moves = self._moves, []
        return moves

    @property
    def n_held(self) -> int:
        """Pages that are held or promised."""
        return sum(slot.n_pages for slot in self._slots)

    def _best_source(self, prompt_ids: list[int]) -> tuple[Slot | None, int]:
        """The slot that shares, or is about to share, the longest prefix, and that length.

        At least one token is left to compute: its output predicts the next.
        """
        best, n_best = None, MIN_SHARED - 1
        for slot in self._slots:
            planned = slot.tokens if slot.prompt_ids is None else slot.prompt_ids
            longer = slot.tokens if len(slot.tokens) > len(planned) else planned
            if longer[:MIN_SHARED] != prompt_ids[:MIN_SHARED]:
                continue
            n_shared = min(shared_prefix(longer, prompt_ids), len(prompt_ids) - 1)
            if n_shared > n_best:
                best, n_best = slot, n_shared
        return best, (n_best if best else 0)

    def _choices(self, source: Slot | None, n_shared: int) -> Iterable[Slot]:
        """The slots to try, best first.

        A prompt that goes on where a finished one ended takes its slot; one that only shares a
        beginning leaves the other prompt's slot alone while there is an older one, and memory for
        both.
        """
        oldest = self._free()[0]
        if source is None or not source.is_free:
            return [oldest]
        goes_on = 2 * n_shared > len(source.tokens)
        return [source] if goes_on or oldest is source else [oldest, source]

    def _make_room(self, n_pages: int, slot: Slot, kept: Slot | None = None) -> bool:
        """Let `slot` come to hold so many pages; others that are free lose theirs where that must
        be, the slot `kept` as long as it is not the same."""
        n_missing = n_pages - slot.n_pages - (self.shape.n_pages - self.n_held)
        if n_missing <= 0:
            return True
        losers = [other for other in self._free() if other is not slot and other is not kept]
        if sum(other.n_pages for other in losers) < n_missing:
            return False
        for other in losers:
            n_lost = min(other.n_pages, n_missing)
            self._shrink(other, other.n_pages - n_lost)
            n_missing -= n_lost
        return True

    def _place(
        self, prompt_ids: list[int], slot: Slot, source: Slot | None, n_shared: int
    ) -> Placing:
        n_pages = self._pages(len(prompt_ids) + 1)
        if source is slot:
            slot.tokens = prompt_ids[:n_shared]
            self._shrink(slot, min(slot.n_pages, n_pages))
        else:
            self._shrink(slot, 0)
            slot.tokens = prompt_ids[:n_shared]
            if source is not None:
                self._moves.append(Copy(source.index, slot.index, n_shared))
        slot.n_pages = n_pages
        slot.prompt_ids, slot.last_used = prompt_ids, self._tick()
        return Placing(slot, n_shared)

    def _shrink(self, slot: Slot, n_pages: int) -> None:
        """Let a slot keep so many pages, and the tokens in them."""
        page = self.shape.page
        if n_pages < slot.n_pages:
            self._moves.append(Release(slot.index, n_pages * page, slot.n_pages * page))
        slot.n_pages = n_pages
        del slot.tokens[n_pages * page :]

    def _free(self) -> list[Slot]:
        """The free slots, the one that was unused longest first."""
        return sorted((s for s in self._slots if s.is_free), key=lambda s: s.last_used)

    def _pages(self, n_tokens: int) -> int:
        return -(-min(n_tokens, self.shape.max_length) // self.shape.page)

    def _swap(self, a: int, b: int) -> None:
        one, other = self._slots[a], self._slots[b]
        self._slots[a], self._slots[b] = other, one
        self._moves.append(Swap(a, b, len(one.tokens), len(other.tokens)))
        one.index, other.index = b, a
        few, many = sorted((one, other), key=lambda slot: slot.n_pages)
        page = self.shape.page
        self._moves.append(Release(few.index, few.n_pages * page, many.n_pages * page))

    def _tick(self) -> int:
        """The next moment of a clock that counts takings and returns."""
        self._clock += 1
        return self._clock


def shared_prefix(a: list[int], b: list[int]) -> int:
    """How many tokens two sequences have in common at their start.

    >>> shared_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
