"""What the listening socket gives to the connections that it accepts."""

import asyncio
import socket
import time
from pathlib import Path

import httpx
import pytest

from codling.serve.config import ServeConfig
from codling.serve.listen import bind
from serve.tiny_server import Running


async def no_delay_of_an_accepted_connection(host: str) -> int:
    """TCP_NODELAY as asyncio leaves it on a connection to a socket of `bind`."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        seen.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with bind(ServeConfig(model=Path("m"), host=host, port=0)) as listener:
        async with await asyncio.start_server(accept, sock=listener):
            _, writer = await asyncio.open_connection(host, listener.getsockname()[1])
            value = await seen
            writer.close()
            return value


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_does_not_wait_for_the_acknowledgement_of_the_one_before(host: str) -> None:
    try:
        socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    assert asyncio.run(no_delay_of_an_accepted_connection(host)) != 0


@pytest.mark.long
def test_requests_on_a_kept_connection_take_no_forty_milliseconds(server: Running) -> None:
    waits = []
    with httpx.Client(base_url=server.url, trust_env=False, timeout=600) as client:
        for _ in range(20):
            started = time.perf_counter()
            client.get("/v1/models").raise_for_status()
            waits.append(time.perf_counter() - started)
    # A delayed acknowledgement makes every one of them wait for 40 ms, on any machine.
    assert min(waits[1:]) < 0.02
