"""Tools over HTTP, asked by OpenAI's client and LangChain, with templates that know them or not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_openai import ChatOpenAI
from openai import BadRequestError, OpenAI
from pydantic import SecretStr

from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.tools import plan_tools, tool_turns
from serve.tiny_server import Running, Servers

HERMES = """{%- if tools %}system: {{ tools | tojson }} as <tool_call>{% endif -%}
{% for m in messages %}{{ m.role }}: {{ m.content or "" }}
{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function.arguments | tojson }}</tool_call>
{%- endfor %}
{% endfor %}assistant: """
BAR, LOW = "\uff5c", "\u2581"
DEEPSEEK = (
    "{% if tools %}tools {{ tools | length }}{% endif %}"
    f"{{% for m in messages %}}{{{{ m.content }}}}<{BAR}tool{LOW}calls{LOW}begin{BAR}>"
    "{% for c in m.tool_calls or [] %}```json {{ c.function.arguments }}{% endfor %}{% endfor %}"
)
ASK: list[Any] = [{"role": "user", "content": "add 1 and 2"}]
ADD: dict[str, Any] = {
    "name": "add",
    "description": "The sum.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "why": {"enum": ["asked", "bored"]}},
        "required": ["a", "why"],
        "additionalProperties": False,
    },
}
TOOLS: list[Any] = [
    {"type": "function", "function": ADD},
    {"type": "function", "function": {"name": "stop_now", "parameters": {"type": "object"}}},
]
NAMED: Any = {"type": "function", "function": {"name": "add"}}


@pytest.fixture(scope="module")
def knowing(servers: Servers, model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """The tiny model with a template that knows tools."""
    path = tmp_path_factory.mktemp("template") / "hermes.jinja"
    path.write_text(HERMES)
    return servers.start(
        LocalBackend(TextEngine.open(model_dir, chat_template=str(path), precision="float32"))
    )


@pytest.fixture(scope="module")
def client(knowing: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{knowing.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def check_add(name: str, arguments: str) -> None:
    assert name == "add"
    given = json.loads(arguments)
    assert type(given["a"]) is int
    assert given["why"] in ("asked", "bored")


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_call_that_must_come_comes_whole_or_streamed(client: OpenAI, choice: Any) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra structured")
    asked: dict[str, Any] = {
        "model": "any", "messages": ASK, "tools": TOOLS[:1], "tool_choice": choice,
        "max_tokens": 60, "parallel_tool_calls": False,
    }  # fmt: skip
    answer = client.chat.completions.create(**asked).choices[0]
    (call,) = answer.message.tool_calls or []
    assert call.type == "function"
    check_add(call.function.name, call.function.arguments)
    assert answer.message.content is None
    assert call.id.startswith("call_")
    chunks = list(client.chat.completions.create(**asked, stream=True))
    deltas = [c.choices[0].delta for c in chunks if c.choices and c.choices[0].delta.tool_calls]
    parts: Any = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert (parts[0].index, parts[0].type, parts[0].function.arguments) == (0, "function", "")
    assert all(part.id is None and part.function.name is None for part in parts[1:])
    joined = "".join(part.function.arguments for part in parts)
    assert (parts[0].function.name, joined) == (call.function.name, call.function.arguments)
    assert chunks[-1].choices[0].finish_reason == answer.finish_reason


def test_a_stop_string_does_not_cut_a_call_that_must_come(client: OpenAI) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra structured")
    asked: dict[str, Any] = {"model": "any", "messages": ASK, "tools": TOOLS, "max_tokens": 80}
    whole = client.chat.completions.create(**asked, tool_choice=NAMED)
    cut = client.chat.completions.create(**asked, tool_choice=NAMED, stop=[":", '"', "{"])
    assert cut.choices[0].finish_reason == whole.choices[0].finish_reason
    assert cut.choices[0].message.tool_calls is not None
    assert whole.choices[0].message.tool_calls is not None
    assert cut.choices[0].message.tool_calls[0].function == (
        whole.choices[0].message.tool_calls[0].function
    )


def test_a_call_that_could_never_end_is_refused(client: OpenAI) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra structured")
    endless: Any = {"type": "function", "function": {"name": "f", "parameters": {"$ref": "#"}}}
    with pytest.raises(BadRequestError, match="leads back to itself"):
        client.chat.completions.create(
            model="any", messages=ASK, tools=[endless], tool_choice="required", max_tokens=8
        )


def test_an_answer_without_a_call_is_as_without_tools(client: OpenAI) -> None:
    usual = client.chat.completions.create(
        model="any", messages=ASK, tools=TOOLS, tool_choice="auto", max_tokens=8, logprobs=True
    )
    none = client.chat.completions.create(
        model="any", messages=ASK, tools=TOOLS, tool_choice="none", max_tokens=8
    )
    assert usual.choices[0].message.tool_calls is None
    assert usual.choices[0].finish_reason == "length"
    assert usual.choices[0].logprobs is not None
    # With "none" the model is not told of them at all.
    assert none.usage is not None
    assert usual.usage is not None
    assert none.usage.prompt_tokens < usual.usage.prompt_tokens


def test_what_tools_gave_goes_back_into_the_dialogue(client: OpenAI, knowing: Running) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    turns: list[Any] = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]
    shown = httpx.post(
        f"{knowing.url}/apply-template", json={"messages": turns}, trust_env=False, timeout=600
    ).json()["prompt"]
    # The template writes arguments as JSON, and so gets them as an object.
    assert '<tool_call>{"a": 1}</tool_call>' in shown
    assert "tool: 3" in shown
    answer = client.chat.completions.create(model="any", messages=turns, tools=TOOLS, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"


def test_a_template_that_joins_arguments_as_text_gets_them_as_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    (given,) = tool_turns([turn], None, DEEPSEEK)
    assert given["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_a_template_that_knows_no_tools_is_told_in_the_systems_turn() -> None:
    plan = plan_tools(TOOLS, "auto", None, "{{ messages }}")
    assert plan is not None
    turns: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": [{"function": ADD}]},
        {"role": "tool", "content": "3"},
    ]
    told = tool_turns(turns, plan, "{{ messages }}")
    assert told[0]["content"].startswith("Be brief.\n\n")
    assert '"name": "add"' in told[0]["content"]
    assert told[1]["content"].startswith("<tool_call>")
    assert told[2] == {"role": "user", "content": "<tool_response>\n3\n</tool_response>"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        ({"tools": TOOLS * 70}, "tools"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "z"}}},
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tools"),
    ],
)
def test_what_is_no_tool_and_no_choice_is_refused_by_name(
    client: OpenAI, more: dict[str, Any], param: str
) -> None:
    asked: dict[str, Any] = {"model": "any", "messages": ASK, "max_tokens": 1} | more
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(**asked)
    assert refused.value.param == param


@pytest.mark.slow
def test_langchain_binds_tools(knowing: Running) -> None:
    pytest.importorskip("xgrammar", reason="needs the extra structured")
    with httpx.Client(trust_env=False, timeout=600) as http:
        chat = ChatOpenAI(
            model="tiny-coder", base_url=f"{knowing.url}/v1", api_key=SecretStr("none"),
            max_retries=0, http_client=http,
        )  # fmt: skip
        bound = chat.bind_tools(TOOLS[:1], tool_choice="add")
        answer = bound.invoke("add 1 and 2")
    assert answer.tool_calls[0]["name"] == "add"  # type: ignore[attr-defined]
