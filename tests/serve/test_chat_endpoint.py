"""POST /v1/chat/completions, asked by OpenAI's client, LangChain and plain HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_openai import ChatOpenAI
from langchain_openai import OpenAI as LangChainCompletion
from openai import BadRequestError, OpenAI
from pydantic import SecretStr

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.serve.schema import ChatRequest
from codling.tokens.families import EOS, EOT
from serve.tiny_server import CONTEXT, Running

ASK: list[Any] = [{"role": "user", "content": "add two numbers"}]


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_answer_continues_the_chat_template(client: OpenAI, engine: TextEngine) -> None:
    answer = client.chat.completions.create(model="any", messages=ASK, max_tokens=12)
    ids = engine.chat_prompt(ASK)
    own = engine.submit(ids, SamplingParams(max_tokens=12), mode="chat").result()
    assert answer.choices[0].message.content == own.text
    assert answer.choices[0].message.role == "assistant"
    assert answer.object == "chat.completion"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(ids)


def test_streamed_chunks_join_to_the_whole(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "any", "messages": ASK, "max_completion_tokens": 20}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_max_completion_tokens_wins_over_max_tokens(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=ASK, max_tokens=9, max_completion_tokens=4
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        ({"n_predict": 0}, 1),
        ({"n_predict": 8}, 8),
        ({"n_predict": -1}, None),
        ({"n_predict": 0, "max_tokens": 5}, 5),
        ({"n_predict": 8, "max_tokens": -1}, 8),
        ({"max_tokens": -1}, None),
    ],
)
def test_llama_cpps_length_counts_where_openais_is_left_out(
    asked: dict[str, int], limit: int | None
) -> None:
    assert ChatRequest.model_validate({"messages": ASK, **asked}).limit == limit


def test_choices_differ_and_a_seed_repeats_them(client: OpenAI) -> None:
    def texts() -> list[str | None]:
        answer = client.chat.completions.create(
            model="any", messages=ASK, max_tokens=12, n=3, temperature=1.0, seed=3
        )
        return [c.message.content for c in answer.choices]

    assert len(set(texts())) == 3
    assert texts() == texts()


def test_content_parts_and_the_developer_role_are_understood(client: OpenAI) -> None:
    def text(messages: list[Any]) -> str | None:
        made = client.chat.completions.create(model="any", messages=messages, max_tokens=8)
        return made.choices[0].message.content

    parts = [{"type": "text", "text": "add two"}, {"type": "text", "text": " numbers"}]
    plain = text([{"role": "system", "content": "be brief"}, *ASK])
    assert (
        text([{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}])
        == plain
    )


def test_a_prefix_turn_is_continued_as_deepseek_does(client: OpenAI, engine: TextEngine) -> None:
    turns: list[Any] = [*ASK, {"role": "assistant", "content": "def add(", "prefix": True}]
    answer = client.chat.completions.create(model="any", messages=turns, max_tokens=8)
    ids = engine.chat_prompt(ASK) + engine.tokenizer.encode("def add(")
    own = engine.submit(ids, SamplingParams(max_tokens=8), mode="chat").result()
    assert answer.choices[0].message.content == own.text


def test_logprobs_have_text_bytes_and_alternatives(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=ASK, max_tokens=4, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 4
    assert all(len(entry.top_logprobs) == 2 for entry in logprobs.content)
    assert logprobs.content[0].logprob <= logprobs.content[0].top_logprobs[0].logprob


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": "x " * CONTEXT}]}, "messages"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: OpenAI, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(**{"model": "any", "messages": ASK, "max_tokens": 1, **more})
    assert refused.value.param == param


def test_special_tokens_in_a_message_cannot_end_its_turn(client: OpenAI) -> None:
    content = EOT + EOS
    turns: list[Any] = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model="any", messages=turns, max_tokens=1)
    short = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": ""}], max_tokens=1
    )
    assert answer.usage is not None
    assert short.usage is not None
    # Read as text they are many tokens; read as marks they would be two.
    assert answer.usage.prompt_tokens > short.usage.prompt_tokens + 10


def langchain(server: Running, **more: Any) -> ChatOpenAI:
    settings: dict[str, Any] = {
        "model": "tiny-coder",
        "max_tokens": 6,
        "base_url": f"{server.url}/v1",
        "api_key": SecretStr("none"),
        "max_retries": 0,
    }
    return ChatOpenAI(**(settings | more))


def test_langchain_invokes_and_streams(server: Running) -> None:
    with httpx.Client(trust_env=False, timeout=600) as http:
        chat = langchain(server, http_client=http)
        answer = chat.invoke("add two numbers")
        streamed = "".join(str(piece.content) for piece in chat.stream("add two numbers"))
    assert answer.content == streamed
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 6


def test_langchains_completion_model_works(server: Running, engine: TextEngine) -> None:
    with httpx.Client(trust_env=False, timeout=600) as http:
        model = LangChainCompletion(
            model="tiny-coder", base_url=f"{server.url}/v1", api_key=SecretStr("none"),
            max_tokens=6, temperature=0, max_retries=0, http_client=http,
        )  # fmt: skip
        text = model.invoke("def add(")
    assert text == engine.complete(["def add("], SamplingParams(max_tokens=6))[0].text
