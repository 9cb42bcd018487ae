"""Requests that nobody means well with: broken text everywhere, long prompts, endless lists."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.core.errors import RequestError
from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.body import parse_body
from codling.serve.config import ServeConfig
from codling.serve.errors import ApiError
from codling.serve.length import refuse_too_long
from codling.tokens.counting import fewest_tokens
from serve.tiny_server import CONTEXT, Running, Servers, wait_until

HALF = "\ud800"
JSON = {"Content-Type": "application/json"}
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
PLACES = [
    ("/v1/completions", {"prompt": HALF}),
    ("/v1/completions", {"prompt": ["a", "b" + HALF]}),
    ("/v1/completions", {"prompt": "a", "suffix": HALF}),
    ("/v1/completions", {"prompt": "a", "stop": HALF}),
    ("/v1/completions", {"prompt": "a", "stop": ["x", HALF + "y"]}),
    ("/v1/completions", {"prompt": "a", "model": HALF}),
    ("/v1/completions", {"prompt": "a", "user": HALF, "stream": True}),
    ("/v1/completions", {"prompt": "a", "unknown": {"deep": [HALF]}}),
    ("/v1/completions", {"prompt": "a", HALF: 1}),
    ("/v1/chat/completions", {"messages": [{"role": HALF, "content": "x"}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": HALF}], "stream": True}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": HALF}]}]}),
    ("/v1/chat/completions", CHAT | {"tools": [{"function": {"name": HALF}}]}),
    ("/v1/chat/completions", CHAT | {"stop": ["\udfff"], "stream": True}),
    ("/infill", {"prompt": "x", "input_prefix": HALF}),
    ("/infill", {"prompt": "x", "input_suffix": HALF}),
    ("/infill", {"prompt": "x", "input_extra": [{"filename": HALF, "text": "a"}]}),
    ("/infill", {"prompt": "x", "input_extra": [{"filename": "a.py", "text": HALF}]}),
    ("/infill", {"prompt": "x", "response_fields": [HALF]}),
    ("/completion", {"prompt": HALF}),
    ("/completion", {"prompt": "a", "stop": [HALF], "stream": True}),
]


def post(server: Running, path: str, body: bytes | dict[str, Any], **more: Any) -> httpx.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {"timeout": 60} | more
    return httpx.post(server.url + path, content=data, headers=JSON, trust_env=False, **more)


def assert_refused(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    """The error of an answer in OpenAI's shape."""
    assert answer.status_code == status, answer.text[:300]
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(("path", "body"), PLACES)
def test_half_a_surrogate_pair_is_a_400_wherever_it_stands(
    server: Running, path: str, body: dict[str, Any]
) -> None:
    assert "surrogate" in assert_refused(post(server, path, body))["message"]


def test_the_field_of_half_a_pair_is_named() -> None:
    with pytest.raises(RequestError, match="suffix holds half a surrogate pair") as caught:
        parse_body(b'{"prompt": "x", "suffix": "a\\udc00"}')
    assert caught.value.param == "suffix"
    # A whole pair is a character.
    assert parse_body(b'{"prompt": "\\ud83d\\ude00"}') == {"prompt": "\U0001f600"}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/infill"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b'{"a":' * 50_000, b'{"prompt": NaN}', b'{"n": ' + b"9" * 5000 + b"}",
        b"\xed\xa0\x80",
    ],
    ids=["lists", "objects", "nan", "digits", "bytes"],
)  # fmt: skip
def test_json_beyond_the_bounds_is_a_400(server: Running, path: str, body: bytes) -> None:
    assert_refused(post(server, path, body))


