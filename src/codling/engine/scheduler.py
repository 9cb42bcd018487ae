"""Which tokens of which requests the model computes next, and which slot of the cache holds them.

Input: sequences (a prompt and what was generated for it). Output: batches for the runner. A slot is
one row of the cache; a sequence takes a slot when it joins and gives it back when it ends, between
any two steps. Long prompts are computed in chunks, so that running streams wait for one chunk at
most. A slot remembers the tokens whose keys and values it holds, also after its sequence ended: a
later prompt that begins with the same tokens takes them over instead of computing them again.

Not here: the model (runner.py), the choice of a token (sampler.py), text and stops (stream.py).
"""

from collections import deque
from dataclasses import dataclass

from codling.engine.sequence import Sequence, Slot
from codling.engine.slots import MIN_SHARED, Copy, Move, Swap, shared_prefix


@dataclass(frozen=True)
class Batch:
    """One call of the model: row i feeds `chunks[i]` to the slot of `sequences[i]`."""

    sequences: list[Sequence]
    chunks: list[list[int]]
    rows: list[int]
    """The cache row of each sequence."""
    starts: list[int]
    """How many tokens the row holds before the chunk."""

    @property
    def ready(self) -> list[int]:
        """Which sequences await a token after this batch: their chunk is their last."""
        return [
            i
            for i, sequence in enumerate(self.sequences)
            if self.starts[i] + len(self.chunks[i]) == len(sequence.tokens)
        ]


class Scheduler:
    """Waiting and running sequences, and the slots."""

    def __init__(
        self, n_slots: int, max_length: int, *, chunk: int = 256, budget: int = 1024
    ) -> None:
        """`chunk`: prompt tokens per sequence and step; `budget`: of all of them, with padding."""
        self.slots = [Slot(i) for i in range(n_slots)]
        self.max_length = max_length
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._chunk = chunk
        self._budget = budget
        self._clock = 0

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; it joins when a slot is free."""
        assert 0 < len(sequence.tokens) < self.max_length
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out at once, waiting or running; its slot is free from now on."""
        if sequence in self.running:
            self.running.remove(sequence)
            slot = sequence.slot
            assert slot is not None
            slot.sequence, slot.last_used = None, self._tick()
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def forget(self) -> list[Sequence]:
        """Drop everything after an error, when rows may be half written; gives who was there."""
        dropped = [*self.running, *self.waiting]
        self.running.clear()
        self.waiting.clear()
        self.slots = [Slot(slot.index) for slot in self.slots]
        return dropped

    def admit(self) -> list[Move]:
        """Let waiting sequences join, oldest first; make the moves before the next batch."""
        moves: list[Move] = []
        while self.waiting and any(slot.sequence is None for slot in self.slots):
            sequence = self.waiting[0]
            source, n_shared = self._best_source(sequence)
            if source is not None and n_shared > len(source.tokens):
                break  # its prefix is being computed for another: take it over when it is there
            self.waiting.popleft()
            if copy := self._place(sequence, source, n_shared):
                moves.append(copy)
        return [*moves, *self._compact()]

    def schedule(self) -> list[Batch]:
        """The next batches: a chunk of the unfinished prompts, then one token for all others."""
        prompts = [s for s in self.running if len(s.tokens) - s.n_done > 1]
        singles = [s for s in self.running if len(s.tokens) - s.n_done == 1]
        batches = []
        if prompts:
            batches.append(self._prompt_batch(prompts))
        if singles:
            batches.append(_batch(singles, [s.tokens[-1:] for s in singles]))
        return batches

    def ran(self, batch: Batch) -> None:
        """Note that the batch is in the cache."""
        for sequence, chunk in zip(batch.sequences, batch.chunks, strict=True):
            assert sequence.slot is not None
            sequence.slot.tokens.extend(chunk)

    def _prompt_batch(self, prompts: list[Sequence]) -> Batch:
        """The oldest prompts whose padded chunks fit into the budget."""
        chosen: list[Sequence] = []
        chunks: list[list[int]] = []
        widest = 0
        for sequence in prompts:
            chunk = sequence.tokens[sequence.n_done : sequence.n_done + self._chunk]
            widest = max(widest, len(chunk))
            if chosen and widest * (len(chosen) + 1) > self._budget:
                break
            chosen.append(sequence)
            chunks.append(chunk)
        return _batch(chosen, chunks)

    def _best_source(self, sequence: Sequence) -> tuple[Slot | None, int]:
        """The slot that shares, or is about to share, the longest prefix, and that length.

        At least one token is left to compute: its output predicts the next.
        """
        best, n_best = None, MIN_SHARED - 1
        for slot in self.slots:
            planned = slot.sequence.prompt_ids if slot.sequence else slot.tokens
            longer = slot.tokens if len(slot.tokens) > len(planned) else planned
            n_shared = min(shared_prefix(longer, sequence.tokens), len(sequence.tokens) - 1)
            if n_shared > n_best:
                best, n_best = slot, n_shared
        return best, (n_best if best else 0)

    def _place(self, sequence: Sequence, source: Slot | None, n_shared: int) -> Copy | None:
        free = [slot for slot in self.slots if slot.sequence is None]
        # A prompt that goes on where a finished one ended takes its slot; one that only shares a
        # beginning leaves the other prompt's slot alone while an older one can be had.
        takes_over = source in free and (2 * n_shared > len(source.tokens) or len(free) == 1)
        slot = source if takes_over and source else min(free, key=lambda s: s.last_used)
        copy = None
        if source is not None and source is not slot:
            copy = Copy(source.index, slot.index, n_shared)
        slot.tokens = list(sequence.tokens[:n_shared])
        slot.sequence, slot.last_used = sequence, self._tick()
        sequence.slot, sequence.n_cached = slot, n_shared
        self.running.append(sequence)
        return copy

    def _compact(self) -> list[Move]:
        """Swaps that bring the running slots side by side, as few as possible."""
        n_running = len(self.running)
        indices = [s.slot.index for s in self.running if s.slot is not None]
        if not indices or max(indices) - min(indices) < n_running:
            return []
        taken = [slot.sequence is not None for slot in self.slots]
        starts = range(len(self.slots) - n_running + 1)
        start = max(starts, key=lambda i: sum(taken[i : i + n_running]))
        window = range(start, start + n_running)
        gaps = [i for i in window if not taken[i]]
        strays = [i for i, used in enumerate(taken) if used and i not in window]
        return [self._swap(gap, stray) for gap, stray in zip(gaps, strays, strict=True)]

    def _swap(self, a: int, b: int) -> Swap:
        one, other = self.slots[a], self.slots[b]
        self.slots[a], self.slots[b] = other, one
        one.index, other.index = b, a
        return Swap(a, b, len(one.tokens), len(other.tokens))

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def _batch(sequences: list[Sequence], chunks: list[list[int]]) -> Batch:
    slots = [s.slot for s in sequences if s.slot is not None]
    return Batch(sequences, chunks, [s.index for s in slots], [len(s.tokens) for s in slots])
