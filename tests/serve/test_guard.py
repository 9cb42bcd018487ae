"""Keys, hosts, sizes, headers, wrong addresses, metrics."""

import httpx
import pytest
from openai import AuthenticationError, OpenAI

from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from codling.serve.guard import has_key
from serve.tiny_server import Running, Servers

KEY = "s3cret-\u00fc"


@pytest.fixture(scope="module")
def locked(servers: Servers, model_dir) -> Running:
    config = ServeConfig(
        model=model_dir, max_body_bytes=2000, cors_origins=("https://editor.example",)
    )
    return servers.start(
        LocalBackend(TextEngine.open(model_dir, precision="float32")), config, api_key="s3cret"
    )


def call(server: Running, method: str, path: str, **more) -> httpx.Response:
    return httpx.request(method, server.url + path, trust_env=False, **more)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/infill"),
        ("GET", "/metrics"),
        ("GET", "/props"),
        ("GET", "/openapi.json"),
        ("GET", "/no/such/place"),
    ],
)
def test_everything_but_the_page_needs_the_key(locked: Running, method: str, path: str) -> None:
    answer = call(locked, method, path)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert call(locked, method, path, headers={"Authorization": "Bearer s3cre"}).status_code == 401


@pytest.mark.parametrize("path", ["/", "/health", "/web/app.js", "/web/style.css", "/favicon.ico"])
def test_the_page_and_the_health_check_are_open(locked: Running, path: str) -> None:
    assert call(locked, "GET", path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/web/style.css"])
def test_head_is_answered_as_get_without_a_body(locked: Running, path: str) -> None:
    head, whole = call(locked, "HEAD", path), call(locked, "GET", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert call(locked, "HEAD", "/v1/models").status_code == 401
    key = {"Authorization": "Bearer s3cret"}
    assert call(locked, "HEAD", "/v1/completions", headers=key).status_code == 405


def test_the_right_key_opens(locked: Running) -> None:
    for headers in ({"Authorization": "Bearer s3cret"}, {"X-Api-Key": "s3cret"}):
        assert call(locked, "GET", "/v1/models", headers=headers).status_code == 200


def test_openais_client_sends_the_key(locked: Running) -> None:
    with OpenAI(base_url=f"{locked.url}/v1", api_key="s3cret", max_retries=0) as client:
        assert client.completions.create(model="m", prompt="x", max_tokens=1).choices
    with (
        OpenAI(base_url=f"{locked.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(AuthenticationError),
    ):
        client.models.list()


def test_keys_are_compared_as_bytes() -> None:
    sent = KEY.encode().decode("latin-1")  # as a header is read
    assert has_key({"authorization": f"Bearer {sent}"}, KEY)
    assert has_key({"authorization": f"bearer  {sent}"}, KEY)
    assert not has_key({"authorization": f"Basic {KEY}"}, KEY)
    assert not has_key({}, KEY)


def test_a_body_that_is_too_large_is_refused(locked: Running) -> None:
    headers = {"Authorization": "Bearer s3cret", "Content-Type": "application/json"}
    body = b'{"prompt": "%s"}' % (b"x" * 3000)
    assert call(locked, "POST", "/v1/completions", content=body, headers=headers).status_code == 413
    # Without a Content-Length the bytes are counted as they come.
    streamed = call(locked, "POST", "/v1/completions", content=iter([body]), headers=headers)
    assert streamed.status_code == 413
    assert streamed.json()["error"]["code"] == "body_too_large"


def test_a_named_origin_may_call_and_no_other(locked: Running) -> None:
    def allowed(origin: str) -> str | None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = call(locked, "OPTIONS", "/v1/completions", headers=headers)
        return answer.headers.get("access-control-allow-origin")

    assert allowed("https://editor.example") == "https://editor.example"
    assert allowed("https://evil.example") is None


def test_without_a_key_only_localhost_is_answered(server: Running) -> None:
    # A web page could otherwise point its own name at 127.0.0.1 and read along.
    assert call(server, "GET", "/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert call(server, "GET", "/v1/models", headers={"Host": "localhost:1"}).status_code == 200
    assert call(server, "GET", "/v1/models", headers={"Host": "[::1]:8000"}).status_code == 200


def test_a_form_from_another_page_is_not_read(server: Running) -> None:
    # text/plain needs no permission from the server: a page elsewhere could send it.
    answer = call(
        server,
        "POST",
        "/v1/completions",
        content=b'{"prompt":"x"}',
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status_code == 400


def test_the_page_may_load_nothing_from_elsewhere(server: Running) -> None:
    headers = call(server, "GET", "/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/web/../app.py", "/web/%2e%2e/app.py", "/web/nothing.js", "/docs"]
)
def test_nothing_else_is_served(server: Running, path: str) -> None:
    answer = call(server, "GET", path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_wrong_method_names_the_right_one(server: Running) -> None:
    answer = call(server, "GET", "/v1/completions")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "POST" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'"x"', b"\xff\xfe", b'{"prompt": 1e999}'])
def test_a_broken_body_is_a_400_in_openais_shape(server: Running, body: bytes) -> None:
    answer = call(
        server,
        "POST",
        "/v1/completions",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_half_a_surrogate_pair_is_a_400(server: Running) -> None:
    answer = call(
        server, "POST", "/v1/completions", content=b'{"prompt": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt"


def test_metrics_count_requests_and_tokens(server: Running) -> None:
    call(server, "POST", "/v1/completions", json={"prompt": "x", "max_tokens": 2})
    call(server, "GET", "/some/random/path/1")
    text = call(server, "GET", "/metrics").text
    assert 'codling_requests_total{path="/v1/completions",status="200"}' in text
    # Unknown addresses share one label: a scanner must not fill the memory.
    assert 'path="other",status="404"' in text
    assert "random" not in text
    for name in ("generated_tokens_total", "prompt_tokens_total", "first_token_seconds_bucket"):
        assert f"codling_{name}" in text
    for name in ("drafted_tokens_total", "accepted_draft_tokens_total"):
        assert f"codling_{name}" in text


def test_a_page_of_an_allowed_origin_may_read_why_it_was_refused(locked: Running) -> None:
    origin = {"Origin": "https://editor.example"}
    refused = call(locked, "GET", "/v1/models", headers=origin)
    large = call(
        locked, "POST", "/v1/completions", content=b" " * 3000,
        headers=origin | {"Authorization": "Bearer s3cret"},
    )  # fmt: skip
    assert [refused.status_code, large.status_code] == [401, 413]
    for answer in (refused, large):
        assert answer.headers["access-control-allow-origin"] == "https://editor.example"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_of_an_allowed_origin_may_read_that_the_server_failed(
    locked: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(locked.state.backend, "open", fail)
    headers = {"Authorization": "Bearer s3cret", "Origin": "https://editor.example"}
    answer = call(locked, "POST", "/v1/completions", json={"prompt": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert answer.headers["access-control-allow-origin"] == "https://editor.example"
