"""What every request passes before it reaches an endpoint: names, key, size, counts, headers.

Input: an ASGI app. Output: an ASGI app. Plain ASGI, since a middleware that buffers would hide
from the endpoints that a client has gone.

Not here: how Host and Origin are read (origin.py), time limits (connection.py), and TLS: put a
reverse proxy in front where the server is reached over a network.
"""

import hmac
import time
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codling.serve.errors import ApiError, as_api_error, overload_error
from codling.serve.metrics import Metrics
from codling.serve.origin import is_local_host, may_ask

OPEN_PATHS = frozenset({"/", "/favicon.ico", "/health", "/v1/health"})
"""Addresses that need no key: the page (which then asks for the key) and the health check."""

_BODIES_AT_ONCE = 16
"""All unanswered requests together may be as long as this many of the longest."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what must not come in and counts what does."""

    def __init__(  # noqa: PLR0913 - the things that it guards
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        paths: frozenset[str],
        api_key: str | None,
        only_loopback: bool,
        max_body_bytes: int,
        origins: Collection[str] = (),
    ) -> None:
        """`paths` are the known addresses: the only ones that become labels of metrics.

        `only_loopback`: there is no key, so Host and Origin must be this machine's; `origins` may
        ask all the same.
        """
        self.app, self.metrics, self.paths, self.origins = app, metrics, paths, frozenset(origins)
        self.api_key, self.only_loopback = api_key, only_loopback
        self._room = _Room(max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, pass it on, count the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        started = time.perf_counter()
        exchange = _Exchange(receive, send, self._room)
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                refusal = await self._pass_on(scope, exchange)
            if refusal is not None:
                await refusal.response()(scope, receive, exchange.send)
        finally:
            exchange.forget_body()
            self.metrics.requests.labels(path=path, status=str(exchange.status or 500)).inc()
            self.metrics.seconds.labels(path=path).observe(time.perf_counter() - started)

    async def _pass_on(self, scope: Scope, exchange: "_Exchange") -> ApiError | None:
        """The app answers, or this is to be answered in its place: also for a mistake of ours, here
        and not around all, where nobody adds the headers with which other pages may read it."""
        try:
            await self.app(_as_get(scope), exchange.receive, exchange.send)
        except Exception as error:
            if exchange.status is not None:
                raise
            return exchange.refusal() or as_api_error(error)
        return exchange.refusal()

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        if not scope["path"].startswith("/") and scope["path"] != "*":
            # An absolute address has a host of its own, beside the one that is checked here.
            return ApiError(400, "the request's target must be a path, such as /v1/models")
        if self.only_loopback and not is_local_host(headers.getlist("host")):
            return ApiError(
                403, "this server answers only to localhost; start it with --host and a key"
            )
        if self.only_loopback and not may_ask(headers.getlist("origin"), self.origins):
            return ApiError(
                403,
                "pages of other origins may not ask; name yours in --cors-origins, or serve with "
                "a key",
            )
        if self.api_key and not self._is_open(scope) and not has_key(headers, self.api_key):
            return ApiError(
                401,
                "this server needs its API key: send Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        # At most 19 digits: Python refuses to read thousands of them.
        n_bytes = int(length[:19]) if length.isascii() and length.isdigit() else 0
        if n_bytes > self._room.limit:
            return _too_large_error(self._room.limit)
        return None

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        is_page = path in OPEN_PATHS or path.startswith("/web/")
        return scope["method"] == "OPTIONS" or (scope["method"] in ("GET", "HEAD") and is_page)


def _as_get(scope: Scope) -> Scope:
    """HEAD is answered as GET: the connection leaves the body out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


class _Room:
    """How much request text may be in memory: of one request, and of all that are not answered."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of one body; all together may have _BODIES_AT_ONCE times that."""
        self.limit = limit
        self.left = limit * _BODIES_AT_ONCE


class _Exchange:
    """One request's body, measured as it comes, and its answer, given our headers."""

    def __init__(self, receive: Receive, send: Send, room: _Room) -> None:
        self.status: int | None = None
        self._receive, self._send, self._room = receive, send, room
        self._n_bytes = 0
        self._refusal: ApiError | None = None

    async def receive(self) -> Message:
        """A body that is too long, or one too many, ends here."""
        message = await self._receive()
        n_more = len(message.get("body", b""))
        self._n_bytes += n_more
        self._room.left -= n_more
        if self._n_bytes > self._room.limit:
            self._refusal = _too_large_error(self._room.limit)
        elif self._room.left < 0 and n_more:
            self._refusal = overload_error("too many long requests at once; try again in a moment")
        if self._refusal:
            raise self._refusal
        return message

    def forget_body(self) -> None:
        """Give the room back that the body took."""
        self._room.left += self._n_bytes
        self._n_bytes = 0

    async def send(self, message: Message) -> None:
        """What the app answers to a body that was cut off is left out: see `refusal`."""
        if self._refusal and self.status is None:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    def refusal(self) -> ApiError | None:
        """The answer to a body that was refused, if none was sent; from now on `send` sends."""
        refusal, self._refusal = self._refusal, None
        return refusal if self.status is None else None


def has_key(headers: Mapping[str, str], key: str) -> bool:
    """Whether the request carries the key; the time taken does not tell how much was right."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    sent = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    # Headers are bytes, read as Latin-1: what a client sent as UTF-8 becomes itself again.
    return hmac.compare_digest(sent.encode("latin-1"), key.encode())


def _too_large_error(limit: int) -> ApiError:
    return ApiError(
        413, f"the body is larger than {limit:,} bytes; send less", code="body_too_large"
    )
