"""One sequence that is being generated: its tokens and how far it is computed.

Not here: who runs when (scheduler.py), and the rows of the cache (slots.py).
"""

from dataclasses import dataclass, field
from random import Random

from codling.engine.loops import ends_in_loop
from codling.engine.memory.recall import Recall
from codling.engine.penalties import Penalties
from codling.engine.request import FinishReason, SamplingParams
from codling.engine.slots import Slot
from codling.engine.speculate import Speculation
from codling.engine.structured import Constraint
from codling.tokens.healing import Healing

_LOOK_EVERY = 16
"""Tokens after which an answer is looked at for repetition."""


@dataclass(eq=False)
class Sequence:
    """One running request: its tokens, and how many of them are in the cache."""

    prompt_ids: list[int]
    params: SamplingParams
    end_ids: frozenset[int] = frozenset()
    """Tokens that end it."""
    lead: str = ""
    """What the text may begin with that the caller has already (CursorPrompt)."""
    healing: Healing | None = None
    """Allows only tokens with which the text begins with `lead`, where it must."""
    recall: Recall | None = None
    """The memory of the repository that is mixed in, if there is one."""
    speculation: Speculation | None = None
    """Its drafts, where it takes any."""
    constraint: Constraint | None = None
    """Holds the answer to its form, where it has one."""
    slot: Slot | None = None
    """Its row of the cache, while it runs."""
    n_cached: int | None = None
    """Prompt tokens taken over from another sequence; None until it runs."""
    finish_reason: FinishReason | None = None
    repeats: bool = False
    """Whether its last token only repeats the lead, and so does not count for `max_tokens`."""
    n_repeated: int = 0
    """How many such tokens there were."""
    tokens: list[int] = field(init=False)
    penalties: Penalties | None = field(init=False)
    random: Random = field(init=False)
    """Draws one number per sampled token: the same seed, the same numbers, in any batch."""

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt_ids)
        self.penalties = Penalties.of(self.params, self.prompt_ids)
        self.random = Random(self.params.seed)

    @property
    def n_done(self) -> int:
        """How many of the tokens have their keys and values in the slot."""
        assert self.slot is not None
        return len(self.slot.tokens)

    @property
    def n_output(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.prompt_ids)

    def n_left(self, max_length: int) -> int:
        """How many more tokens it may take at least, unless something ends it."""
        n_counted = self.n_output - self.n_repeated
        return min(self.params.max_tokens - n_counted, max_length - len(self.tokens))

    def append(self, token_id: int, max_length: int) -> None:
        """Add a generated token; ends the sequence at an end token or a limit."""
        self.tokens.append(token_id)
        self.repeats = self.healing is not None and self.healing.accept(token_id)
        self.n_repeated += self.repeats
        if self.penalties is not None:
            self.penalties.note(token_id)
        if self.constraint is not None and self.constraint.is_closing:
            if self.constraint.is_closed or len(self.tokens) >= max_length:
                self.finish_reason = "length"
        elif token_id in self.end_ids:
            self.finish_reason = "stop"
        elif self.n_left(max_length) <= 0:
            self.finish_reason = "length"
        elif self.is_looping and self.constraint is None:
            self.finish_reason = "stop"

    @property
    def is_looping(self) -> bool:
        """Whether the answer repeats itself without end, where that is looked for."""
        is_due = self.params.stop_loops and self.n_output % _LOOK_EVERY == 0
        return is_due and ends_in_loop(self.tokens[len(self.prompt_ids) :])
