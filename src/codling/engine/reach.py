"""How far a prompt at a cursor reaches: into the text around it, and into other files.

Input: settings, and where the model runs. Output: tokens of a prompt at most, and what it takes of
the text after the cursor. A CPU reads some hundred tokens a second, a context of 32,768 in minutes;
so prompts of editors are short there, whatever the model could take.

Not here: which files are shown (corpus/context.py) and where a prompt is cut (tokens/fim.py).
"""

from dataclasses import dataclass
from typing import Self

from codling.engine.config import ContextReach, SuffixReach
from codling.tokens.fim import near_suffix
from codling.tokens.tokenizer import Tokenizer

_CONTEXT_ON_CPU = 2_048
_SUFFIX_ON_CPU = 256


@dataclass(frozen=True)
class CursorReach:
    """Tokens of a prompt at a cursor, and of what follows the cursor in PSM; None: all that fit."""

    context_tokens: int | None = None
    suffix_tokens: int | None = None

    @classmethod
    def of(cls, context: ContextReach, suffix: SuffixReach, *, on_cpu: bool) -> Self:
        """What the settings say; "auto" is 2,048 and 256 where our engine runs on a CPU."""
        return cls(
            (_CONTEXT_ON_CPU if on_cpu else None) if context == "auto" else context,
            (_SUFFIX_ON_CPU if on_cpu else None) if suffix == "auto" else suffix,
        )

    def count_room(self, max_length: int, max_tokens: int) -> int:
        """Tokens that a prompt may have if the answer has `max_tokens`, or half of all."""
        room = max_length - max(1, min(max_tokens, max_length // 2))
        return room if self.context_tokens is None else min(room, self.context_tokens)

    def cut_suffix(self, tokenizer: Tokenizer, suffix: str) -> str:
        """What a prompt takes of the text after the cursor."""
        return near_suffix(tokenizer, suffix, self.suffix_tokens)
