"""Connections that keep the server waiting, and how many there may be."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from serve.tiny_server import Running, Servers, wait_until

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hasty(servers: Servers, model_dir: Path) -> Running:
    """A server that waits for a request for a second only, and takes twenty connections."""
    config = ServeConfig(model=model_dir, request_seconds=1.0, max_connections=20)
    return servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")), config)


def opened(server: Running) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=600)


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    while piece := _receive(connection):
        received += piece
    return received


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_a_client_that_says_nothing_is_closed(hasty: Running) -> None:
    with closing(opened(hasty)) as connection:
        assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.long
@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
        HEAD + b"Content-Length: 100\r\n\r\n" + b'{"prompt"',
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["one letter", "half a head", "half a body", "half a chunk"],
)
def test_a_request_that_never_ends_is_given_up(hasty: Running, begun: bytes) -> None:
    with closing(opened(hasty)) as connection:
        connection.sendall(begun)
        assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_request_byte_by_byte_is_given_up(hasty: Running) -> None:
    # Every byte would reset a timer that only watches for silence.
    with closing(opened(hasty)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        connection.settimeout(0.05)
        end = time.monotonic() + 600
        answer = b""
        while not answer and time.monotonic() < end:
            try:
                connection.sendall(b"x")
                answer = connection.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_the_second_request_of_a_kept_connection_is_timed_too(hasty: Running) -> None:
    with closing(opened(hasty)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


def test_the_rest_of_a_refused_body_is_not_waited_for(hasty: Running) -> None:
    with closing(opened(hasty)) as connection:
        connection.sendall(
            HEAD.replace(b"localhost", b"evil.example") + b"Content-Length: 9\r\n\r\n"
        )
        assert rest_of(connection).startswith(b"HTTP/1.1 403 ")


@pytest.mark.slow
def test_a_slow_answer_is_not_cut_off(hasty: Running) -> None:
    # It takes longer than a request may take to arrive.
    body = {"prompt": "x", "max_tokens": 1900, "stream": True, "temperature": 1.0, "n": 32}
    url = hasty.url + "/v1/completions"
    with httpx.stream("POST", url, json=body, trust_env=False, timeout=600) as answer:
        lines = list(answer.iter_lines())
    assert "data: [DONE]" in lines


def test_three_hundred_silent_connections_shut_nobody_out(hasty: Running) -> None:
    silent = [opened(hasty) for _ in range(300)]
    try:
        assert httpx.get(f"{hasty.url}/health", trust_env=False, timeout=600).status_code == 200
        for connection in silent:
            connection.settimeout(600)
            rest_of(connection)  # every one is closed: this ends
    finally:
        for connection in silent:
            connection.close()


def test_a_busy_connection_is_not_closed_for_a_new_one(servers: Servers, model_dir: Path) -> None:
    config = ServeConfig(model=model_dir, max_connections=1)
    running = servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")), config)
    for lines in _streaming(running):
        next(lines)
        with closing(opened(running)) as late:
            assert rest_of(late).startswith(b"HTTP/1.1 503 ")
        assert json.loads(next(line for line in lines if line)[6:])["choices"]
    running.wait_idle()
    wait_until(lambda: _is_free(running))


def _streaming(running: Running) -> Iterator[Iterator[str]]:
    body = {"prompt": "x", "max_tokens": 2000, "stream": True, "temperature": 1.0, "n": 4}
    url = running.url + "/v1/completions"
    with httpx.stream("POST", url, json=body, trust_env=False, timeout=600) as answer:
        yield answer.iter_lines()


def _is_free(running: Running) -> bool:
    answer = httpx.get(f"{running.url}/health", trust_env=False, timeout=600)
    return answer.status_code == 200
