"""Threads: a list worked through in order, and how the threads of a library wait.

Input: a function and its arguments. Output: results in the order of the arguments.

Not here: processes (shards.py).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
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
