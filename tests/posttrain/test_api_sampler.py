"""grpo --api: answers of a server, by their tokens, with what has been learned loaded into it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import ConfigError, SourceError
from codling.core.files import read_json_lines
from codling.engine.text import TextEngine
from codling.posttrain import api_sampler
from codling.posttrain import grpo as grpo_stage
from codling.posttrain.api_sampler import ApiSampler
from codling.posttrain.grpo import grpo
from codling.posttrain.rewards import Assessment, Said
from codling.posttrain.rollout import Ask, Drawing
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from codling.tokens.tokenizer import Tokenizer
from posttrain.test_grpo import LikesLetters, config, rows  # noqa: F401
from serve.tiny_server import Servers


@pytest.fixture(scope="module")
def url(base_dir: Path) -> Iterator[str]:
    """The base behind our own server, which takes adapters."""
    servers = Servers()
    settings = ServeConfig(model=base_dir, runtime_adapters=True, precision="float32")
    engine = TextEngine.open(base_dir, precision="float32")
    yield servers.start(LocalBackend(engine), settings).url + "/v1"
    servers.stop()


class LikesHalf(LikesLetters):
    """About every second answer passes."""

    def assess(self, answers: Sequence[Said], *, hidden: bool = False) -> list[Assessment]:  # noqa: ARG002
        passes = [len(each.text) % 2 == 0 for each in answers]
        return [Assessment(grade="passed" if each else "failed") for each in passes]


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpo_stage, "Assessor", LikesHalf)
    monkeypatch.setattr(api_sampler, "_PAUSE", 0.0)


def asks(tokenizer: Tokenizer, n: int) -> list[Ask]:
    ids = tuple(tokenizer.encode("def add(a, b):"))
    return [Ask(prompt_ids=ids, stop=("e",), seed=i) for i in range(n)]


def open_sampler(base_dir: Path, folder: Path, url: str, reply: Any = None, **more: Any) -> Any:
    settings = config(base_dir, folder, folder / "out", api=url, **more)
    transport = None if reply is None else httpx.MockTransport(reply)
    model, tokenizer = load_model(base_dir), open_tokenizer(base_dir)
    return ApiSampler(model, tokenizer, settings, folder, transport), tokenizer, model


@pytest.mark.usefixtures("easy")
def test_a_servers_tokens_have_the_models_log_probabilities(
    base_dir: Path, tmp_path: Path, url: str
) -> None:
    sampler, tokenizer, model = open_sampler(base_dir, tmp_path, url)
    drawn = sampler.draw(asks(tokenizer, 6), Drawing(max_tokens=8))
    again = sampler.draw(asks(tokenizer, 6), Drawing(max_tokens=8))
    assert [each.token_ids for each in again] == [each.token_ids for each in drawn]
    assert len({each.token_ids for each in drawn}) > 1
    for rollout in drawn:
        assert "e" not in rollout.text
        assert rollout.ended or len(rollout.token_ids) == 8
        whole = torch.tensor([[*rollout.prompt_ids, *rollout.token_ids]])
        with torch.no_grad():
            scores = model.logits(model(whole[:, :-1]))[0].log_softmax(-1)
        n = len(rollout.prompt_ids)
        plain = [float(scores[n - 1 + i, t]) for i, t in enumerate(rollout.token_ids)]
        assert list(rollout.logprobs) == pytest.approx(plain, abs=1e-4)
    sampler.close()


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize("weights", ["adapter", "stale"])
def test_the_server_follows_what_is_learned_or_is_corrected_for(
    base_dir: Path,
    rows: Path,  # noqa: F811
    tmp_path: Path,
    url: str,
    weights: str,
) -> None:
    more = {"api": url, "api_weights": weights, "n_heldout_evals": 1, "max_steps": 3}
    made = grpo(config(base_dir, rows, tmp_path / "out", **more))
    gaps = [row["sampler_gap"] for row in read_json_lines(made.path / "metrics.jsonl")]
    assert 0 < gaps[0] < 1e-4
    if weights == "adapter":
        assert 0 < max(gaps) < 1e-4
        assert not list(made.path.rglob("codling-*"))
    else:
        assert gaps[1] > 1e-3


def say(**choice: Any) -> Any:
    """A server that answers every completion with one choice."""

    def reply(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m"}]})
        return httpx.Response(200, json={"choices": [choice]})

    return reply


def test_ids_come_as_names_of_tokens_too(base_dir: Path, tmp_path: Path) -> None:
    found = {"tokens": ["token_id:5", "token_id:6"], "token_logprobs": [-1.0, -2.0]}
    reply = say(logprobs=found, finish_reason="length")
    sampler, tokenizer, _ = open_sampler(base_dir, tmp_path, "http://server", reply)
    (rollout,) = sampler.draw(asks(tokenizer, 1), Drawing(max_tokens=2))
    assert (rollout.token_ids, rollout.logprobs) == ((5, 6), (-1.0, -2.0))
    assert not rollout.ended


def test_what_follows_a_stop_string_is_cut_off(base_dir: Path, tmp_path: Path) -> None:
    ids = open_tokenizer(base_dir).encode("a = 1\ne = 2\nb = 3\n")
    logprobs = {"token_logprobs": [-0.5] * len(ids)}
    reply = say(token_ids=ids, logprobs=logprobs, finish_reason="length")
    sampler, tokenizer, _ = open_sampler(base_dir, tmp_path, "http://server", reply)
    (rollout,) = sampler.draw(asks(tokenizer, 1), Drawing(max_tokens=99))
    assert rollout.text == "a = 1\n"
    assert rollout.ended
    assert 0 < len(rollout.token_ids) == len(rollout.logprobs) < len(ids)


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (say(text="x", logprobs=None), "no log-probabilities of the tokens"),
        (say(text="x", token_ids=[1], logprobs={"token_logprobs": []}), "no log-probabilities"),
        (say(token_ids=[1], logprobs={"token_logprobs": ["?"]}), "no log-probabilities"),
        (say(token_ids=[99999], logprobs={"token_logprobs": [-1.0]}), "runs another model"),
        (lambda _: httpx.Response(404, text="not\nfound"), "models does not answer: status 404"),
        (lambda _: httpx.Response(503), "models does not answer: status 503"),
        (lambda _: httpx.Response(200, json={"data": []}), "name it with --api-model"),
        (lambda _: httpx.Response(200, json=[], text="{"), None),
    ],
)
def test_a_server_that_cannot_be_learned_from_is_one_line(
    base_dir: Path, tmp_path: Path, reply: Any, said: str | None
) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_sampler(base_dir, tmp_path, "http://server/v1", reply)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://[::"])
def test_a_wrong_url_is_one_line(base_dir: Path, tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceError, match="does not answer"):
        open_sampler(base_dir, tmp_path, url)


def test_a_server_without_adapters_is_one_line_with_the_cure(
    base_dir: Path, tmp_path: Path
) -> None:
    plain = say(token_ids=[1], logprobs={"token_logprobs": [-1.0]})

    def reply(request: httpx.Request) -> httpx.Response:
        has_no = request.url.path.endswith("load_lora_adapter")
        return httpx.Response(404) if has_no else plain(request)  # type: ignore[no-any-return]

    sampler, _, model = open_sampler(base_dir, tmp_path, "http://server/v1", reply)
    from codling.posttrain.lora import add_lora

    add_lora(model, 4, 8.0, torch.Generator().manual_seed(0))
    with pytest.raises(SourceError, match="--api-weights stale does without"):
        sampler.follow(0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"api": "127.0.0.1:9"}, "must begin with http://"),
        ({"temperature": 0.7}, "temperature 1"),
        ({"mode": "full"}, "no adapter"),
        ({"api_weights": "stale", "faithful": True}, "importance_sampling_correction"),
    ],
)
def test_settings_that_a_server_cannot_have(tmp_path: Path, changes: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(tmp_path, tmp_path, tmp_path, **({"api": "http://server"} | changes))


def test_adapters_are_loaded_only_where_the_server_allows_it(
    base_dir: Path, tmp_path: Path, url: str
) -> None:
    servers = Servers()
    closed = servers.start(LocalBackend(TextEngine.open(base_dir))).url + "/v1"
    asked = {"lora_name": "a", "lora_path": str(tmp_path)}
    with httpx.Client(trust_env=False, timeout=600) as client:
        assert client.post(f"{closed}/load_lora_adapter", json=asked).status_code == 403
        empty = client.post(f"{url}/load_lora_adapter", json=asked)
        assert (empty.status_code, "\n" in json.loads(empty.text)["error"]["message"]) == (
            400,
            False,
        )
        nothing = client.post(f"{url}/load_lora_adapter", json={"lora_name": "a"})
        assert nothing.status_code == 400
        assert client.post(f"{url}/unload_lora_adapter", json=asked).status_code == 200
    servers.stop()
