"""A team of threads that runs one compiled loop together, with as many threads as is fastest at the
moment.

Input: a function that releases the interpreter's lock. Not here: the loops (model/packed, engine/).
"""

import threading
from collections.abc import Callable

_TRY_EVERY = 32


class Pace:
    """All threads or one? On a busy machine threads wait for each other: measured times decide.

    The slower choice is tried again from time to time. The result of a step does not depend on it:
    each sum is made by one thread, in one order.
    """

    def __init__(self, n_threads: int) -> None:
        self._seconds = {n_threads: 0.0, 1: 0.0}
        self._n_steps = 0

    def choose(self) -> int:
        """How many threads to use for the next step."""
        best, *others = sorted(self._seconds, key=lambda n: self._seconds[n])
        self._n_steps += 1
        return others[0] if others and self._n_steps % _TRY_EVERY == 0 else best

    def record(self, n_threads: int, seconds: float) -> None:
        """Note how long a step took: a faster time counts at once, slower ones gradually."""
        before = self._seconds[n_threads] or seconds
        self._seconds[n_threads] = min(seconds, 0.75 * before + 0.25 * seconds)


Work = Callable[[int, int], None]
"""Called with the number of the thread, from 0, and how many there are."""


class Team:
    """Threads that run one compiled function together; the caller is the first of them.

    While one caller has them, another one works alone.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._work: tuple[Work, int] | None = None
        self._is_taken = threading.Lock()
        self._starts = [threading.Lock() for _ in range(n_threads - 1)]
        for thread, start in enumerate(self._starts, 1):
            start.acquire()
            threading.Thread(
                target=self._help, args=(thread, start), name="codling-team", daemon=True
            ).start()

    def run(self, work: Work, n_threads: int) -> None:
        """Call `work(thread, n)` on n threads, at most `n_threads`; for more than one it must end
        with a barrier."""
        if n_threads == 1 or not self._is_taken.acquire(blocking=False):
            work(0, 1)
            return
        try:
            self._work = (work, n_threads)
            for start in self._starts[: n_threads - 1]:
                start.release()
            work(0, n_threads)
        finally:
            self._is_taken.release()

    def close(self) -> None:
        """End the helper threads."""
        with self._is_taken:
            self._work = None
            for start in self._starts:
                start.release()

    def _help(self, thread: int, start: threading.Lock) -> None:
        while True:
            start.acquire()
            if self._work is None:
                return
            work, n_threads = self._work
            work(thread, n_threads)
            del work
