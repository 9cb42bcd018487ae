"""POST /v1/completions, asked by OpenAI's own client and by plain HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIStatusError, BadRequestError, OpenAI

from codling.engine.request import Completion, SamplingParams
from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.tokens.families import FIM_BEGIN, FIM_END, FIM_HOLE
from serve.tiny_server import CONTEXT, Running, Servers, save_model

PROMPT = "def add(first, second):\n"
SUFFIX = "\n\n\nclass Stack:\n"


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def post(server: Running, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, trust_env=False, timeout=600)


def continued(engine: TextEngine, text: str, n: int) -> Completion:
    prompt = engine.cursor_prompt(text, literal=False)
    return engine.submit(prompt, SamplingParams(max_tokens=n)).result()


def test_the_text_is_the_engines_own(client: OpenAI, engine: TextEngine) -> None:
    answer = client.completions.create(model="any", prompt=PROMPT, max_tokens=24)
    own = continued(engine, PROMPT, 24)
    assert answer.choices[0].text == own.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.model == "tiny-coder"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24
    assert answer.usage.prompt_tokens == own.n_prompt_tokens


def test_a_suffix_makes_it_an_insertion(client: OpenAI, engine: TextEngine) -> None:
    answer = client.completions.create(model="any", prompt=PROMPT, suffix=SUFFIX, max_tokens=24)
    own = engine.insert([(PROMPT, SUFFIX)], SamplingParams(max_tokens=24))[0]
    assert answer.choices[0].text == own.text
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == own.n_prompt_tokens


def test_offsets_are_the_same_in_a_stream_also_where_characters_are_cut(client: OpenAI) -> None:
    asked: Any = {"model": "any", "prompt": PROMPT, "max_tokens": 40, "logprobs": 0}
    whole = client.completions.create(**asked).choices[0].logprobs
    assert whole is not None
    assert any(name.startswith("bytes:") for name in whole.tokens or ())
    streamed = [
        offset
        for chunk in client.completions.create(**asked, stream=True)
        for offset in (chunk.choices[0].logprobs or whole).text_offset or ()
    ]
    assert streamed == whole.text_offset


def test_nothing_generated_is_a_stream_too_where_one_is_asked_for(client: OpenAI) -> None:
    asked: Any = {"model": "any", "prompt": PROMPT, "max_tokens": 0, "echo": True}
    chunks = list(
        client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert [choice.text for chunk in chunks for choice in chunk.choices] == [PROMPT]
    assert chunks[0].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [({"include_usage": None}, 200), ({"include_usage": "x"}, 400), ({}, 200), ([], 400)],
)
def test_options_of_a_stream_are_read_or_named(server: Running, options: Any, status: int) -> None:
    answer = post(
        server, "/v1/completions", prompt="x", max_tokens=1, stream=True, stream_options=options
    )
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["message"].startswith("stream_options")
        assert "input should be a valid" in answer.json()["error"]["message"]


def test_an_empty_suffix_is_the_end_of_a_file(client: OpenAI, engine: TextEngine) -> None:
    answer = client.completions.create(model="any", prompt=PROMPT, suffix="", max_tokens=8)
    assert (
        answer.choices[0].text
        == engine.insert([(PROMPT, "")], SamplingParams(max_tokens=8))[0].text
    )


def test_deepseeks_addresses_lead_to_the_same_place(server: Running) -> None:
    texts = {
        post(server, path, prompt=PROMPT, suffix=SUFFIX, max_tokens=8).json()["choices"][0]["text"]
        for path in ("/v1/completions", "/beta/completions", "/completions")
    }
    assert len(texts) == 1


def test_a_prompt_that_the_editor_built_is_read_as_an_insertion(
    server: Running, engine: TextEngine
) -> None:
    # Zed's prompt_format "deepseek_coder" sends the tokens as text.
    prompt = f"{FIM_BEGIN}{PROMPT}{FIM_HOLE}{SUFFIX}{FIM_END}"
    answer = post(server, "/v1/completions", prompt=prompt, max_tokens=24).json()
    own = engine.insert([(PROMPT, SUFFIX)], SamplingParams(max_tokens=24))[0]
    assert answer["choices"][0]["text"] == own.text


@pytest.mark.parametrize("field", ["prompt", "suffix"])
def test_lookalikes_of_fim_tokens_are_refused_with_the_cure(client: OpenAI, field: str) -> None:
    texts: dict[str, Any] = {"prompt": "a", "suffix": None} | {
        field: "<|fim_begin|>a<|fim_hole|>b<|fim_end|>"
    }
    with pytest.raises(BadRequestError, match="only looks like") as refused:
        client.completions.create(model="any", max_tokens=8, **texts)
    assert FIM_BEGIN in str(refused.value)


def test_streamed_and_whole_text_are_equal(client: OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "any",
        "prompt": PROMPT,
        "max_tokens": 40,
        "n": 2,
        "temperature": 1.0,
        "seed": 5,
    }
    whole = client.completions.create(**asked)
    texts = {0: "", 1: ""}
    reasons = {}
    for chunk in client.completions.create(**asked, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.text
        reasons[choice.index] = choice.finish_reason
    assert [texts[0], texts[1]] == [c.text for c in whole.choices]
    assert [reasons[0], reasons[1]] == [c.finish_reason for c in whole.choices]
    assert texts[0] != texts[1]


def test_a_seed_repeats_and_another_differs(client: OpenAI) -> None:
    def sampled(seed: int) -> str:
        asked: dict[str, Any] = {
            "model": "any",
            "prompt": PROMPT,
            "max_tokens": 30,
            "temperature": 1.0,
        }
        return client.completions.create(**asked, seed=seed).choices[0].text

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_the_stream_ends_with_done_and_has_usage_only_when_asked(server: Running) -> None:
    def events(**more: Any) -> list[str]:
        body = post(server, "/v1/completions", prompt="x", max_tokens=3, stream=True, **more)
        assert body.headers["content-type"].startswith("text/event-stream")
        parts = body.text.split("\n\n")
        assert parts.pop() == ""
        assert all(p.startswith("data: ") for p in parts)
        return [p.removeprefix("data: ") for p in parts]

    *plain, done = events()
    assert done == "[DONE]"
    # Continue reads choices[0] of every chunk unguarded.
    assert all(len(json.loads(e)["choices"]) == 1 for e in plain)
    assert all("usage" not in json.loads(e) for e in plain)
    *_, last, done = events(stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"]["completion_tokens"] == 3


def test_usage_has_openais_and_deepseeks_cache_counts(server: Running) -> None:
    usage = post(server, "/v1/completions", prompt=PROMPT * 4, max_tokens=2).json()["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert usage["prompt_cache_hit_tokens"] == cached
    assert (
        usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"]
        == usage["prompt_tokens"]
    )
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_many_prompts_and_choices_come_back_in_order(client: OpenAI, engine: TextEngine) -> None:
    answer = client.completions.create(model="any", prompt=["for ", "class "], n=2, max_tokens=6)
    own = [continued(engine, text, 6) for text in ("for ", "for ", "class ", "class ")]
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert [c.text for c in answer.choices] == [c.text for c in own]


def test_token_ids_are_taken_as_they_are(client: OpenAI, engine: TextEngine) -> None:
    ids = engine.complete_prompt(PROMPT)
    by_ids = client.completions.create(model="any", prompt=ids, max_tokens=6).choices[0].text
    by_text = client.completions.create(model="any", prompt=PROMPT, max_tokens=6).choices[0].text
    many = client.completions.create(model="any", prompt=[ids, ids], max_tokens=6)
    assert by_ids == by_text == many.choices[1].text


def test_echo_begins_with_the_prompt(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "any", "prompt": PROMPT, "max_tokens": 5}
    plain = client.completions.create(**asked).choices[0].text
    assert client.completions.create(**asked, echo=True).choices[0].text == PROMPT + plain
    streamed = client.completions.create(**asked, echo=True, stream=True)
    assert "".join(c.choices[0].text for c in streamed) == PROMPT + plain


def test_stop_strings_end_the_text_before_them(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "any", "prompt": PROMPT, "max_tokens": 40}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[10:13]
    cut = client.completions.create(**asked, stop=[stop, "never there"]).choices[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"
    assert client.completions.create(**asked, stop=stop).choices[0].text == cut.text


def test_logprobs_are_four_parallel_lists(client: OpenAI, engine: TextEngine) -> None:
    answer = client.completions.create(model="any", prompt=PROMPT, max_tokens=6, logprobs=3)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    own = engine.complete([PROMPT], SamplingParams(max_tokens=6, logprobs=3))[0].logprobs
    assert logprobs.token_logprobs == pytest.approx([entry.logprob for entry in own])
    # A piece of a character is named by its bytes: as text, all pieces would read alike.
    named = [t for t in logprobs.tokens if t.startswith("bytes:\\x")]
    assert len(named) == sum("\ufffd" in entry.text for entry in own)
    assert logprobs.top_logprobs is not None
    assert max(logprobs.top_logprobs[0].values()) == pytest.approx(own[0].top[0].logprob)
    begun = [sum(byte >> 6 != 0b10 for e in own[:i] for byte in e.bytes) for i in range(6)]
    assert logprobs.text_offset == begun


def test_offsets_count_characters_and_not_their_pieces(client: OpenAI) -> None:
    prompt = "def f():  # \u4e2d\u6587\n    return"
    answer = client.completions.create(
        model="any", prompt=prompt, max_tokens=0, echo=True, logprobs=1
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.text_offset is not None
    assert any(token.startswith("bytes:") for token in logprobs.tokens)
    # The tokens that are whole stand where their offsets say.
    for token, offset in zip(logprobs.tokens[1:], logprobs.text_offset[1:], strict=True):
        if not token.startswith("bytes:"):
            assert answer.choices[0].text.startswith(token, offset)


def test_max_tokens_0_with_echo_scores_the_prompt(client: OpenAI, engine: TextEngine) -> None:
    # How evaluation harnesses ask for the likelihood of a given text.
    answer = client.completions.create(
        model="any", prompt=PROMPT, max_tokens=0, echo=True, logprobs=1
    )
    own = engine.score(engine.complete_prompt(PROMPT))
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.token_logprobs[0] is None
    assert logprobs.token_logprobs[1:] == pytest.approx([e.logprob for e in own[1:] if e])
    assert answer.choices[0].text == PROMPT


def test_a_prompt_that_fills_the_context_is_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.completions.create(model="any", prompt=[7] * CONTEXT, max_tokens=5)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "prompt"
    assert str(CONTEXT) in refused.value.message


def test_a_long_file_is_cut_far_from_the_cursor_instead(client: OpenAI) -> None:
    answer = client.completions.create(
        model="any", prompt="x = 1\n" * 4000 + PROMPT, suffix=SUFFIX * 2000, max_tokens=4
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens <= CONTEXT - 4


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [10**9]}, "prompt"),
        ({"prompt": ["a", "b"], "suffix": "c"}, "prompt"),
        ({"echo": True, "suffix": "c"}, "echo"),
        ({"stop": ["x"] * 65}, "stop"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    server: Running, body: dict[str, Any], param: str
) -> None:
    answer = post(server, "/v1/completions", **({"prompt": "x", "max_tokens": 1} | body))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param in error["message"]


def test_unknown_fields_and_nulls_are_let_pass(server: Running) -> None:
    answer = post(
        server, "/v1/completions", prompt="x", max_tokens=1, suffix=None, stop=None, n=None,
        temperature=None, best_of=1, presence_penalty=0, something_new={"a": 1},
    )  # fmt: skip
    assert answer.status_code == 200


def test_an_insertion_does_not_repeat_the_suffix_unless_asked_to(server: Running) -> None:
    asked: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 40}
    free = post(server, "/v1/completions", **asked, suffix=SUFFIX, stop_at_suffix=False)
    text = free.json()["choices"][0]["text"]
    assert (
        text == post(server, "/v1/completions", **asked, suffix=SUFFIX).json()["choices"][0]["text"]
    )


def test_a_model_without_fim_tokens_refuses_a_suffix_and_says_why(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = save_model(tmp_path_factory.mktemp("plain") / "plain", fim=False)
    plain = servers.start(LocalBackend(TextEngine.open(folder, precision="float32")))
    answer = post(plain, "/v1/completions", prompt="a", suffix="b", max_tokens=4)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "suffix"
    assert "fill-in-the-middle" in answer.json()["error"]["message"]
    assert post(plain, "/infill", input_prefix="a", input_suffix="b").status_code == 400
    assert post(plain, "/v1/completions", prompt="a", suffix="", max_tokens=4).status_code == 200
    assert (
        httpx.get(f"{plain.url}/v1/models", trust_env=False, timeout=600).json()["data"][0][
            "can_insert"
        ]
        is False
    )


def test_openais_client_lists_and_retrieves_the_model(client: OpenAI) -> None:
    (card,) = client.models.list().data
    assert card.id == "tiny-coder"
    assert client.models.retrieve("tiny-coder").id == "tiny-coder"
    with pytest.raises(APIStatusError) as missing:
        client.models.retrieve("gpt-none")
    assert missing.value.status_code == 404
    assert missing.value.code == "model_not_found"
