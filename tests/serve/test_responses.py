"""POST /v1/responses, asked by OpenAI's client and LangChain."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_openai import ChatOpenAI
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import SecretStr

from codling.serve.response_items import messages_of
from serve.tiny_server import Running

TOOL: Any = {
    "type": "function",
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_text_is_that_of_chat(client: OpenAI) -> None:
    answer = client.responses.create(
        model="any", input="add two numbers", instructions="be brief", max_output_tokens=8
    )
    turns: list[Any] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "add two numbers"},
    ]
    own = client.chat.completions.create(model="any", messages=turns, max_tokens=8)
    assert answer.output_text == own.choices[0].message.content
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 8


def test_events_tell_the_whole_response_in_order(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "any", "input": "add two numbers", "max_output_tokens": 8}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events if not event.type.endswith(".delta")]
    assert kinds == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.incomplete",
    ]  # fmt: skip
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == whole.output_text
    assert events[-1].response.output_text == text  # type: ignore[union-attr]


def test_a_response_is_gone_on_from_fetched_and_dropped(client: OpenAI) -> None:
    first = client.responses.create(model="any", input="add", max_output_tokens=4)
    second = client.responses.create(
        model="any", input="more", previous_response_id=first.id, max_output_tokens=4
    )
    turns: list[Any] = [
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "more"},
    ]
    whole = client.responses.create(model="any", input=turns, max_output_tokens=4, store=False)
    assert second.output_text == whole.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    for id in (first.id, whole.id):
        with pytest.raises(NotFoundError, match="send the whole input"):
            client.responses.create(model="any", input="x", previous_response_id=id)


def test_a_call_of_a_function_is_an_item(client: OpenAI) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra structured")
    asked: dict[str, Any] = {
        "model": "any", "input": "add", "tools": [TOOL], "tool_choice": "required",
        "max_output_tokens": 40, "parallel_tool_calls": False,
    }  # fmt: skip
    whole: Any = client.responses.create(**asked).output[0]
    assert (whole.type, whole.name) == ("function_call", "add")
    assert json.loads(whole.arguments)["a"] in (1, 2)
    events = list(client.responses.create(**asked, stream=True))
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert [e.arguments for e in done] == [whole.arguments]
    parts = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(parts) == whole.arguments


def test_items_become_messages() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
    ]
    user, call, output, text = messages_of(items)
    assert user == {"role": "user", "content": "a"}
    assert call["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert output == {"role": "tool", "tool_call_id": "c1", "content": "3"}
    assert text == {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input"),
        ({"text": {"format": {"type": "xml"}}}, "response_format"),
        ({"text": {"format": "json"}}, "text"),
        ({"extra_body": {"response_format": {"type": "xml"}}}, "response_format"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: OpenAI, more: dict[str, Any], param: str
) -> None:
    asked: dict[str, Any] = {"model": "any", "input": "x", "max_output_tokens": 1} | more
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(**asked)
    assert refused.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_langchain_by_way_of_responses(server: Running, stream: bool) -> None:
    with httpx.Client(trust_env=False, timeout=600) as http:
        chat = ChatOpenAI(
            model="tiny-coder", base_url=f"{server.url}/v1", api_key=SecretStr("none"),
            max_retries=0, http_client=http, use_responses_api=True, max_completion_tokens=6,
        )  # fmt: skip
        pieces: list[Any] = list(chat.stream("add")) if stream else [chat.invoke("add")]
    assert "".join(str(piece.text) for piece in pieces)


def test_embeddings_are_refused_in_words(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="no embeddings"):
        client.embeddings.create(model="any", input="x")


def post(server: Running, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{server.url}{path}", json=body, trust_env=False, timeout=600)
    return answer.json()


def test_tokenize_and_detokenize_go_both_ways(server: Running) -> None:
    ids = post(server, "/tokenize", content="def add(\u00fc")["tokens"]
    assert post(server, "/detokenize", tokens=ids)["content"] == "def add(\u00fc"
    pieces = post(server, "/tokenize", content="def add(", with_pieces=True)["tokens"]
    assert "".join(piece["piece"] for piece in pieces) == "def add("
    bos = post(server, "/tokenize", content="x", add_special=True)["tokens"]
    assert len(bos) == 2
    as_vllm = post(server, "/tokenize", prompt="x")
    assert (as_vllm["tokens"], as_vllm["count"]) == (bos, 2)
    turns = [{"role": "user", "content": "x"}]
    prompt = post(server, "/apply-template", messages=turns)["prompt"]
    assert (
        post(server, "/tokenize", messages=turns)["tokens"]
        == post(server, "/tokenize", content=prompt)["tokens"]
    )
    assert post(server, "/detokenize", tokens=[10**6])["error"]["param"] == "tokens"
    assert post(server, "/tokenize")["error"]["param"] == "content"
    assert post(server, "/tokenize", messages=[])["error"]["param"] == "messages"


def test_slots_and_props_are_llama_cpps(server: Running) -> None:
    slots = httpx.get(f"{server.url}/slots", trust_env=False, timeout=600).json()
    assert len(slots) == 16
    assert slots[0]["is_processing"] in (True, False)
    props = httpx.get(f"{server.url}/props", trust_env=False, timeout=600).json()
    assert props["total_slots"] == 16
    assert "messages" in props["chat_template"]
