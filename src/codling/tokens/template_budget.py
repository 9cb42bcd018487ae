"""What the rendering of a foreign chat template may cost: a budget of work, counted, not timed.

Input: the values that a template's operations take and make. Output: nothing, or a TemplateError
once they exceed it. The budget grows with the conversation.

Not here: which operations pay what (template_filters.py, template_sandbox.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from jinja2 import TemplateError, Undefined

_UNITS = 400_000
"""Work that any template may do, about a second; published ones need 20 to 100 units a message."""
_CHARS = 1 << 20
"""Text that any template may make at once, in characters."""
_CHARS_PER_UNIT = 64
MAX_BITS = 4096
"""The largest integer of a template."""


class Budget:
    """What one rendering may still use: units of work (one to two microseconds each), and text."""

    def __init__(self, n_chars: int) -> None:
        """`n_chars`: how much text the conversation holds."""
        self.max_chars = _CHARS + 4 * n_chars
        self._left = _UNITS + n_chars // 2

    def spend(self, units: int) -> None:
        """Take `units`; TemplateError if there are no more."""
        self._left -= units
        if self._left < 0:
            raise TemplateError("it does more work than a chat template needs (an endless loop?)")

    def make(self, n_chars: int) -> None:
        """Take what a text of this length costs; TemplateError if it is too long."""
        if n_chars > self.max_chars:
            raise TemplateError(f"it makes a text of more than {self.max_chars:,} characters")
        self.spend(1 + n_chars // _CHARS_PER_UNIT)

    def look_at(self, value: object) -> None:
        """Take what one pass over the top level of a value costs."""
        if isinstance(value, str):
            self.spend(1 + len(value) // _CHARS_PER_UNIT)
        elif isinstance(value, list | tuple | dict):
            self.spend(1 + len(value))

    def walk(self, value: object, *, written: bool = False) -> int:
        """Take what a pass over all of a value costs; gives about how long it is as text.

        A list that holds another twice is paid twice: that is how it is written and compared. With
        `written` TemplateError for a value that has no text.
        """
        todo: list[object] = [value]
        n_chars = 0
        while todo:
            part = todo.pop()
            if isinstance(part, str):
                n_chars += len(part) + 2
                self.spend(1 + len(part) // _CHARS_PER_UNIT)
                continue
            n_chars += MAX_BITS // 3 if isinstance(part, int) and part.bit_length() > 64 else 24
            self.spend(1)
            if isinstance(part, (list, tuple, *_Views)):
                todo.extend(cast(Iterable[object], part))
            elif isinstance(part, dict):
                todo.extend(part)
                todo.extend(part.values())
            elif written and not isinstance(part, int | float | Undefined | range | None):
                raise TemplateError(f"it writes a {type(part).__name__}, which is not text")
        return n_chars


_Views: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_BUDGET: ContextVar[Budget] = ContextVar("chat template budget")


def budget() -> Budget:
    """The budget of the rendering that runs."""
    return _BUDGET.get()


@contextmanager
def set_budget(n_chars: int) -> Iterator[None]:
    """A budget for one rendering of a conversation of `n_chars` characters."""
    token = _BUDGET.set(Budget(n_chars))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def as_text(value: object) -> str:
    """The text of a value, with its length computed first."""
    if isinstance(value, str):
        return value
    budget().make(budget().walk(value, written=True))
    return str(value)


def bound_parts(parts: Iterable[str]) -> Iterator[str]:
    """The parts of a text; TemplateError as soon as they are too long."""
    n_chars = 0
    for part in parts:
        n_chars += len(part)
        budget().spend(1)
        if n_chars > budget().max_chars:
            budget().make(n_chars)
        yield part
