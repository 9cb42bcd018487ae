"""The memory at work in one request: before each token it changes the logits, afterwards it notes
the token; and it proposes what may come next.

Input: the ids of a prompt, whose text is the open file. Output: changed logits, drafts, and the
places that the answer was taken from.

Not here: the search (index.py, open_text.py) and the weights (mixture.py).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codling.engine.draft import NO_DRAFT, TokenDraft
from codling.engine.memory.index import Continuations
from codling.engine.memory.mixture import mix_into
from codling.engine.memory.open_text import OpenText
from codling.engine.memory.repository import Memory
from codling.engine.request import Origin


class Recall:
    """The memory as one request uses it."""

    def __init__(self, memory: Memory, prompt_ids: Sequence[int], max_tokens: int) -> None:
        """`max_tokens`: how many may be generated."""
        self._memory = memory.snapshot()
        self._text = OpenText(prompt_ids, memory.tokenizer.specials, max_tokens)
        self._found: tuple[Continuations, Continuations] | None = None
        self._leaders: dict[int, int] = {}
        self._places: list[int | None] = []

    def mix(self, logits_V: NDArray[np.float32]) -> None:
        """Make a row of logits that of the mixture, in place."""
        tree, own = self._matches()
        leaders = mix_into(logits_V, tree, own, self._memory.weights)
        from_tree = dict(zip(tree.ids.tolist(), tree.places.tolist(), strict=True))
        self._leaders = {i: from_tree[i] for i in leaders.tolist() if i in from_tree}

    def accept(self, token_id: int) -> None:
        """Note the token that was chosen."""
        self._text.append(token_id)
        self._found = None
        self._places.append(self._leaders.get(token_id))

    def propose(self, tokens: Sequence[int], n: int) -> TokenDraft:
        """As DraftSource: what followed where the mixture gives one token most."""
        for token_id in tokens[self._text.n_tokens :]:
            self.accept(token_id)
        tree, own = self._matches()
        w, v = self._memory.weights.of(tree, own)
        in_tree = ((1 - v) * w * tree.unanimity, tree.length)
        in_text = (v * own.unanimity, own.length)
        match, read = (own, self._text.read)
        if in_tree > in_text:
            match, read = (tree, self._memory.read)
        if not match.length:
            return NO_DRAFT
        return TokenDraft(read(match.likeliest, n), match.length, match.unanimity == 1.0)

    def origins(self) -> tuple[Origin, ...]:
        """The lines of the repository that the answer's tokens came from, each once, in order."""
        found = (self._memory.locate(p) for p in self._places if p is not None)
        return tuple(dict.fromkeys(found))

    def _matches(self) -> tuple[Continuations, Continuations]:
        """What followed the context in the repository and in the text; searched once per token."""
        if self._found is None:
            self._found = self._memory.recall(self._text.context()), self._text.recall()
        return self._found
