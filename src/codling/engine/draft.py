"""Drafts: tokens that may come next in a sequence, guessed without the model.

Input: the tokens of a sequence. Output: a guess, and how good its source is. A guess only saves
time: speculate.py says how much of it is tried, and the model decides (engine.py).

Not here: the sources themselves (memory/open_text.py, memory/recall.py).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class TokenDraft(NamedTuple):
    """Tokens that followed the end of a sequence elsewhere."""

    tokens: Sequence[int]
    n_matched: int
    """How many tokens before them are the same there."""
    is_unanimous: bool
    """Whether all places that match go on with the first of them."""


NO_DRAFT = TokenDraft((), 0, False)


class DraftSource(Protocol):
    """Proposes what may come next in one sequence."""

    def propose(self, tokens: Sequence[int], n: int) -> TokenDraft:
        """At most `n` tokens that may follow `tokens`: the prompt and all that was generated."""