def test_token_ids_for_an_insertion_are_refused_for_what_they_are(server: Running) -> None:
    error = assert_refused(post(server, "/infill", {"prompt": [1, 2], "input_suffix": "x"}))
    assert error["param"] == "prompt"
    assert "string" in error["message"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"prompt": [1] * 3_000_000}, "prompt"),
        ("/v1/completions", {"prompt": [1] * 100_000 + ["x"]}, "prompt"),
        ("/v1/completions", {"prompt": ["x"] * 1_000_000}, "prompt"),
        ("/v1/completions", {"prompt": [[]] * 200_000}, "prompt"),
        ("/v1/completions", {"prompt": "x", "stop": ["y"] * 1_000_000}, "stop"),
        ("/v1/completions", {"prompt": "x", "stop": "y" * 1_000_000}, "stop"),
        ("/v1/completions", {"prompt": "x", "stop_token_ids": [1] * 1_000_000}, "stop_token_ids"),
        ("/v1/chat/completions", {"messages": [{}] * 1_000_000}, "messages"),
        ("/infill", {"prompt": "x", "input_extra": [{}] * 1_000_000}, "input_extra"),
    ],
)
def test_an_endless_list_is_refused_at_its_bound(
    server: Running, path: str, body: dict[str, Any], param: str
) -> None:
    data = json.dumps(body, separators=(",", ":")).encode()
    before = time.process_time()
    answer = post(server, path, data)
    spent = time.process_time() - before
    assert assert_refused(answer)["param"] == param
    assert spent < 2  # seconds of processor, of client and server; member by member took 5 to 20


def test_a_text_longer_than_any_context_is_refused_unread(engine: TextEngine) -> None:
    tokenizer = engine.tokenizer
    longest = int(tokenizer.token_lengths.max())
    # By hand: the longest token of length L cannot make n bytes with less than n / L tokens.
    assert fewest_tokens("x" * (10 * longest), tokenizer) == 10
    assert fewest_tokens("x" * (10 * longest + 1), tokenizer) == 11
    for text in ("", "def add(first, second):\n", "\u00fcn\u00efcode e\u0301" * 20, "x " * 500):
        assert fewest_tokens(text, tokenizer) <= len(tokenizer.encode(text))


def test_what_fits_is_never_refused(engine: TextEngine) -> None:
    tokenizer = engine.tokenizer
    for text in ("    " * 9000, "return first + second\n" * 700, "x " * 3000):
        n_tokens = len(tokenizer.encode(text))
        refuse_too_long(lambda: None, [text], tokenizer, n_tokens, "prompt")
        with pytest.raises(ApiError, match="at least"):
            refuse_too_long(lambda: None, [text] * 40, tokenizer, n_tokens // 8, "prompt")


@contextmanager
def beating(server: Running) -> Iterator[list[float]]:
    """The waits of somebody who asks for /health all the time."""
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=600) as client:
            while not over.is_set():
                started = time.perf_counter()
                client.get("/health").raise_for_status()
                waits.append(time.perf_counter() - started)
                time.sleep(0.01)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield waits
    finally:
        over.set()
        asking.join()


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/completions", "prompt"),
        ("/completion", "prompt"),
        ("/v1/chat/completions", "messages"),
    ],
)
def test_a_long_prompt_is_refused_while_the_server_goes_on(
    server: Running, path: str, field: str
) -> None:
    text = "x " * 3_900_000
    body = {field: text if field == "prompt" else [{"role": "user", "content": text}]}
    with beating(server) as waits:
        for _ in range(3):
            error = assert_refused(post(server, path, body))
            assert error["code"] == "context_length_exceeded"
            assert error["param"] == field
            assert "at least" in error["message"]
    assert max(waits) < 2  # it was 73 seconds


def test_a_long_insertion_is_cut_while_the_server_goes_on(server: Running) -> None:
    with beating(server) as waits:
        body = {"input_prefix": "x " * 1_900_000, "input_suffix": " y" * 1_900_000, "n_predict": 1}
        answer = post(server, "/infill", body)
    assert answer.status_code == 200
    assert answer.json()["tokens_evaluated"] <= CONTEXT
    assert max(waits) < 2


@pytest.mark.long
def test_bodies_together_have_a_bound(servers: Servers, model_dir: Path) -> None:
    config = ServeConfig(model=model_dir, max_body_bytes=1000, request_seconds=300)
    running = servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")), config)

    def slow() -> Iterator[bytes]:
        yield b'{"prompt": "' + b"x" * 900
        # Long enough for all to be held at once, short enough that a refused one asks again.
        over.wait(2)
        yield b'", "max_tokens": 1}'

    def insist() -> None:
        while not over.is_set():  # the one below may have taken its place
            httpx.post(
                f"{running.url}/v1/completions",
                content=slow(),
                headers=JSON,
                trust_env=False,
                timeout=None,  # on a busy machine no answer is too late
            )

    over = threading.Event()
    clients = [threading.Thread(target=insist, daemon=True) for _ in range(17)]
    for client in clients:
        client.start()
    asked = {"prompt": "y" * 900, "max_tokens": 1}
    wait_until(lambda: post(running, "/v1/completions", asked).status_code == 503, seconds=100)
    over.set()
    for client in clients:
        client.join()
    # All is given back, a moment after the last answer.
    wait_until(lambda: post(running, "/v1/completions", asked).status_code == 200, seconds=100)


