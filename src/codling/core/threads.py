"""Threads: a list worked through in order, and how the threads of a library wait.

Input: a function and its arguments. Output: results in the order of the arguments.

Not here: processes (shards.py).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


_PASSIVE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait for each other; before torch is loaded.

    By default they spin. Beside another busy process a spinning thread uses up the CPU time that
    the thread it waits for needs, and training falls to a third of its speed (docs/benchmarks.md);
    on a quiet machine sleeping costs less than a tenth. What the user has set stays.
    """
    for name, value in _PASSIVE.items():
        os.environ.setdefault(name, value)


def in_threads(
    work: Callable[[In], Out], items: Iterable[In], workers: int
) -> Iterator[tuple[int, Out]]:
    """`work` on every item with `workers` threads; pairs of index and result, as they come.

    Items are taken only as threads come free. The first exception of a worker ends it: what had
    begun by then is still given, nothing else begins, and then the exception is raised.
    """
    waiting: dict[Future[Out], int] = {}
    failures: list[BaseException] = []
    with ThreadPoolExecutor(workers) as threads:
        try:
            for index, item in enumerate(items):
                waiting[threads.submit(work, item)] = index
                if len(waiting) >= 2 * workers:
                    yield from _take_finished(waiting, failures)
                if failures:
                    break
            while waiting:
                yield from _take_finished(waiting, failures)
        finally:
            threads.shutdown(cancel_futures=True)
    if failures:
        raise failures[0]


def _take_finished(
    waiting: dict[Future[Out], int], failures: list[BaseException]
) -> Iterator[tuple[int, Out]]:
    """Wait for the next results; after a failure what has not begun is taken back."""
    for done in wait(waiting, return_when=FIRST_COMPLETED).done:
        index = waiting.pop(done)
        if (wrong := done.exception()) is None:
            yield index, done.result()
        else:
            failures.append(wrong)
    if failures:
        for never in [each for each in waiting if each.cancel()]:
            del waiting[never]


def in_order(results: Iterable[tuple[int, Out]]) -> Iterator[Out]:
    """What `in_threads` gives, in the order of the items.

    >>> list(in_order([(1, "b"), (0, "a"), (2, "c")]))
    ['a', 'b', 'c']
    """
    waiting: dict[int, Out] = {}
    at = 0
    for index, result in results:
        waiting[index] = result
        while at in waiting:
            yield waiting.pop(at)
            at += 1
