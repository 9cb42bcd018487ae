"""Many boxes at once: untrusted programs in, verdicts out, as fast as the machine allows.

Input: jobs, or just Python programs. Output: replies or outcomes, in order of completion or of
input. Not here: one box (box.py), and other languages than Python (toolchains.py).
"""

import functools
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from codling.core.threads import available_cores
from codling.sandbox.box import Box, Job, Reply, Step
from codling.sandbox.interpreter import Interpreter
from codling.sandbox.limits import Limits
from codling.sandbox.outcome import Outcome, judge


class Pool:
    """`workers` boxes, each started when there is work for it; use it in a `with` block."""

    def __init__(  # noqa: PLR0913 - what every box is made with
        self,
        workers: int = 0,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        unsafe: bool = False,
        shown: Sequence[Path] = (),
        preload: Sequence[str] = (),
        python: Interpreter | None = None,
    ) -> None:
        """`workers` 0: as many as the cores that we may use."""
        self._make = functools.partial(
            Box, limits=limits, unsafe=unsafe, shown=shown, preload=preload, python=python
        )
        self.workers = workers or available_cores()
        self._idle: list[Box] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for box in self._idle:
            box.kill()  # all at once: what follows waits for their ends
        for box in self._idle:
            box.close()
        self._idle.clear()

    def run(self, job: Job) -> Reply:
        """Run one job in an idle box, or a new one; threads may call this at the same time."""
        with self._box() as box:
            return box.run(job)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Reply]]:
        """Run all jobs; pairs of index and reply, as they come."""
        waiting = _SharedQueue(jobs, self.workers)
        done: SimpleQueue[tuple[int, Reply] | Future[None]] = SimpleQueue()

        def work() -> None:
            with self._box() as box:
                for pair in box.stream(waiting.take):
                    done.put(pair)

        n_running = min(self.workers, len(waiting))
        with ThreadPoolExecutor(max(1, n_running)) as threads:
            for _ in range(n_running):
                threads.submit(work).add_done_callback(done.put)
            try:
                while n_running:
                    item = done.get()
                    if isinstance(item, Future):
                        n_running -= 1
                        item.result()  # raises what the thread raised
                    else:
                        yield item
            finally:
                waiting.clear()

    @contextmanager
    def _box(self) -> Iterator[Box]:
        with self._lock:
            box = self._idle.pop() if self._idle else self._make()
        try:
            yield box
        finally:
            with self._lock:
                self._idle.append(box)


class _SharedQueue:
    """The queue of jobs that several boxes take from."""

    def __init__(self, jobs: Iterable[Job], n_boxes: int) -> None:
        self._jobs = deque(enumerate(jobs))
        self._n_boxes = n_boxes
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def take(self, ahead: bool) -> tuple[int, Job] | None:
        """The next job; `ahead` of time only while there are more jobs than boxes."""
        with self._lock:
            return self._jobs.popleft() if len(self._jobs) > ahead * self._n_boxes else None

    def clear(self) -> None:
        """Drop all remaining jobs."""
        with self._lock:
            self._jobs.clear()


def check_python(
    programs: Sequence[str],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    workers: int = 0,
    unsafe: bool = False,
) -> list[Outcome]:
    """The verdict on each Python program, in order: it passes if it runs to its end without an
    exception."""
    jobs = [Job(steps=(Step(code=program, limits=limits),)) for program in programs]
    outcomes: list[Outcome | None] = [None] * len(jobs)
    with Pool(workers, limits=limits, unsafe=unsafe) as pool:
        for index, reply in pool.map(jobs):
            outcomes[index] = judge(jobs[index], reply)
    return [outcome for outcome in outcomes if outcome is not None]
