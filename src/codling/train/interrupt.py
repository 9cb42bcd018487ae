"""Graceful stop: SIGTERM and Ctrl-C become a request that the loop obeys between two steps.

Not here: what the loop does then (trainer.py).
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignal:
    """Within the block the first SIGTERM or SIGINT is noted; a second one acts at once."""

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop after this step."""
        return self._received is not None

    @property
    def exit_code(self) -> int:
        """The shell's convention: 128 + the signal."""
        return 128 + (self._received or 0)

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread only; elsewhere nothing can be set.
        if threading.current_thread() is threading.main_thread():
            for number in self._SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
