"""Work beside the event loop: tokenising, chat templates, the scoring of prompts.

Input: a function that computes. Output: its result, while the loop goes on answering. The work of
all requests is done by a few threads; what waits for one is counted and refused when it is too
much; and what nobody waits for any more (its client has left, the server stops) is not begun, or
ends at its next call of `check`.

Not here: the generation of tokens, which the engine's own thread does.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from codling.serve.errors import ApiError, overload_error

Check = Callable[[], None]
"""Long work calls it regularly; it raises once nobody waits for the result."""
P = ParamSpec("P")
R = TypeVar("R")


class SideWork:
    """A few threads, and the work that waits for them."""

    def __init__(self, name: str, *, n_threads: int, max_waiting: int) -> None:
        """`max_waiting`: pieces of work beyond those that run; more are refused with 503."""
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix=f"codling-{name}")
        self._most = n_threads + max_waiting
        self._open: set[threading.Event] = set()
        self._closed = False

    @property
    def n_open(self) -> int:
        """Pieces of work that run or wait."""
        return len(self._open)

    async def run(
        self, work: Callable[Concatenate[Check, P], R], *args: P.args, **more: P.kwargs
    ) -> R:
        """`work(check, *args)` on a thread; cancelling the caller ends it.

        Raises ApiError 503 if too much waits already or the server stops.
        """
        if self._closed:
            raise _stopping_error()
        if len(self._open) >= self._most:
            raise overload_error("too many prompts are being read; try again in a moment")
        given_up = threading.Event()

        def check() -> None:
            if given_up.is_set():
                raise _stopping_error()

        def begin() -> R:
            check()
            return work(check, *args, **more)

        self._open.add(given_up)
        running = asyncio.get_running_loop().run_in_executor(self._threads, begin)
        # Counted until the thread is done with it, also when its caller no longer waits.
        running.add_done_callback(lambda _: self._open.discard(given_up))
        try:
            return await _shield(running)
        finally:
            given_up.set()

    def close(self) -> None:
        """Begin nothing more, and end what runs at its next check."""
        self._closed = True
        for given_up in self._open:
            given_up.set()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _shield(running: "asyncio.Future[R]") -> R:
    """The result; if the caller is cancelled the work goes on to its next check, still counted."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if running.cancelled():  # the server stops
            raise _stopping_error() from None
        running.add_done_callback(_forget)
        raise


def _forget(running: "asyncio.Future[R]") -> None:
    """Take an unwanted result or error, so that asyncio does not report it."""
    if not running.cancelled():
        running.exception()


def _stopping_error() -> ApiError:
    return ApiError(503, "the server is shutting down", type="server_error", code="shutting_down")
