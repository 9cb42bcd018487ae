"""What every request passes before it reaches an endpoint: host, key, size, counts, headers.

Input: an ASGI app. Output: an ASGI app. Plain ASGI, since a middleware that buffers would hide
from the endpoints that a client has gone.

Not here: TLS; put a reverse proxy in front where the server is reached over a network.
"""

import hmac
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codling.serve.config import LOOPBACK
from codling.serve.errors import ApiError
from codling.serve.metrics import Metrics

OPEN_PATHS = frozenset({"/", "/favicon.ico", "/health", "/v1/health"})
"""Addresses that need no key: the page (which then asks for the key) and the health check."""

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

    def __init__(  # noqa: PLR0913 - the four things that it guards
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        paths: frozenset[str],
        api_key: str | None,
        only_loopback: bool,
        max_body_bytes: int,
    ) -> None:
        """`paths` are the known addresses: the only ones that become labels of metrics."""
        self.app, self.metrics, self.paths = app, metrics, paths
        self.api_key, self.only_loopback, self.max_body_bytes = (
            api_key,
            only_loopback,
            max_body_bytes,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, pass it on, count the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        started = time.perf_counter()
        exchange = _Exchange(receive, send, self.max_body_bytes)
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, exchange.receive, exchange.send)
                refusal = exchange.refusal()
            if refusal is not None:
                await refusal.response()(scope, receive, exchange.send)
        finally:
            self.metrics.requests.labels(path=path, status=str(exchange.status or 500)).inc()
            self.metrics.seconds.labels(path=path).observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        if self.only_loopback and not _is_loopback(headers.get("host", "")):
            # A page on the web can point its own host name at 127.0.0.1 (DNS rebinding).
            return ApiError(
                403, "this server answers only to localhost; start it with --host and a key"
            )
        if self.api_key and not self._is_open(scope) and not has_key(headers, self.api_key):
            return ApiError(
                401,
                "this server needs its API key: send Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body_bytes:
            return _too_large(self.max_body_bytes)
        return None

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        is_page = path in OPEN_PATHS or path.startswith("/web/")
        return scope["method"] == "OPTIONS" or (scope["method"] in ("GET", "HEAD") and is_page)


class _Exchange:
    """One request's body, measured as it comes, and its answer, given our headers."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self.status: int | None = None
        self._receive, self._send, self._left = receive, send, max_bytes
        self._limit = max_bytes

    async def receive(self) -> Message:
        """A body without a true Content-Length ends here when it grows too long."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        """What the app answers to a body that was cut off is left out: see `refusal`."""
        if self._left < 0 and self.status is None:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    def refusal(self) -> ApiError | None:
        """The answer to a body that was too long, if none was sent; from now on `send` sends."""
        if self._left >= 0 or self.status is not None:
            return None
        self._left = 0
        return _too_large(self._limit)


def has_key(headers: Mapping[str, str], key: str) -> bool:
    """Whether the request carries the key; the time taken does not tell how much was right."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    sent = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return hmac.compare_digest(sent.encode(), key.encode())


def _is_loopback(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() in LOOPBACK


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413, f"the body is larger than {limit:,} bytes; send less", code="body_too_large"
    )
