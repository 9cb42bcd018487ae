"""Which tokens of which sequences the model computes next.

Input: sequences (a prompt and what was generated for it). Output: batches for the runner. Sequences
join, oldest first, as slots of the cache come free, and leave between any two steps. Long prompts
are computed in chunks, so that running streams wait for one chunk at most. Where running sequences
outgrow the cache's memory, the youngest of them waits again, with all that it has generated, and
goes on later.

Not here: which slot a sequence takes (slots.py), the model (runner.py), the choice of a token
(sampler.py), text and stops (stream.py).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from codling.engine.reserved import CacheShape
from codling.engine.sequence import Sequence
from codling.engine.slots import Move, SlotTable


@dataclass(frozen=True)
class Batch:
    """One call of the model: row i feeds `chunks[i]` to the slot of `sequences[i]`."""

    sequences: list[Sequence]
    chunks: list[list[int]]
    rows: list[int]
    """The cache row of each sequence."""
    starts: list[int]
    """How many tokens the row holds before the chunk."""
    n_drafted: list[int]
    """How many tokens at the end of each chunk are a draft, not yet part of the sequence."""

    def split(self) -> "Iterator[Batch]":
        """Its rows, each as a batch of its own."""
        columns = self.sequences, self.chunks, self.rows, self.starts, self.n_drafted
        for s, chunk, row, start, n_drafted in zip(*columns, strict=True):
            yield Batch([s], [chunk], [row], [start], [n_drafted])

    @property
    def ready(self) -> list[int]:
        """Which sequences await a token after this batch: their chunk is their last."""
        return [
            i
            for i, sequence in enumerate(self.sequences)
            if self.starts[i] + len(self.chunks[i]) >= len(sequence.tokens)
        ]

    @property
    def wanted(self) -> list[list[int]]:
        """The places in each chunk after which logits are needed: of ready ones, the last token of
        the sequence and the draft."""
        ready = set(self.ready)
        ends = map(len, self.chunks)
        pairs = enumerate(zip(ends, self.n_drafted, strict=True))
        return [list(range(end - 1 - n, end)) if i in ready else [] for i, (end, n) in pairs]

    @property
    def is_decoding(self) -> bool:
        """Whether each sequence only awaits the token after its last one."""
        return all(len(chunk) == 1 for chunk in self.chunks)

    def extend(self, drafts: list[list[int]]) -> "Batch":
        """The same with tokens after each chunk that may come next."""
        chunks = [chunk + draft for chunk, draft in zip(self.chunks, drafts, strict=True)]
        return replace(self, chunks=chunks, n_drafted=[len(draft) for draft in drafts])


class Scheduler:
    """The sequences that wait and those that run."""

    def __init__(self, shape: CacheShape, *, chunk: int = 256, budget: int = 1024) -> None:
        """`chunk`: prompt tokens per sequence and step; `budget`: per step in all, with padding."""
        self.max_length = shape.max_length
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.n_preempted = 0
        """How often a running sequence had to wait again."""
        self._chunk = chunk
        self._budget = budget
        self._table = SlotTable(shape)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; it joins when a slot is free."""
        assert 0 < len(sequence.tokens) < self.max_length
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out at once, waiting or running; its slot is free from now on."""
        if sequence in self.running:
            self.running.remove(sequence)
            assert sequence.slot is not None
            self._table.give_back(sequence.slot)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def forget(self) -> list[Sequence]:
        """Drop all sequences after an error, when rows may be half written; returns them."""
        dropped = [*self.running, *self.waiting]
        self.running.clear()
        self.waiting.clear()
        self._table.clear()
        return dropped

    def admit(self) -> None:
        """Let waiting sequences join, oldest first."""
        while self.waiting and (placing := self._table.take(self.waiting[0].tokens)):
            sequence = self.waiting.popleft()
            sequence.slot = placing.slot
            if sequence.n_cached is None:
                sequence.n_cached = placing.n_cached
            self.running.append(sequence)
        self._table.arrange()

    def schedule(self) -> list[Batch]:
        """The next batches: a chunk of the unfinished prompts, then one token for all others."""
        for sequence in list(self.running):
            while sequence in self.running and not self.make_room(sequence, 1):
                self._preempt(self.running[-1])
        prompts = [s for s in self.running if len(s.tokens) - s.n_done > 1]
        singles = [s for s in self.running if len(s.tokens) - s.n_done == 1]
        batches = []
        if prompts:
            batches.append(self._prompt_batch(prompts))
        if singles:
            batches.append(_batch(singles, [s.tokens[-1:] for s in singles]))
        return batches

    def make_room(self, sequence: Sequence, n_tokens: int) -> bool:
        """Promise a running sequence memory for so many tokens more; False if there is none."""
        assert sequence.slot is not None
        return self._table.grow(sequence.slot, n_tokens)

    def take_moves(self) -> list[Move]:
        """What must be moved in the cache before the next batch is run."""
        return self._table.take_moves()

    def record(self, batch: Batch) -> None:
        """Note that the tokens of the batch are in the cache."""
        for sequence, chunk in zip(batch.sequences, batch.chunks, strict=True):
            assert sequence.slot is not None
            sequence.slot.tokens.extend(chunk)

    def cut(self, sequence: Sequence) -> None:
        """Forget what the cache holds of a draft beyond the tokens of the sequence."""
        assert sequence.slot is not None
        del sequence.slot.tokens[max(0, len(sequence.tokens) - 1) :]

    def _preempt(self, sequence: Sequence) -> None:
        """Let a running sequence wait again, before all others."""
        assert sequence.slot is not None
        self.running.remove(sequence)
        self._table.give_back(sequence.slot)
        sequence.slot = None
        self.waiting.appendleft(sequence)
        self.n_preempted += 1

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


def _batch(sequences: list[Sequence], chunks: list[list[int]]) -> Batch:
    slots = [s.slot for s in sequences if s.slot is not None]
    rows, starts = [s.index for s in slots], [len(s.tokens) for s in slots]
    return Batch(sequences, chunks, rows, starts, n_drafted=[0] * len(chunks))
