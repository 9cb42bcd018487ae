"""Compiling under a clock: a line every few seconds, and an end where it takes too long.

Input: a limit in seconds. Output: effects on stderr; CompilingTooLong is raised in the middle of
what runs in the block.

torch.compile works in the main thread for seconds on a quiet machine and for minutes beside other
work. A timer's signal interrupts it there; in another thread nothing can, and nothing is said.

Not here: what is compiled (step.py), and what is done instead.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from codling.core.log import say

_SAY_SECONDS = 5.0


class CompilingTooLong(BaseException):
    """Not an Exception: the compiler catches those, and goes on in another way."""


class CompileWatch:
    """Within the block a line every `every` seconds; after `limit` seconds CompilingTooLong."""

    def __init__(
        self,
        limit: float | None,
        *,
        every: float = _SAY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` None: as long as it takes. `clock` gives seconds."""
        self.limit, self.every, self.clock = limit, every, clock
        self._started = self._said = 0.0
        self._before: Any = None
        self._is_set = False

    def __enter__(self) -> Self:
        self._started = self._said = self.clock()
        # Python runs the handlers of signals in the main thread only.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGALRM, self._look)
            # Again and again: raised within a finaliser, the exception would be lost.
            step = min(1.0, self.every, self.limit or 1.0)
            signal.setitimer(signal.ITIMER_REAL, step, step)
            self._is_set = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            self._is_set = False

    def _look(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        now = self.clock()
        if self.limit is not None and now - self._started >= self.limit:
            raise CompilingTooLong
        if now - self._said >= self.every:
            self._said = now
            most = f", {self.limit:.0f} s at most" if self.limit is not None else ""
            say(f"compiling the model: {now - self._started:.0f} s{most}")
