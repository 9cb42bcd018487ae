"""The rows of the key/value cache: what each holds, who takes which, and moves between them.

A slot is one row. A prompt takes a slot when it joins and gives it back when it ends, between any
two steps. A slot remembers the tokens whose keys and values it holds, also after it was given back:
a later prompt that begins with the same tokens takes them over instead of computing them again.

Input: prompts as token ids. Output: slots, and the moves to make in the cache before the next
batch. Not here: who runs when (scheduler.py), and the cache itself (model/cache.py).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

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


Move = Copy | Swap


@dataclass(eq=False)
class Slot:
    """One row of the cache."""

    index: int
    tokens: list[int] = field(default_factory=list)
    """The tokens whose keys and values the row holds, from position 0."""
    prompt_ids: list[int] | None = None
    """The prompt that has taken the slot and that the slot will hold; None while it is free."""
    last_used: int = 0

    @property
    def is_free(self) -> bool:
        """Whether a prompt may take it."""
        return self.prompt_ids is None


class Placing(NamedTuple):
    """The slot that a prompt has taken."""

    slot: Slot
    n_cached: int
    """Tokens of the prompt that need no computing."""
    copy: Copy | None
    """The copy that brings them there, where they are in another row."""


class SlotTable:
    """All rows of one cache, in the order of their indices.

    >>> table = SlotTable(2)
    >>> first = table.take(list(range(20)))
    >>> first.slot.index, first.n_cached, table.take(list(range(30)))  # the second waits for it
    (0, 0, None)
    >>> first.slot.tokens.extend(range(20))
    >>> table.take(list(range(30))).copy
    Copy(source=0, target=1, n_tokens=20)
    """

    def __init__(self, n_slots: int) -> None:
        self._slots = [Slot(i) for i in range(n_slots)]
        self._clock = 0

    def take(self, prompt_ids: list[int]) -> Placing | None:
        """A slot for a prompt; None if all are taken, or its prefix is being computed for another.

        In the second case the prompt takes it over once it is there.
        """
        if not any(slot.is_free for slot in self._slots):
            return None
        source, n_shared = self._best_source(prompt_ids)
        if source is None:
            return self._place(prompt_ids, self._oldest_free(), None, 0)
        if n_shared > len(source.tokens):
            return None
        # A prompt that goes on where a finished one ended takes its slot; one that only shares a
        # beginning leaves the other prompt's slot alone while an older one is free.
        goes_on = 2 * n_shared > len(source.tokens) or self._n_free() == 1
        slot = source if source.is_free and goes_on else self._oldest_free()
        return self._place(prompt_ids, slot, source, n_shared)

    def give_back(self, slot: Slot) -> None:
        """Free a slot; it goes on holding its tokens until another prompt takes it."""
        slot.prompt_ids, slot.last_used = None, self._tick()

    def clear(self) -> None:
        """Free all slots and forget what they hold."""
        self._slots = [Slot(i) for i in range(len(self._slots))]

    def compact(self) -> list[Swap]:
        """Bring the taken slots side by side with as few swaps as possible, if they are not."""
        taken = [not slot.is_free for slot in self._slots]
        places = [i for i, used in enumerate(taken) if used]
        n_taken = len(places)
        if not places or places[-1] - places[0] < n_taken:
            return []
        starts = range(len(taken) - n_taken + 1)
        start = max(starts, key=lambda i: sum(taken[i : i + n_taken]))
        window = range(start, start + n_taken)
        gaps = [i for i in window if not taken[i]]
        strays = [i for i in places if i not in window]
        return [self._swap(gap, stray) for gap, stray in zip(gaps, strays, strict=True)]

    def _best_source(self, prompt_ids: list[int]) -> tuple[Slot | None, int]:
        """The slot that shares, or is about to share, the longest prefix, and that length.

        At least one token is left to compute: its output predicts the next.
        """
        best, n_best = None, MIN_SHARED - 1
        for slot in self._slots:
            planned = slot.tokens if slot.prompt_ids is None else slot.prompt_ids
            longer = slot.tokens if len(slot.tokens) > len(planned) else planned
            n_shared = min(shared_prefix(longer, prompt_ids), len(prompt_ids) - 1)
            if n_shared > n_best:
                best, n_best = slot, n_shared
        return best, (n_best if best else 0)

    def _place(
        self, prompt_ids: list[int], slot: Slot, source: Slot | None, n_shared: int
    ) -> Placing:
        copy = None
        if source is not None and source is not slot:
            copy = Copy(source.index, slot.index, n_shared)
        slot.tokens = prompt_ids[:n_shared]
        slot.prompt_ids, slot.last_used = prompt_ids, self._tick()
        return Placing(slot, n_shared, copy)

    def _oldest_free(self) -> Slot:
        return min((s for s in self._slots if s.is_free), key=lambda s: s.last_used)

    def _n_free(self) -> int:
        return sum(slot.is_free for slot in self._slots)

    def _swap(self, a: int, b: int) -> Swap:
        one, other = self._slots[a], self._slots[b]
        self._slots[a], self._slots[b] = other, one
        one.index, other.index = b, a
        return Swap(a, b, len(one.tokens), len(other.tokens))

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
