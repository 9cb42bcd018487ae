"""Host and Origin: what names this machine, and what only looks like it."""

import socket
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from codling.serve.origin import is_local_authority, is_local_host, may_ask
from serve.tiny_server import Running


@pytest.mark.parametrize(
    "authority",
    [
        "localhost", "LOCALHOST:8000", "localhost.", "localhost.:80", "127.0.0.1",
        "127.0.0.1:65535", "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]:1",
    ],
)  # fmt: skip
def test_names_of_this_machine(authority: str) -> None:
    assert is_local_authority(authority)


@pytest.mark.parametrize(
    "authority",
    [
        "", "evil.com", "localhost.evil.com", "localhost-evil.com", "evil.com.localhost.evil.com",
        "127.0.0.1.nip.io", "127.0.0.1.evil.com", "127.0.0.2", "0.0.0.0", "127.1", "2130706433",
        "0x7f.0.0.1", "0177.0.0.1", "localhost:8101@evil.com", "evil.com@localhost",
        "user@localhost", "localhost:8101:80", "localhost:", "localhost:x", "localhost:99999",
        "localhost:+80", "localhost:\u0668", "localhost..", ".localhost", "localhost/",
        "localhost#", "localhost?x", "localhost\\evil.com", "localhost%2eevil.com",
        "localhost,evil.com",
        "localhost evil.com", " localhost", "localhost\t", "localhost\n", "::1", "[::1", "::1]",
        "[::1]evil.com", "[::1].evil.com", "[::1]:80@evil.com", "[::1%25lo]", "[::ffff:127.0.0.1]",
        "[::2]", "[127.0.0.1]", "[]", "[::1]]", "http://localhost",
        "l\u00f6calhost", "\uff4cocalhost",
    ],
)  # fmt: skip
def test_names_that_only_look_like_this_machine(authority: str) -> None:
    assert not is_local_authority(authority)


def test_exactly_one_host_counts() -> None:
    assert is_local_host(["localhost"])
    assert not is_local_host([])
    assert not is_local_host(["localhost", "localhost"])
    assert not is_local_host(["localhost", "evil.com"])


@pytest.mark.parametrize(
    ("origins", "allowed", "answered"),
    [
        ([], (), True),
        (["http://127.0.0.1:8000"], (), True),
        (["https://localhost:3000"], (), True),
        (["http://[::1]:8000"], (), True),
        (["vscode-webview://1b2c"], (), True),
        (["https://editor.example"], ("https://editor.example",), True),
        (["https://evil.example"], ("*",), True),
        (["https://evil.example"], ("https://editor.example",), False),
        (["https://editor.example.evil.com"], ("https://editor.example",), False),
        (["http://localhost.evil.com"], (), False),
        (["http://localhost@evil.com"], (), False),
        (["http://localhost:80, http://evil.com"], (), False),
        (["http://localhost", "http://evil.com"], (), False),
        (["null"], (), False),
        (["file://"], (), False),
        ([""], (), False),
        (["localhost"], (), False),
        (["HTTP://evil.com"], (), False),
        (["javascript:alert(1)"], (), False),
    ],
)
def test_which_pages_may_ask(origins: list[str], allowed: tuple[str, ...], answered: bool) -> None:
    assert may_ask(origins, allowed) is answered


def raw(server: Running, head: str) -> bytes:
    """The first line of the answer to a request that no client library would send."""
    address = urlsplit(server.url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=600)) as sent:
        sent.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        return sent.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /health HTTP/1.1\nHost: localhost\n\n", b"200"),
        ("GET /health HTTP/1.1\nHost: localhost:8101@evil.com\n\n", b"403"),
        ("GET /health HTTP/1.1\nHost: [::1]evil.com\n\n", b"403"),
        ("GET /health HTTP/1.1\nHost: localhost\nHost: evil.com\n\n", b"400"),
        ("GET /health HTTP/1.1\nHost: \n\n", b"403"),
        ("GET /health HTTP/1.0\n\n", b"403"),
        ("GET http://evil.com/health HTTP/1.1\nHost: localhost\n\n", b"400"),
        ("GET http://localhost/health HTTP/1.1\nHost: evil.com\n\n", b"400"),
        ("CONNECT evil.com:443 HTTP/1.1\nHost: localhost\n\n", b"400"),
        ("GET /health HTTP/1.1\nHost: localhost\nX-Forwarded-Host: evil.com\n\n", b"200"),
        ("GET /health HTTP/1.1\nHost: evil.com\nX-Forwarded-Host: localhost\n\n", b"403"),
    ],
)
def test_the_server_reads_them_so(server: Running, head: str, status: bytes) -> None:
    assert raw(server, head).split(b" ")[1] == status


def test_a_page_from_elsewhere_is_refused_whatever_it_asks(server: Running) -> None:
    for method, path in (("GET", "/metrics"), ("POST", "/v1/completions"), ("OPTIONS", "/infill")):
        answer = httpx.request(
            method,
            server.url + path,
            headers={"Origin": "https://evil.example"},
            trust_env=False,
            timeout=600,
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
