"""Which process the others waited for, when an operation of all of them fails.

Input: a folder that all processes see. Each one that gives up notes it there; those that have not
are the ones that hang.

Not here: processes that die: torchrun ends and restarts the others.
"""

import os
import re
import time
from pathlib import Path
from threading import Timer

from codling.core.errors import CodlingError
from codling.core.files import make_folder
from codling.train.parallel.ranks import Ranks

_LOST = re.compile(
    r"timed? ?out|connection (closed|reset)|gloo|nccl|process ?group|watchdog", re.IGNORECASE
)
_GIVEN_UP = "given up"
_PATIENCE_SECONDS = 10.0
"""How long the first process to give up waits for the others to do so."""
_LAST_SECONDS = 5.0
"""How long it may take to end after that, its message included."""


class RankWatch:
    """Who has given up."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self._folder, self._ranks = folder, ranks
        if ranks.n_ranks > 1:
            make_folder(folder)
            self._path(ranks.rank).write_text("at work", encoding="utf-8")

    def explain(self, error: RuntimeError, step: int) -> RuntimeError | CodlingError:
        """The error at `step` with the names of those that hang; another kind of error as it is."""
        if self._ranks.n_ranks == 1 or not _LOST.search(str(error)):
            return error
        self._path(self._ranks.rank).write_text(_GIVEN_UP, encoding="utf-8")
        ends = time.monotonic() + _PATIENCE_SECONDS
        while len(hanging := self._not_given_up()) > 1 and time.monotonic() < ends:
            time.sleep(0.1)
        names = ", ".join(f"rank {rank}" for rank in hanging) or "no rank"
        return CodlingError(
            f"rank {self._ranks.rank} waited in vain at step {step}: {names} did not answer; look "
            "at that process or its machine, then run the same command again, it resumes"
        )

    def _not_given_up(self) -> list[int]:
        return [r for r in range(self._ranks.n_ranks) if self._read(r) != _GIVEN_UP]

    def _read(self, rank: int) -> str:
        path = self._path(rank)
        return path.read_text(encoding="utf-8") if path.is_file() else "?"

    def _path(self, rank: int) -> Path:
        return self._folder / f"rank-{rank}"


def end_soon(seconds: float = _LAST_SECONDS) -> None:
    """End this process then, at the latest.

    A thread that saves may still wait for the rank that hangs; Python would wait for the thread,
    and torchrun for the process.
    """
    timer = Timer(seconds, os._exit, (2,))
    timer.daemon = True
    timer.start()
