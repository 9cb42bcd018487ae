"""One client's connection, with limits: how long a request may take to arrive, how long an answer
may wait to be read, how many connections there are.

Input: a connection that was accepted. Output: the same, but one that keeps us waiting is closed,
and the oldest that only waits makes room for a new one when there are too many.

uvicorn itself has no limit for a request that comes byte by byte: its keep-alive timer ends with
the first byte.

Not here: what a whole request may hold (guard.py, schema.py), and the socket (listen.py).
"""

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from codling.serve.config import Patience

_ARRIVING = (h11.IDLE, h11.SEND_BODY)
"""States of a client that has not sent all of its request."""


class LimitedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection under a Patience."""

    patience = Patience()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._opened = self.loop.time()
        self._arriving: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for the new connection, and give its first request a limit."""
        super().connection_made(transport)
        if len(self.connections) > self.patience.max_connections:
            self._make_room()
        if not transport.is_closing():
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; while a request is incomplete its limit runs."""
        super().data_received(data)
        if self.transport.is_closing() or self._is_whole():
            self._stop_arriving()
        elif self._arriving is None:
            self._expect_request()

    def on_response_complete(self) -> None:
        """After an answer the request may still be arriving: then its limit goes on."""
        super().on_response_complete()
        if self._is_whole() or self.conn.their_state is h11.IDLE:
            self._stop_arriving()
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._expect_request()  # the beginning of a next one is here already

    def pause_writing(self) -> None:
        """The client does not read: it may do so for a while."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.patience.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless an answer has begun already."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._is_answering():
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _is_whole(self) -> bool:
        return self.conn.their_state not in _ARRIVING

    def _is_answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete

    def _is_waiting(self) -> bool:
        """Whether nothing is computed for it: it is idle, or its request is incomplete."""
        return self.cycle is None or self.cycle.response_complete or not self._is_whole()

    def _expect_request(self) -> None:
        self._arriving = self.loop.call_later(self.patience.request_seconds, self._give_up)

    def _stop_arriving(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _stop_timers(self) -> None:
        self._stop_arriving()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        """The request has not come in time: say so if nothing was said yet, and close."""
        self._arriving = None
        self._refuse(408, b"the request did not arrive in time")

    def _make_room(self) -> None:
        """Close the oldest connection that waits; if all are at work, this new one."""
        others: list[LimitedConnection] = [
            c for c in self.connections if isinstance(c, LimitedConnection) and c is not self
        ]
        waiting = [c for c in others if c._is_waiting() and not c.transport.is_closing()]
        if not waiting:
            self._refuse(503, b"too many connections")
            return
        oldest = min(waiting, key=lambda c: c._opened)
        oldest.transport.abort()
        self.connections.discard(oldest)

    def _refuse(self, status: int, words: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._is_answering():
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            events = (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=words),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def connection_class(patience: Patience) -> type[LimitedConnection]:
    """LimitedConnection with these limits: uvicorn makes the connections itself, from a class."""
    return type("PatientConnection", (LimitedConnection,), {"patience": patience})
