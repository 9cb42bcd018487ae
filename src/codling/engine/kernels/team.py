"""A team of threads that runs one compiled loop together, with as many threads as is fastest at the
moment.

Not here: the loops (decode_cpu.py).
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


class Team:
    """Threads that run one compiled function together; the caller is the first of them."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._work: Callable[[int], None] | None = None
        self._starts = [threading.Semaphore(0) for _ in range(n_threads - 1)]
        for thread in range(1, n_threads):
            threading.Thread(
                target=self._help, args=(thread,), name="codling-decode", daemon=True
            ).start()

    def run(self, work: Callable[[int], None], n_threads: int) -> None:
        """Call `work(thread)` on `n_threads` threads; it must end with a barrier."""
        self._work = work
        for start in self._starts[: n_threads - 1]:
            start.release()
        work(0)

    def close(self) -> None:
        """End the helper threads."""
        self._work = None
        for start in self._starts:
            start.release()

    def _help(self, thread: int) -> None:
        start = self._starts[thread - 1]
        while True:
            start.acquire()
            work = self._work
            if work is None:
                return
            work(thread)
            del work