@pytest.mark.long
def test_scoring_is_counted_and_ends_when_its_client_leaves(
    servers: Servers, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")))
    begun: list[int] = []
    score = LocalBackend.score

    def slow_score(self: LocalBackend, check: Any, ids: Any, top: int) -> Any:
        begun.append(len(ids))
        while True:  # until its client leaves
            check()
            time.sleep(0.01)
        return score(self, check, ids, top)

    monkeypatch.setattr(LocalBackend, "score", slow_score)
    body = {"prompt": ["a b c"] * 64, "echo": True, "logprobs": 1, "max_tokens": 0}
    with pytest.raises(httpx.ReadTimeout):
        post(running, "/v1/completions", body, timeout=httpx.Timeout(30, read=1))
    wait_until(lambda: running.state.scoring.n_open == 0)
    assert len(begun) == 1  # the other 63 prompts were not begun
    monkeypatch.undo()
    answer = post(running, "/v1/completions", body | {"prompt": "a b c"})
    assert answer.status_code == 200


@pytest.mark.long
def test_one_answer_holds_so_many_logprobs(server: Running) -> None:
    text = "x " * 900
    body = {"prompt": [text] * 64, "echo": True, "logprobs": 20, "max_tokens": 0}
    assert assert_refused(post(server, "/v1/completions", body))["param"] == "logprobs"


FIELDS = (
    "prompt", "suffix", "max_tokens", "n", "echo", "logprobs", "stop", "stream", "user", "model",
    "temperature", "top_p", "top_k", "seed", "stop_token_ids", "messages", "tools", "tool_choice",
    "stream_options", "input_prefix", "input_suffix", "input_extra", "n_predict", "n_indent",
    "response_fields", "t_max_predict_ms", "best_of", "logit_bias", "response_format", "samplers",
)  # fmt: skip
PATHS = ("/v1/completions", "/v1/chat/completions", "/infill", "/completion", "/beta/completions")


def odd_value(draw: random.Random, depth: int = 0) -> Any:
    """Some JSON value, often near what a field expects."""
    plain: tuple[Any, ...] = (
        None, True, False, 0, 1, -1, 2, 2**31, 10**30, -0.5, 1.5, 1e308, "", "x", "def f(", HALF,
        "\x00", "\ufeff", "a" * 300, "text", "user", "assistant", "none", "auto",
        "timings/x", [], {},
    )  # fmt: skip
    kind = draw.random()
    if depth > 2 or kind < 0.6:
        return draw.choice(plain)
    if kind < 0.8:
        return [odd_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    keys = ("role", "content", "type", "text", "filename", "include_usage", "prefix", "x")
    return {draw.choice(keys): odd_value(draw, depth + 1) for _ in range(draw.randrange(4))}


def odd_request(draw: random.Random) -> dict[str, Any]:
    sound: dict[str, Any] = {
        "prompt": "def add(", "max_tokens": 2, "n_predict": 2, "input_suffix": "\n",
        "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    return sound | {name: odd_value(draw) for name in draw.sample(FIELDS, draw.randrange(1, 4))}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_no_request_makes_the_server_fail(server: Running, seed: int) -> None:
    draw = random.Random(seed)
    with httpx.Client(base_url=server.url, trust_env=False, timeout=600) as client:
        for _ in range(60):
            path, body = draw.choice(PATHS), odd_request(draw)
            if isinstance(body.get("n_predict"), int) and not 0 <= body["n_predict"] < 50:
                body["n_predict"] = 2  # all of the context is not a fault, but takes its time
            answer = client.post(path, content=json.dumps(body).encode(), headers=JSON)
            assert answer.status_code in (200, 400), (path, body, answer.text[:300])
            if answer.status_code == 400:
                assert_refused(answer)
            elif answer.headers["content-type"].startswith("text/event-stream"):
                ended = '"stop":true' in answer.text or answer.text.endswith("data: [DONE]\n\n")
                assert ended, (path, body, answer.text[-300:])
                assert '"type":"server_error"' not in answer.text, (path, body, answer.text[-300:])
