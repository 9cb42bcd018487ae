"""Who answers: our engine, and servers by way of their API, ours among them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.core.errors import CheckpointError, ConfigError, RequestError
from codling.core.threads import in_threads
from codling.engine.text import TextEngine
from codling.evaluate.backends import ApiBackend, EngineBackend, open_backend
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Prompt, Sampling
from codling.serve.backend import LocalBackend
from serve.tiny_server import Servers, save_model

OPTIONS = Prompt(text="def add(first, second):", options=(" A", " B", " C", " D"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[EngineBackend]:
    backend = EngineBackend.open(
        model, config(model=model, concurrency=4, max_length=512, precision="float32")
    )
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[ApiBackend]:
    servers = Servers()
    running = servers.start(LocalBackend(TextEngine.open(model, precision="float32")))
    backend = ApiBackend(config(api=f"{running.url}/v1"))
    yield backend
    backend.close()
    servers.stop()


def config(**values: Any) -> BenchmarkConfig:
    return BenchmarkConfig(benchmark="humaneval", **values)


def answering(body: dict[str, Any], status: int = 200) -> ApiBackend:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    return ApiBackend(config(api="http://there/v1"), transport=transport)


def test_the_engine_answers_texts_holes_and_chats(engine):
    sampling = Sampling(max_tokens=5)
    hole = Prompt(hole=("def f(", "    return 1"))
    chat = Prompt(messages=({"role": "user", "content": "hello"},))
    for prompt in (Prompt(text="def add"), hole, chat):
        answer = engine.answer(prompt, sampling, None)
        assert 0 < answer.n_tokens <= 5
        assert answer.finish in ("stop", "length")


def test_greedy_answers_repeat_and_sampled_ones_follow_their_seed(engine):
    sampling = Sampling(max_tokens=12)
    engine._config = config(temperature=1.0, top_p=1.0)
    texts = [
        engine.answer(Prompt(text="class"), sampling, seed).text for seed in (None, None, 1, 1, 2)
    ]
    assert texts[0] == texts[1]
    assert texts[2] == texts[3] != texts[4]


def test_questions_of_many_threads_share_batches_and_get_their_own_answers(engine):
    prompts = [Prompt(text=f"def f{i}(") for i in range(8)]
    sampling = Sampling(max_tokens=24)
    alone = [engine.answer(prompt, sampling, None).text for prompt in prompts]
    widths: list[int] = []
    inner = engine._engine._worker._engine
    next_tokens = inner.next_tokens

    def watched():
        widths.append(len(inner.scheduler.running))
        return next_tokens()

    inner.next_tokens = watched
    together = dict(in_threads(lambda p: engine.answer(p, sampling, None).text, prompts, 4))
    inner.next_tokens = next_tokens
    assert [together[i] for i in range(8)] == alone
    assert max(widths) == 4


def test_closing_ends_what_is_being_asked(model):
    backend = EngineBackend.open(model, config(model=model, max_length=2048))
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            backend.answer(Prompt(text="x"), Sampling(max_tokens=2000), None)
        except BaseException as error:  # noqa: BLE001 - whichever it is
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    backend.close()
    thread.join(timeout=600)
    assert not thread.is_alive()


def test_a_prompt_that_is_too_long_says_which_setting_to_raise(engine):
    with pytest.raises(RequestError, match=r"at most 512 .* --max-length"):
        engine.answer(Prompt(text="x " * 600), Sampling(max_tokens=5), None)
    with pytest.raises(RequestError, match=r"at most 512 .* --max-length"):
        engine.check(Prompt(text="x " * 600), Sampling(max_tokens=5))
    with pytest.raises(RequestError, match=r"at most 512 .* --max-length"):
        engine.check(Prompt(text="x", options=("y", "x " * 600)), Sampling(max_tokens=5))


def test_the_likeliest_option_has_the_highest_sum_of_log_probabilities(engine):
    text = engine._engine
    start = text.complete_prompt(OPTIONS.text)
    sums = []
    for option in OPTIONS.options:
        ids = [*start, *text.tokenizer.encode(option)]
        sums.append(sum(entry.logprob for entry in text.score(ids)[len(start) :]))
    assert engine.answer(OPTIONS, Sampling(), None).text == OPTIONS.options[sums.index(max(sums))]


def test_our_server_ranks_options_as_the_engine_does(engine, served):
    for text in ("def add(first, second):", "for name in names:", "x:", "naïve λ, 中文:"):
        prompt = Prompt(text=text, options=OPTIONS.options)
        assert (
            served.answer(prompt, Sampling(), None).text
            == engine.answer(prompt, Sampling(), None).text
        )


def test_only_the_options_own_tokens_count():
    def choice(index: int, option: str, made: str, *values: float) -> dict[str, Any]:
        tokens = [
            "<begin>",
            "bytes:\\xc3",
            "bytes:\\xa9",
            " A",
            "?",
            *option,
            *([made] * bool(made)),
        ]
        logprobs = {"tokens": tokens, "token_logprobs": [None, -9.0, -9.0, -9.0, -9.0, *values]}
        text = f"é A?{option}" + ("" if made.startswith("<") else made)
        return {"index": index, "text": text, "logprobs": logprobs}

    choices = [
        choice(1, " A", " A", -1.0, -1.0, -0.1),  # one more token was generated
        choice(0, " B", "<end>", -0.5, -2.0, -0.1),  # it ended at once
        choice(2, " C", "", -2.0, -2.0),  # nothing was generated
    ]
    prompt = Prompt(text="é A?", options=(" B", " A", " C"))
    assert answering({"choices": choices}).answer(prompt, Sampling(), None).text == " A"
    choices[1] = choice(0, " B", "<end>", -0.5, -1.4, -0.1)
    assert answering({"choices": choices}).answer(prompt, Sampling(), None).text == " B"


@pytest.mark.parametrize(
    "backend",
    [
        answering({"choices": [{"index": i, "text": "A", "logprobs": None} for i in range(4)]}),
        answering({"error": {"message": "echo is not supported"}}, status=400),
        answering({"choices": []}),
    ],
)
def test_a_server_that_cannot_echo_is_named_in_one_line(backend):
    backend._pause = 0.0
    with pytest.raises(RequestError, match="http://there/v1 gives no log-probabilities") as caught:
        backend.answer(OPTIONS, Sampling(), None)
    assert "--style instruct" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_model_or_one_server_and_it_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="one of them"):
        open_backend(config())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        open_backend(config(model=tmp_path / "none"))
