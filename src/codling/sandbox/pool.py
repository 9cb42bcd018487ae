"""Many boxes at once: untrusted programs in, verdicts out, as fast as the machine allows.

Input: jobs, or just Python programs. Output: replies or outcomes, in order of completion or of
input. Not here: one box (box.py), and other languages than Python (toolchains.py).
"""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from codling.core.errors import SourceError
from codling.sandbox import box as boxes
from codling.sandbox.box import Box, Job, Reply, Step
from codling.sandbox.config import UntrustedConfig
from codling.sandbox.limits import Limits
from codling.sandbox.outcome import Outcome, judge

In = TypeVar("In")
Out = TypeVar("Out")


class Pool:
    """`workers` boxes, each started when there is work for it; use it in a `with` block."""

    def __init__(
        self,
        workers: int = 0,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        unsafe: bool = False,
        shown: Sequence[Path] = (),
        preload: Sequence[str] = (),
    ) -> None:
        """`workers` 0: as many as there are processors."""
        self._make = functools.partial(
            Box, limits=limits, unsafe=unsafe, shown=shown, preload=preload
        )
        self.workers = workers or os.cpu_count() or 1
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
            box.close()
        self._idle.clear()

    def run(self, job: Job) -> Reply:
        """Run one job in an idle box, or a new one; threads may call this at the same time."""
        with self._lock:
            box = self._idle.pop() if self._idle else self._make()
        try:
            return box.run(job)
        finally:
            with self._lock:
                self._idle.append(box)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Reply]]:
        """Run all jobs; pairs of index and reply, as they come."""
        yield from in_threads(self.run, jobs, self.workers)


def in_threads(
    work: Callable[[In], Out], items: Iterable[In], workers: int
) -> Iterator[tuple[int, Out]]:
    """`work` on every item with `workers` threads; pairs of index and result, as they come.

    Items are taken only as threads come free. The first exception of a worker is raised here.
    """
    waiting: dict[Future[Out], int] = {}
    with ThreadPoolExecutor(workers) as threads:
        try:
            for index, item in enumerate(items):
                waiting[threads.submit(work, item)] = index
                if len(waiting) >= 2 * workers:
                    for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                        yield waiting.pop(done), done.result()
            for done in as_completed(list(waiting)):
                yield waiting[done], done.result()
        finally:
            threads.shutdown(cancel_futures=True)


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


def run_untrusted(config: UntrustedConfig) -> str:
    """Run a Python file that nobody vouches for, and say what came of it.

    Example:
        codling run-untrusted downloaded.py
    """
    if not config.file.is_file():
        raise SourceError(f"no file {config.file} to run")
    limits = Limits(
        wall_seconds=config.seconds,
        cpu_seconds=config.seconds,
        memory_bytes=config.memory_mib << 20,
    )
    source = config.file.read_text(encoding="utf-8")
    (outcome,) = check_python([source], limits=limits, workers=1, unsafe=config.unsafe)
    text = "".join(f"{part.rstrip()}\n" for part in (outcome.stdout, outcome.stderr) if part)
    line = f"{outcome.status} after {outcome.seconds:.2f} s {outcome.detail}".rstrip()
    return f"{text}{line}\n[{boxes.describe(unsafe=config.unsafe)}]"
