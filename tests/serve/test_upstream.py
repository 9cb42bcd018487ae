"""Our front before another OpenAI-like server, played by our own app and by one that misbehaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from openai import OpenAI

from codling.core.errors import ConfigError
from codling.engine.request import Delta, SamplingParams
from codling.engine.text import TextEngine
from codling.serve.config import ServeConfig
from codling.serve.errors import ApiError
from codling.serve.upstream import (
    UpstreamBackend,
    UpstreamStream,
    _context,
    _refusal_error,
    base_url,
)
from codling.serve.upstream_logprobs import LogprobReader
from serve.tiny_server import Running, Servers, free_port

PROMPT, SUFFIX = "def add(first, second):\n", "\n\n\nclass Stack:\n"


@pytest.fixture(scope="module")
def front(servers: Servers, server: Running, model_dir: Path) -> Running:
    config = ServeConfig(model=model_dir, upstream=server.url, name="front")
    return servers.start(UpstreamBackend.connect(config), config)


@pytest.fixture(scope="module")
def client(front: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{front.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_front_takes_name_and_context_from_the_server_behind(
    client: OpenAI, server: Running
) -> None:
    (card,) = client.models.list().data
    assert card.id == "front"
    assert card.model_extra is not None
    assert card.model_extra["max_model_len"] == server.backend.max_length


def test_insertions_go_through_as_token_ids(client: OpenAI, engine: TextEngine) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 24}
    own = engine.insert([(PROMPT, SUFFIX)], SamplingParams(max_tokens=24))[0]
    answer = client.completions.create(**asked)
    assert answer.choices[0].text == own.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24
    assert answer.usage.prompt_tokens == own.n_prompt_tokens
    streamed = client.completions.create(**asked, stream=True)
    assert "".join(c.choices[0].text for c in streamed) == own.text


def test_chat_infill_stops_and_seeds_go_through(
    front: Running, client: OpenAI, engine: TextEngine
) -> None:
    turns: list[Any] = [{"role": "user", "content": "add"}]
    answer = client.chat.completions.create(model="m", messages=turns, max_tokens=9)
    ids = engine.chat_prompt(turns)
    own = engine.submit(ids, SamplingParams(max_tokens=9), mode="chat").result()
    assert answer.choices[0].message.content == own.text
    body = {"input_prefix": PROMPT, "input_suffix": SUFFIX, "n_predict": 9}
    infill = httpx.post(f"{front.url}/infill", json=body, trust_env=False, timeout=600).json()
    assert (
        infill["content"] == engine.insert([(PROMPT, SUFFIX)], SamplingParams(max_tokens=9))[0].text
    )
    params = SamplingParams(max_tokens=30, temperature=1.0, top_k=20, top_p=0.9, seed=4)
    sampled = client.completions.create(
        model="m", prompt=PROMPT, max_tokens=30, temperature=1.0, top_p=0.9, seed=4,
        extra_body={"top_k": 20},
    )  # fmt: skip
    assert sampled.choices[0].text == engine.complete([PROMPT], params)[0].text
    stop = sampled.choices[0].text[5:8]
    cut = client.completions.create(
        model="m", prompt=PROMPT, max_tokens=30, temperature=1.0, top_p=0.9, seed=4, stop=stop,
        extra_body={"top_k": 20},
    )  # fmt: skip
    assert cut.choices[0].text == sampled.choices[0].text.partition(stop)[0]


def test_a_client_that_leaves_ends_the_work_behind(front: Running, server: Running) -> None:
    asked = {"prompt": PROMPT, "max_tokens": 2000, "stream": True, "temperature": 1.0, "n": 4}
    url = f"{front.url}/v1/completions"
    before = server.state.metrics.cancelled.labels(reason="client")._value.get()
    with httpx.stream("POST", url, json=asked, trust_env=False, timeout=600) as answer:
        lines = answer.iter_lines()
        next(lines)
    front.wait_idle()
    server.wait_idle()
    # A choice may have come to an end of its own by then; not all four.
    assert server.state.metrics.cancelled.labels(reason="client")._value.get() > before


def test_log_probabilities_go_through(client: OpenAI, engine: TextEngine) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": PROMPT, "max_tokens": 9, "logprobs": 2}
    answer = client.completions.create(**asked).choices[0]
    own = engine.complete([PROMPT], SamplingParams(max_tokens=9, logprobs=2))[0]
    assert answer.text == own.text
    assert answer.logprobs is not None
    assert answer.logprobs.token_logprobs == pytest.approx([e.logprob for e in own.logprobs])
    assert [len(top) for top in answer.logprobs.top_logprobs or []] == [2] * 9
    chunks = list(client.completions.create(**asked, stream=True))
    streamed = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
    assert [name for part in streamed for name in part.tokens or []] == answer.logprobs.tokens


def test_a_given_text_is_scored_by_the_server_behind(client: OpenAI, engine: TextEngine) -> None:
    answer = client.completions.create(
        model="m", prompt=PROMPT, max_tokens=0, echo=True, logprobs=0
    ).choices[0]
    assert answer.logprobs is not None
    first, *rest = answer.logprobs.token_logprobs or []
    own = engine.score(engine.complete_prompt(PROMPT))
    assert first is None
    assert rest == pytest.approx([entry.logprob for entry in own if entry is not None])


def test_chats_have_log_probabilities_too(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "add"}], max_tokens=4, logprobs=True,
        top_logprobs=1,
    ).choices[0]  # fmt: skip
    assert answer.logprobs is not None
    assert [len(entry.top_logprobs) for entry in answer.logprobs.content or []] == [1] * 4


def test_log_probabilities_are_read_as_llama_cpp_writes_them(engine: TextEngine) -> None:
    reader = LogprobReader(engine.tokenizer, 1)
    top = [{"id": 9, "token": "?", "bytes": [1], "logprob": -0.25}]
    entry = {"id": 7, "token": "?", "bytes": [1], "logprob": -0.5, "top_logprobs": top}
    (found,) = reader.read({"content": [entry]})
    assert found is not None
    assert (found.token_id, found.logprob, found.top[0].token_id) == (7, -0.5, 9)
    named = {"tokens": ["token_id:7"], "token_logprobs": [-0.5], "top_logprobs": [None]}
    (same,) = reader.read(named)
    assert same is not None
    assert same.bytes == found.bytes == engine.tokenizer.token_bytes(7)


@pytest.mark.parametrize("odd", [{"tokens": ["a"]}, {"content": [{}]}, [], {"content": 7}])
def test_other_log_probabilities_are_the_other_servers_fault(
    engine: TextEngine, odd: object
) -> None:
    with pytest.raises(ApiError, match="in no known format"):
        LogprobReader(engine.tokenizer, 1).read(odd)


def test_a_server_that_is_not_there_is_one_line(model_dir: Path) -> None:
    config = ServeConfig(model=model_dir, upstream=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConfigError, match=r"no OpenAI-like server answers .* start it first"):
        UpstreamBackend.connect(config)
    with pytest.raises(ConfigError, match="must begin with http"):
        ServeConfig(model=model_dir, upstream="localhost:8000")


@pytest.fixture(scope="module")
def odd(servers: Servers) -> Running:
    """A server that refuses, breaks off, or talks nonsense, as the model's name says."""
    app = FastAPI()

    async def words(model: str) -> AsyncIterator[str]:
        yield ": waiting\n\n"
        yield 'data: {"choices": [{"index": 0, "text": "a"}]}\n\n'
        if model == "nonsense":
            yield "data: {oops\n\n"
        if model == "error":
            yield 'data: {"error": {"message": "out of memory"}}\n\n'
        if model == "fine":
            yield 'data: {"choices": [{"text": "b", "finish_reason": "stop"}], "usage": null}\n\n'
            yield (
                'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, '
                '"prompt_tokens_details": {"cached_tokens": 1}}}\n\ndata: [DONE]\n\n'
            )

    @app.post("/v1/completions", response_model=None)
    async def completions(request: Request) -> JSONResponse | StreamingResponse:
        body = await request.json()
        assert "suffix" not in body
        assert all(isinstance(i, int) for i in body["prompt"])
        if body["model"] in ("400", "401", "500"):
            status = int(body["model"])
            return JSONResponse({"error": {"message": "no, thanks"}}, status_code=status)
        return StreamingResponse(words(body["model"]), media_type="text/event-stream")

    return servers.start_app(app)


