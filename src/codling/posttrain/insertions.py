"""Insertion tasks among the dialogues, so that a tuned model still inserts.

Input: the labelled documents of dialogues. Output: so many insertion tasks that they are a given
share of all documents, in the model's own FIM format; each is cut from the code of an answer (its
longest fenced block, or all of it where it has none). The middle counts, and the token that ends
it; what is given to a model that inserts does not.

Not here: the format (tokens/fim.py), and how documents share windows (windows.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from codling.core.errors import ConfigError
from codling.core.ranges import ProperShare
from codling.grading.fences import find_blocks
from codling.tokens.dialogue_files import LabelledStream
from codling.tokens.fim import Draw, make_task
from codling.tokens.spans import Spans
from codling.tokens.tokenizer import Tokenizer

_MIN_TOKENS = 16
"""Shorter texts are not cut."""
_OVERHEAD = 5
"""bos, three marks, eos."""
_LINE_SHARE = 0.5


@dataclass(frozen=True)
class Tasks:
    """Insertion tasks as documents."""

    stream: LabelledStream
    n_counted: int
    n_bytes: int
    """Of the counted tokens."""


def make_insertions(
    stream: LabelledStream, tokenizer: Tokenizer, share: ProperShare, context: int, seed: int
) -> Tasks:
    """As many tasks as are `share` of all documents with them, none longer than `context`.

    Answers take turns in a drawn order; where more tasks are wanted than there are answers, each
    gives several. Raises ConfigError if the model cannot insert, or no answer can be cut.
    """
    if not tokenizer.can_insert:
        raise ConfigError(
            "fim_rate needs a model that inserts, and this one has no FIM tokens; set fim_rate to 0"
        )
    n_tasks = round(share / (1 - share) * len(stream.starts))
    texts = [
        ids
        for text in _texts(stream, tokenizer)
        if len(ids := tokenizer.encode(text)) >= _MIN_TOKENS
    ]
    if not texts and n_tasks:
        raise ConfigError("no answer is long enough for an insertion task; set fim_rate to 0")
    Random(f"{seed}/insertions").shuffle(texts)
    documents: list[tuple[list[int], int]] = []
    for number in range(n_tasks):
        made = _task(texts[number % len(texts)], tokenizer, context, Random(f"{seed}/{number}"))
        documents += [] if made is None else [made]
    return _join(documents, tokenizer, stream.ids.dtype)


def join_streams(first: LabelledStream, second: LabelledStream) -> LabelledStream:
    """Both streams as one."""
    return LabelledStream(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.counted, second.counted]),
        np.concatenate([first.starts, second.starts + len(first.ids)]),
        np.concatenate([first.lengths, second.lengths]),
    )


def _texts(stream: LabelledStream, tokenizer: Tokenizer) -> Iterator[str]:
    """The code of every answer, in order."""
    for start, length in zip(stream.starts.tolist(), stream.lengths.tolist(), strict=True):
        counted = stream.counted[start : start + length].astype(np.int8)
        borders = np.flatnonzero(np.diff(counted, prepend=0, append=0)).tolist()
        for begin, end in zip(borders[::2], borders[1::2], strict=True):
            text = tokenizer.decode(stream.ids[start + begin : start + end].tolist())
            blocks = find_blocks(text) if "```" in text or "~~~" in text else []
            yield max((block.code for block in blocks), key=len, default=text)


def _task(
    ids: Sequence[int], tokenizer: Tokenizer, context: int, rng: Random
) -> tuple[list[int], int] | None:
    """A task of at most `context` tokens and the length of its prompt; None if there is none."""
    spm_share = 1.0 if tokenizer.fim_mode == "spm" else 0.0
    draw = Draw.of(rng, spm_share, _LINE_SHARE)
    size = min(len(ids), context - _OVERHEAD)
    while size > 0:
        made = make_task(tokenizer, Spans(tokenizer, ids[:size]), draw)
        if made is None or len(made[0]) <= context:
            return made
        size -= len(made[0]) - context
    return None


def _join(documents: Sequence[tuple[list[int], int]], tokenizer: Tokenizer, dtype: object) -> Tasks:
    lengths = np.array([len(ids) for ids, _ in documents], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    ids = np.array([i for document, _ in documents for i in document], dtype=dtype)  # type: ignore[call-overload]
    counted = np.zeros(len(ids), dtype=np.bool_)
    for start, length, (_, n_prompt) in zip(starts, lengths, documents, strict=True):
        counted[start + n_prompt : start + length] = True
    n_bytes = int(tokenizer.token_lengths[ids[counted]].sum())
    return Tasks(LabelledStream(ids, counted, starts, lengths), int(counted.sum()), n_bytes)
