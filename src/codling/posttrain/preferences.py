"""Preferences: of two answers to one question, which is the better one.

Input: JSON rows with chosen and rejected, as people have them:

    prompt (or instruction with input, question) with chosen and rejected as texts
    conversations or messages with chosen and rejected as one message each (LLaMA-Factory)
    the same with all three as lists of messages
    chosen and rejected as whole conversations (UltraFeedback)

Output: Pairs, whose batches are a pure function of their number. Rows 2i and 2i + 1 of a batch are
the chosen and the rejected answer to question i; of either only the last answer counts.

Not here: the loss (dpo.py), and how messages become tokens (tokens/dialogue_labels.py).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codling.core.errors import SourceError
from codling.core.log import say
from codling.posttrain.windows import Windows
from codling.tokens.dataset import EpochOrders
from codling.tokens.dialogue_files import LabelledStream
from codling.tokens.dialogue_labels import DialogueEncoder, Labelled
from codling.tokens.dialogue_rows import (
    Dialogue,
    RowError,
    explain_loss,
    number_rows,
    read_dialogue,
    read_question,
)
from codling.train.loader import Batch
from codling.train.parallel.ranks import Ranks

_ASKED = ("prompt", "instruction", "question", "conversations", "messages")
LabelledPair = tuple[Labelled, Labelled]
"""The chosen and the rejected document."""


class Pairs:
    """Labelled pairs in batches."""

    def __init__(self, pairs: Sequence[LabelledPair], context: int, filler: int, seed: int) -> None:
        """Batches are as long as their longest document, rounded up to an eighth of `context`."""
        documents = [document for pair in pairs for document in pair]
        lengths = np.array([len(document.ids) for document in documents], dtype=np.int64)
        stream = LabelledStream(
            np.array([i for document in documents for i in document.ids], dtype=np.int64),
            np.array([c for document in documents for c in document.counted], dtype=np.bool_),
            np.cumsum(lengths) - lengths,
            lengths,
        )
        self._windows = Windows(stream, context, filler, seed, packing=False, group=1)
        self._n, self._orders = len(pairs), EpochOrders(seed)

    def __len__(self) -> int:
        return self._n

    def batch(self, pairs: Sequence[int]) -> Batch:
        """Inputs and targets of these pairs, two rows each."""
        rows = [row for pair in pairs for row in (2 * pair, 2 * pair + 1)]
        inputs, targets, _ = self._windows.batch(rows)
        return inputs, targets

    def micro_batch(self, number: int, batch_size: int, ranks: Ranks) -> Batch:
        """This rank's part of micro-batch `number`, which has `batch_size` pairs in all."""
        places = (divmod(i, self._n) for i in range(number * batch_size, (number + 1) * batch_size))
        pairs = [int(self._orders.order(epoch, self._n)[place]) for epoch, place in places]
        return self.batch(pairs[ranks.rows(batch_size)])


def read_pairs(
    files: Sequence[Path], encoder: DialogueEncoder, heldout_share: float, seed: int
) -> tuple[list[LabelledPair], list[LabelledPair]]:
    """The pairs to train on and those held out, by their question; left-out rows are counted, said.

    Raises SourceError if no row can be used.
    """
    train: list[LabelledPair] = []
    heldout: list[LabelledPair] = []
    reasons: Counter[str] = Counter()
    for file in files:
        for number, row in number_rows(file):
            try:
                chosen, rejected = read_pair(row)
                pair = (encoder.last_answer(chosen), encoder.last_answer(rejected))
            except RowError as error:
                reasons[error.reason] += 1
                if reasons[error.reason] == 1:
                    say(f"left out: {file} line {number}, {error} (and all that are like it)")
                continue
            question = f"{seed}{chosen.messages[:-1]}".encode()
            place = int.from_bytes(hashlib.sha256(question).digest()[:7]) / (1 << 56)
            (heldout if place < heldout_share else train).append(pair)
    if reasons:
        say("rows left out: " + ", ".join(f"{n:,} {reason}" for reason, n in reasons.items()))
    if not train:
        why = explain_loss(reasons)
        if heldout:
            why = f"all {len(heldout):,} pairs that stay are held out: lower --heldout-share"
        raise SourceError(f"no row of {files[0]} can be learnt; {why}")
    return train, heldout


def read_pair(row: object) -> tuple[Dialogue, Dialogue]:
    """The two dialogues of a row; RowError if it has none.

    >>> read_pair({"prompt": "1+1?", "chosen": "2", "rejected": "3"})[0].messages[-1]["content"]
    '2'
    """
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError("not-an-object", type(row).__name__)
    chosen, rejected = (_read_side(row, side) for side in ("chosen", "rejected"))
    if chosen.messages[:-1] != rejected.messages[:-1]:
        raise RowError("two-questions", "chosen and rejected answer different questions")
    if chosen.messages[-1] == rejected.messages[-1]:
        raise RowError("equal-answers", "chosen and rejected are the same")
    return chosen, rejected


def _read_side(row: Mapping[str, Any], side: str) -> Dialogue:
    said = row.get(side)
    ask = next((key for key in _ASKED if isinstance(row.get(key), str | list)), None)
    asked = None if ask is None else row[ask]
    system = row.get("system")
    if isinstance(said, list):
        turns = [*asked, *said] if isinstance(asked, list) else said
    elif asked is not None and isinstance(said, str | Mapping):
        answer = said if isinstance(said, Mapping) else {"role": "assistant", "content": said}
        if isinstance(asked, str):
            asked, system = read_question(row, str(ask)), None
        turns = [*asked, answer]
    else:
        raise RowError("unknown-shape", f"its keys are {', '.join(sorted(map(str, row)))}"[:200])
    return read_dialogue({"messages": turns, "system": system, "tools": row.get("tools")})
