"""The socket, the key and the signals of a server.

Input: ServeConfig. Output: a listening socket, the key that clients must send, a uvicorn that
stops cleanly.

Not here: the app and the order of things (app.py).
"""

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from codling.core.errors import ConfigError
from codling.core.foreign_files import read_text
from codling.serve.config import Patience, ServeConfig
from codling.serve.connection import connection_class

KEY_VARIABLE = "CODLING_API_KEY"
_MAX_KEY_BYTES = 1_000_000
_GRACE_SECONDS = 5
"""How long open connections may go on once the server has been asked to stop."""


def find_key(config: ServeConfig, environment: Mapping[str, str]) -> str | None:
    """The API key: from the settings, from its file, or from the environment."""
    if config.api_key_file is None:
        # Blanks around it could never be sent: headers lose them.
        return (config.api_key or environment.get(KEY_VARIABLE) or "").strip() or None
    lines = read_text(
        config.api_key_file, ConfigError, max_bytes=_MAX_KEY_BYTES, what="the key file"
    ).split("\n")
    if not lines[0].strip():
        raise ConfigError(f"the first line of {config.api_key_file} is empty; write the key there")
    return lines[0].strip()


@contextmanager
def bind(config: ServeConfig) -> Iterator[socket.socket]:
    """A listening socket; ConfigError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # Named as TCP: asyncio sets TCP_NODELAY only on sockets whose protocol says so, and without it
    # every answer on a kept connection waits for the client's delayed acknowledgement (40 ms).
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
            listener.listen(128)
        except (OSError, OverflowError, TypeError, ValueError) as error:
            # The last two: a host that is no name at all.
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"cannot listen on {config.host} port {config.port}: {reason.lower()}; "
                "choose another --port or --host"
            ) from None
        yield listener


class GracefulServer(uvicorn.Server):
    """uvicorn that ends running streams when told to stop, and then returns instead of dying."""

    def __init__(
        self, app: FastAPI, on_stop: Callable[[], None], patience: Patience | None = None
    ) -> None:
        """`on_stop` is called after the first signal, before open connections are waited for."""
        self._on_stop = on_stop
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                server_header=False,
                http=connection_class(patience or Patience()),
                ws="none",
                proxy_headers=False,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM over while serving; afterwards they are as before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what runs, then close.

        Not in the signal's handler: it may come while this thread holds a lock that ending takes.
        """
        self._on_stop()
        await super().shutdown(sockets)
