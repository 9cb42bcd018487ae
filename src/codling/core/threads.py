"""Threads that work through a list in order.

Input: a function and its arguments. Output: results in the order of the arguments.

Not here: processes (shards.py).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

In = TypeVar("In")


Out = TypeVar("Out")


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
