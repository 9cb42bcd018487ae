"""The text that is being written: what stands around the cursor, and what was generated so far.

Input: the ids of a prompt, then each token. Output: what followed the same tokens further up, as a
memory for the mixture and as a source of drafts (prompt lookup). The text before the cursor is the
context; in an insertion prompt the marks separate the parts, and no match crosses them.

Not here: the repository (repository.py).
"""

from collections.abc import Sequence

import numpy as np

from codling.engine.draft import NO_DRAFT, TokenDraft
from codling.engine.memory.index import MAX_MATCH, Continuations, recall_in_text
from codling.engine.memory.kernels import Ids
from codling.tokens.tokenizer import SpecialTokens

_BORDER = -1
"""Separates parts of the text that are not contiguous."""


class OpenText:
    """The ids of one request's text."""

    def __init__(self, prompt_ids: Sequence[int], specials: SpecialTokens, room: int) -> None:
        """`room`: how many tokens may be generated."""
        before, after = split_prompt(prompt_ids, specials)
        text = [*after, _BORDER, *before]
        self._text = np.full(len(text) + room + 1, _BORDER, np.int64)
        self._text[: len(text)] = text
        self._n, self._first = len(text), len(after) + 1
        self._n_prompt = len(prompt_ids)
        self.n_tokens = self._n_prompt
        """Tokens of the sequence that it has taken, the prompt's included."""

    def append(self, token_id: int) -> None:
        """Take the token that was chosen."""
        self._text[self._n] = token_id
        self._n += 1
        self.n_tokens += 1

    def context(self) -> Ids:
        """The last tokens before the cursor, as many as may match."""
        return self._text[max(self._first, self._n - MAX_MATCH) : self._n]

    def recall(self) -> Continuations:
        """What followed the longest match of the context further up, or after the cursor."""
        return recall_in_text(self._text, self._n, _BORDER)

    def read(self, place: int, n: int) -> list[int]:
        """At most `n` tokens from a place that `recall` gave; text that repeats itself goes on so.

        >>> text = OpenText([5, 6, 5, 6], SpecialTokens(), room=9)
        >>> text.read(int(text.recall().places[0]), 5)
        [5, 6, 5, 6, 5]
        """
        period = self._n - place
        found: list[int] = self._text[place : min(place + n, self._n)].tolist()
        if _BORDER in found:
            return found[: found.index(_BORDER)]
        return [found[i % period] for i in range(n)]


class PromptLookup:
    """Proposes what followed the same tokens further up in the text."""

    def __init__(self, text: OpenText) -> None:
        self._text = text

    def propose(self, tokens: Sequence[int], n: int) -> TokenDraft:
        """As DraftSource."""
        for token_id in tokens[self._text.n_tokens :]:
            self._text.append(token_id)
        found = self._text.recall()
        if not found.length:
            return NO_DRAFT
        return TokenDraft(self._text.read(found.likeliest, n), found.length, found.unanimity == 1.0)


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
