"""Newest wins: an editor that asks again no longer wants the answer to its earlier question.

Input: the session's name (header X-Codling-Session, or the field `user`). Output: the older run
cancelled. Only insertions take part: completions and dialogues of one user may well run side by
side.

Not here: how a run ends (run.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Supersedable(Protocol):
    """A run that a newer one can end."""

    def supersede(self) -> None:
        """End with an error that says why."""
        ...


class Sessions:
    """The one running insertion of each session."""

    def __init__(self) -> None:
        self._running: dict[str, Supersedable] = {}

    def __len__(self) -> int:
        return len(self._running)

    @contextmanager
    def supersede_older(self, session: str | None, run: Supersedable) -> Iterator[None]:
        """Inside the block `run` is the session's newest; what ran before it is cancelled."""
        if session is None:
            yield
            return
        if older := self._running.get(session):
            older.supersede()
        self._running[session] = run
        try:
            yield
        finally:
            if self._running.get(session) is run:
                del self._running[session]