@pytest.mark.parametrize(
    ("model", "status", "says"),
    [
        ("400", 400, "no, thanks"),
        ("500", 500, "no, thanks"),
        # Its refusal of our key is not the client's fault.
        ("401", 502, "no, thanks"),
        ("nonsense", 502, "not JSON"),
        ("error", 502, "out of memory"),
        ("fine", 200, '"text":"ab"'),
    ],
)
def test_what_the_other_server_says_reaches_the_client(
    servers: Servers, odd: Running, engine: TextEngine, model: str, status: int, says: str
) -> None:
    backend = UpstreamBackend(base_url(odd.url), engine.tokenizer, model=model)
    front = servers.start(backend)
    body = {"prompt": "x", "suffix": "y", "max_tokens": 5}
    answer = httpx.post(f"{front.url}/v1/completions", json=body, trust_env=False, timeout=600)
    assert answer.status_code == status
    assert says in answer.text
    if status == 200:
        usage = answer.json()["usage"]
        assert (usage["completion_tokens"], usage["prompt_cache_hit_tokens"]) == (2, 1)


def test_the_blank_that_the_prompt_left_to_the_answer_is_taken_off_once() -> None:
    events = 'data: {"choices": [{"text": " a"}, {"text": " b"}]}\n\ndata: [DONE]\n\n'
    response = httpx.Response(200, content=events.encode())

    async def text() -> str:
        stream = UpstreamStream(response, AsyncExitStack(), 9, lead=" ")
        return "".join([delta.text async for delta in stream])

    assert asyncio.run(text()) == "a b"


