"""The memory at work in one request: before each token it changes the logits, afterwards it notes
the token.

Input: the ids of a prompt. The text before the cursor is the context; all text of the prompt is
the open file. In an insertion prompt the marks separate the parts. Output: changed logits, and
the places that the answer was taken from.

Not here: the search (index.py) and the weights (mixture.py).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codling.engine.memory.index import MAX_MATCH, recall_in_text
from codling.engine.memory.mixture import mix_into
from codling.engine.memory.repository import Memory
from codling.engine.request import Origin
from codling.tokens.tokenizer import SpecialTokens

_BORDER = -1
"""Separates parts of the open file that are not contiguous."""


class Recall:
    """The memory as one request uses it."""

    def __init__(self, memory: Memory, prompt_ids: Sequence[int], max_tokens: int) -> None:
        """`max_tokens`: how many may be generated."""
        before, after = split_prompt(prompt_ids, memory.tokenizer.specials)
        text = [*after, _BORDER, *before]
        self._memory = memory.snapshot()
        self._text = np.full(len(text) + max_tokens + 1, _BORDER, np.int64)
        self._text[: len(text)] = text
        self._n = len(text)
        self._first = len(after) + 1
        self._leaders: dict[int, int] = {}
        self._places: list[int | None] = []

    def mix(self, logits_V: NDArray[np.float32]) -> None:
        """Make a row of logits that of the mixture, in place."""
        start = max(self._first, self._n - MAX_MATCH)
        tree = self._memory.recall(self._text[start : self._n])
        own = recall_in_text(self._text, self._n, _BORDER)
        leaders = mix_into(logits_V, tree, own, self._memory.weights)
        from_tree = dict(zip(tree.ids.tolist(), tree.places.tolist(), strict=True))
        self._leaders = {i: from_tree[i] for i in leaders.tolist() if i in from_tree}

    def accept(self, token_id: int) -> None:
        """Note the token that was chosen."""
        self._text[self._n] = token_id
        self._n += 1
        self._places.append(self._leaders.get(token_id))

    def origins(self) -> tuple[Origin, ...]:
        """The lines of the repository that the answer's tokens came from, each once, in order."""
        found = (self._memory.locate(p) for p in self._places if p is not None)
        return tuple(dict.fromkeys(found))


def split_prompt(ids: Sequence[int], specials: SpecialTokens) -> tuple[list[int], list[int]]:
    """The text before the cursor, and all other text of an insertion prompt.

    >>> marks = SpecialTokens(bos=0, fim_begin=1, fim_hole=2, fim_end=3)
    >>> split_prompt([0, 1, 10, 11, 2, 20, 3], marks)
    ([10, 11], [20])
    >>> split_prompt([0, 1, 2, 20, 3, 10, 11], marks)
    ([10, 11], [20])
    >>> split_prompt([0, 10], marks)
    ([10], [])
    """
    ids = [i for i in ids if i != specials.bos]
    begin, hole, end = specials.fim_begin, specials.fim_hole, specials.fim_end
    if begin is None or begin not in ids or hole not in ids or end not in ids:
        return ids, []
    at_hole, at_end = ids.index(hole), ids.index(end)
    prefix, suffix = ids[ids.index(begin) + 1 : at_hole], ids[at_hole + 1 : at_end]
    return (ids[at_end + 1 :] or prefix), suffix
