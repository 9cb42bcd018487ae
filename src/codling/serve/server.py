"""What the endpoints of one app share: the model behind it, its settings, its counts, what is
running.

Not here: the endpoints themselves and the listening (app.py).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request

from codling import __version__
from codling.core.errors import CodlingError
from codling.serve.backend import Backend
from codling.serve.config import ServeConfig
from codling.serve.errors import overload_error
from codling.serve.metrics import Metrics
from codling.serve.outcomes import CompletionLog
from codling.serve.response_items import ResponseStore
from codling.serve.run import Choice, Run
from codling.serve.sessions import Sessions
from codling.serve.side_work import Check, SideWork
from codling.serve.sse import await_while_connected

_READERS = 2
"""Threads that turn prompts into tokens."""
P = ParamSpec("P")
R = TypeVar("R")


class Server:
    """The state of one app."""

    def __init__(self, backend: Backend, config: ServeConfig) -> None:
        self.backend = backend
        self.config = config
        self.metrics = Metrics()
        self.sessions = Sessions()
        self.fingerprint = f"codling-{__version__}"
        self.can_chat = _can_chat(backend)
        self.reading = SideWork("reading", n_threads=_READERS, max_waiting=config.max_waiting)
        self.scoring = SideWork("scoring", n_threads=1, max_waiting=config.max_waiting)
        self.log = (
            None
            if config.log_completions is None
            else CompletionLog(config.log_completions, with_text=config.log_text)
        )
        self.responses = ResponseStore()
        self.runs: set[Run] = set()

    async def read(
        self, request: Request, work: Callable[Concatenate[Check, P], R], *args: P.args,
        **more: P.kwargs,
    ) -> R:  # fmt: skip
        """`work(check, *args)` beside the event loop, as long as the client is there."""
        return await await_while_connected(request, self.reading.run(work, *args, **more))

    def new_run(self, choices: Sequence[Choice]) -> Run:
        """The run of a request, if there is room for it; else ApiError 503."""
        busy = sum(len(run.choices) for run in self.runs)
        if busy and busy + len(choices) > self.config.max_streams + self.config.max_waiting:
            raise overload_error(
                f"{busy} completions are running or waiting; try again in a moment"
            )
        return Run(choices, self.metrics)

    @contextmanager
    def register(self, run: Run, session: str | None = None) -> Iterator[None]:
        """Inside the block the run is known, so that it can be superseded or stopped."""
        with ExitStack() as stack:
            stack.enter_context(self.sessions.supersede_older(session, run))
            self.runs.add(run)
            stack.callback(self.runs.discard, run)
            stack.callback(self._note_shown, run)
            yield

    def stop(self) -> None:
        """End all running requests with a message that says why."""
        self.reading.close()
        self.scoring.close()
        for run in list(self.runs):
            run.stop()

    def close(self) -> None:
        """Close the log, after all requests have ended."""
        if self.log is not None:
            self.log.close()

    def _note_shown(self, run: Run) -> None:
        if self.log is not None and run.about is not None:
            texts = [choice.text for choice in run.choices]
            self.log.note_shown(f"cmpl-{run.id}", self.backend.name, run.about, texts)


def session_of(request: Request, user: str | None) -> str | None:
    """The session that a request names; its newer insertions replace its older ones."""
    return request.headers.get("x-codling-session") or user


def _can_chat(backend: Backend) -> bool:
    try:
        return bool(backend.chat_prompt([{"role": "user", "content": "hello"}]))
    except CodlingError:
        return False