def test_a_line_without_end_is_refused_while_it_comes() -> None:
    n_sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal n_sent
        yield b"data: "
        while True:
            n_sent += 1
            yield b"x" * 2**20

    async def read_all() -> None:
        response = httpx.Response(200, content=pieces())
        async for _ in UpstreamStream(response, AsyncExitStack(), 9):
            pass

    with pytest.raises(ApiError, match="a line without end"):
        asyncio.run(read_all())
    assert n_sent < 20


def test_an_answer_that_goes_on_beyond_what_was_asked_for_ends() -> None:
    deltas = read('data: {"choices": [{"text": "a"}]}\n\n' * 1_000, most=9)
    assert deltas[-1].finish_reason == "length"
    assert 9 <= len("".join(delta.text for delta in deltas)) < 40


def read(events: str, most: int = 9) -> list[Delta]:
    """What is made of a stream of events."""

    async def deltas() -> list[Delta]:
        response = httpx.Response(200, content=events.encode())
        return [delta async for delta in UpstreamStream(response, AsyncExitStack(), most)]

    return asyncio.run(deltas())


@pytest.mark.parametrize(
    "events",
    [
        "",
        "<html>log in</html>",
        '{"choices": [{"text": "a", "finish_reason": "stop"}]}',
        'data: {"choices": [{"text": "a", "finish_reason": null}]}\n\n',
    ],
)
def test_an_answer_that_ends_without_its_end_is_not_taken_for_whole(events: str) -> None:
    with pytest.raises(ApiError, match="broke off") as failed:
        read(events)
    assert failed.value.status == 502


@pytest.mark.parametrize(
    "event",
    [
        "[1]", "null", "5", '{"choices": null}', '{"choices": "ab"}', '{"choices": [null]}',
        '{"choices": [{"text": 5}]}', '{"usage": "x"}', '{"usage": {"completion_tokens": "x"}}',
    ],
)  # fmt: skip
def test_an_event_that_is_none_is_told_as_the_other_servers(event: str) -> None:
    with pytest.raises(ApiError, match="no part of a completion") as failed:
        read(f"data: {event}\n\ndata: [DONE]\n\n")
    assert failed.value.status == 502


def test_lines_end_where_those_of_events_do_and_counts_are_bounded() -> None:
    text = "a\u2028b\x85c\x0bd"
    event = json.dumps({"choices": [{"text": text}]}, ensure_ascii=False)
    counts = [(None, 0), (-5, 0), (3, 3), (10**9, 9)]
    for said, counted in counts:
        usage = json.dumps({"usage": {"completion_tokens": said}})
        *_, last = deltas = read(f"data: {event}\r\n\r\ndata:{usage}\n\ndata: [DONE]\n\n")
        assert "".join(delta.text for delta in deltas) == text
        assert len(last.token_ids) == counted


@pytest.mark.parametrize(
    ("card", "length"),
    [
        ({"id": 5, "max_model_len": 10**30}, None),
        ({"id": "m", "meta": "none", "max_model_len": "4096"}, None),
        ({"id": "m", "max_model_len": True, "meta": {"n_ctx": 512}}, 512),
    ],
)
def test_a_context_that_is_none_is_passed_over(card: dict[str, Any], length: int | None) -> None:
    assert _context(card) == length


def test_a_refusal_says_how_long_to_wait_and_something_in_any_case() -> None:
    refused = _refusal_error(429, b'{"error": {"message": "later"}}', {"retry-after": "7"})
    assert refused.headers == {"Retry-After": "7"}
    assert "later" in refused.message
    for body in (b'{"detail": [{"msg": "bad"}]}', b'{"error": null}', b""):
        assert "None" not in _refusal_error(422, body).message
    assert "status 422" in _refusal_error(422, b"").message


@pytest.mark.parametrize("url", ["http://[::1", "http://", "http://127.0.0.1:1"])
def test_an_address_that_is_none_and_a_key_of_any_letters_are_one_line(url: str) -> None:
    config = ServeConfig(model=Path("tiny"), upstream=url, upstream_key="\u65e5\u672c")
    with pytest.raises(ConfigError, match="no OpenAI-like server answers"):
        UpstreamBackend.connect(config)
