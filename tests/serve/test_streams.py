"""Clients that go away, newer requests of one session, silence, errors in mid-stream."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.engine.request import Delta, Mode, SamplingParams
from codling.engine.text import TextEngine
from codling.serve.backend import DeltaStream, LocalBackend
from codling.serve.config import ServeConfig
from codling.serve.sessions import Sessions
from serve.tiny_server import Running, Servers, wait_until


class Slowed:
    """A real stream whose deltas are handed on slowly; `faulty` breaks it after the third."""

    def __init__(self, stream: DeltaStream, seconds: float, faulty: bool) -> None:
        self.stream, self.seconds, self.faulty = stream, seconds, faulty
        self.cancelled = False

    @property
    def n_cached_tokens(self) -> int:
        return self.stream.n_cached_tokens

    @property
    def n_drafted_tokens(self) -> int:
        return self.stream.n_drafted_tokens

    @property
    def n_accepted_tokens(self) -> int:
        return self.stream.n_accepted_tokens

    def cancel(self) -> None:
        self.cancelled = True
        self.stream.cancel()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        n = 0
        async for delta in self.stream:
            await asyncio.sleep(self.seconds)
            n += 1
            if self.faulty and n > 3:
                raise RuntimeError("the device is on fire")
            yield delta


class SlowBackend(LocalBackend):
    """The tiny model at the speed of a large one."""

    seconds = 0.02
    faulty = False

    def __init__(self, engine: TextEngine) -> None:
        super().__init__(engine)
        self.opened: list[Slowed] = []

    async def open(
        self, prompt_ids: Sequence[int], params: SamplingParams, mode: Mode
    ) -> DeltaStream:
        slowed = Slowed(await super().open(prompt_ids, params, mode), self.seconds, self.faulty)
        self.opened.append(slowed)
        return slowed  # type: ignore[return-value]


@pytest.fixture(scope="module")
def slow(servers: Servers, model_dir: Path) -> Running:
    config = ServeConfig(model=model_dir, max_streams=2, max_waiting=4, keep_alive_seconds=0.05)
    return servers.start(SlowBackend(TextEngine.open(model_dir, precision="float32")), config)


@pytest.fixture
def backend(slow: Running) -> Iterator[SlowBackend]:
    assert isinstance(slow.backend, SlowBackend)
    slow.backend.opened.clear()
    yield slow.backend
    slow.backend.seconds, slow.backend.faulty = 0.02, False
    slow.wait_idle()


def stream(slow: Running, path: str = "/v1/completions", **body: Any):
    asked = {"prompt": "def add(", "max_tokens": 200, "stream": True} | body
    return httpx.stream("POST", slow.url + path, json=asked, trust_env=False, timeout=600)


def cancelled(slow: Running, reason: str) -> float:
    return slow.state.metrics.cancelled.labels(reason=reason)._value.get()


def test_a_stream_ends_when_its_client_goes_away(slow: Running, backend: SlowBackend) -> None:
    before = cancelled(slow, "client")
    with stream(slow, n=2) as answer:
        lines = answer.iter_lines()  # kept: without it httpx closes the connection
        next(lines)
        assert slow.state.metrics.running._value.get() == 2
    slow.wait_idle()
    assert [g.cancelled for g in backend.opened] == [True, True]
    assert cancelled(slow, "client") == before + 2


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/infill"])
def test_a_whole_answer_is_given_up_when_its_client_goes_away(
    slow: Running, backend: SlowBackend, path: str
) -> None:
    backend.seconds = 0.2
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 100, "n_predict": 100}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(slow.url + path, json=body | {"prompt": "x"}, trust_env=False, timeout=0.4)
    slow.wait_idle()
    assert [g.cancelled for g in backend.opened] == [True]


def test_a_newer_insertion_of_a_session_ends_the_older(slow: Running, backend: SlowBackend) -> None:
    header = {"X-Codling-Session": "editor-1"}
    asked = {"prompt": "a", "suffix": "b", "max_tokens": 200, "stream": False}
    older: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: older.append(
            httpx.post(
                f"{slow.url}/v1/completions",
                json=asked,
                headers=header,
                trust_env=False,
                timeout=600,
            )
        )
    )
    thread.start()
    wait_until(lambda: len(backend.opened) == 1)
    asked["max_tokens"] = 2
    newer = httpx.post(
        f"{slow.url}/v1/completions", json=asked, headers=header, trust_env=False, timeout=600
    )
    thread.join()
    assert newer.status_code == 200
    assert older[0].status_code == 499
    assert older[0].json()["error"]["code"] == "request_superseded"
    assert backend.opened[0].cancelled


@pytest.mark.usefixtures("backend")
def test_the_field_user_names_a_session_too_and_the_stream_says_why(slow: Running) -> None:
    with stream(slow, suffix="b", user="me") as older:
        lines = older.iter_lines()
        next(lines)
        with stream(slow, suffix="b", user="me", max_tokens=1) as newer:
            assert "[DONE]" in newer.read().decode()
        data = [json.loads(x[6:]) for x in lines if x.startswith("data: {")]
    assert data[-1]["error"]["code"] == "request_superseded"
    assert len(slow.state.sessions) == 0


def test_other_sessions_and_plain_completions_run_side_by_side(
    slow: Running, backend: SlowBackend
) -> None:
    with stream(slow, suffix="b", user="me", max_tokens=20) as one:
        lines = one.iter_lines()
        next(lines)
        with stream(slow, suffix="b", user="you", max_tokens=1) as two:
            two.read()
        with stream(slow, user="me", max_tokens=1) as three:
            three.read()
        assert "error" not in "".join(lines)
    assert len(backend.opened) == 3


def test_a_silent_stream_sends_comments(slow: Running, backend: SlowBackend) -> None:
    backend.seconds = 0.3
    with stream(slow, max_tokens=2) as answer:
        text = answer.read().decode()
    assert ": keep-alive\n\n" in text
    assert text.endswith("data: [DONE]\n\n")


def test_an_error_in_the_middle_is_a_data_event(
    slow: Running, backend: SlowBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.faulty = True
    with stream(slow) as answer:
        assert answer.status_code == 200
        events = [e for e in answer.read().decode().split("\n\n") if e.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    error = json.loads(events[-2][6:])["error"]
    assert error["type"] == "server_error"
    # The reason is for the server's log, not for the client.
    assert "fire" not in error["message"]
    assert "the device is on fire" in caplog.text


@pytest.mark.usefixtures("backend")
def test_more_than_can_wait_is_answered_with_503(slow: Running) -> None:
    with stream(slow, n=6) as full:
        lines = full.iter_lines()
        next(lines)
        refused = httpx.post(
            f"{slow.url}/v1/completions", json={"prompt": "x"}, trust_env=False, timeout=600
        )
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "busy"


def test_a_cancelled_request_frees_the_engine(servers: Servers, model_dir: Path) -> None:
    """Without slowing: the engine itself stops long before it would have been done."""
    running = servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")))
    asked = {"prompt": "x", "max_tokens": 1900, "stream": True, "n": 8, "temperature": 1.0}
    with httpx.stream(
        "POST", f"{running.url}/v1/completions", json=asked, trust_env=False, timeout=600
    ) as answer:
        lines = answer.iter_lines()
        next(lines)
    running.wait_idle()
    generated = running.state.metrics.generated_tokens._value
    so_far = generated.get()
    httpx.post(
        f"{running.url}/v1/completions",
        json={"prompt": "x", "max_tokens": 1},
        trust_env=False,
        timeout=600,
    )
    assert generated.get() == so_far + 1
    assert so_far < 8 * 1900 / 2


def test_sessions_forget_only_their_own_run() -> None:
    class Run:
        ended = False

        def supersede(self) -> None:
            self.ended = True

    sessions, first, second = Sessions(), Run(), Run()
    with sessions.supersede_older("a", first):
        with sessions.supersede_older("a", second):
            assert first.ended
            assert not second.ended
        assert len(sessions) == 0
    with sessions.supersede_older(None, first):
        assert len(sessions) == 0
