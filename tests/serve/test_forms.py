"""Forms, penalties, biases, best_of and the show-filter, through the server."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import pytest
from langchain_openai import ChatOpenAI
from openai import BadRequestError, OpenAI
from pydantic import BaseModel, SecretStr

from codling.core.errors import RequestError
from codling.engine.request import Delta, SamplingParams, TokenLogprob
from codling.engine.text import TextEngine
from codling.serve.forms import Constrained
from codling.serve.show import ShowFilter
from serve.tiny_server import Running

pytest.importorskip("xgrammar", reason="needs the extra structured")
ASK: list[Any] = [{"role": "user", "content": "add two numbers"}]
SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}, "why": {"type": "string"}},
    "required": ["sum", "why"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def post(server: Running, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, trust_env=False, timeout=600)


def check_sum(text: str | None) -> None:
    found = json.loads(text or "")
    assert set(found) == {"sum", "why"}
    assert type(found["sum"]) is int


@pytest.mark.parametrize("n", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_response_format_json_schema_always_parses(client: OpenAI, n: int) -> None:
    named: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    asked: dict[str, Any] = {"model": "any", "messages": ASK, "max_tokens": n}
    whole = client.chat.completions.create(**asked, response_format=named)
    check_sum(whole.choices[0].message.content)
    assert whole.choices[0].finish_reason in ("length", "stop")
    streamed = client.chat.completions.create(**asked, response_format=named, stream=True)
    text = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
    assert text == whole.choices[0].message.content


def test_response_format_json_object_and_several_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=ASK, max_tokens=20, n=3, temperature=1.0, seed=1,
        response_format={"type": "json_object"},
    )  # fmt: skip
    texts = [choice.message.content or "" for choice in answer.choices]
    assert all(isinstance(json.loads(text), dict) for text in texts)


class Verdict(BaseModel):
    """What LangChain and OpenAI's client parse an answer into."""

    is_right: bool
    grade: Literal["good", "bad"]


@pytest.mark.slow
def test_openais_parse_and_langchains_structured_output(server: Running, client: OpenAI) -> None:
    parsed = client.chat.completions.parse(model="any", messages=ASK, response_format=Verdict)
    assert isinstance(parsed.choices[0].message.parsed, Verdict)
    with httpx.Client(trust_env=False, timeout=600) as http:
        chat = ChatOpenAI(
            model="tiny-coder", base_url=f"{server.url}/v1", api_key=SecretStr("none"),
            max_retries=0, http_client=http,
        )  # fmt: skip
        found = chat.with_structured_output(Verdict, method="json_schema").invoke("add")
    assert isinstance(found, Verdict)


@pytest.mark.parametrize("path", ["/completion", "/infill", "/v1/completions"])
def test_llama_cpps_grammar_and_schema(server: Running, path: str) -> None:
    limit = {"max_tokens" if path.startswith("/v1") else "n_predict": 24}
    key = (lambda a: a["choices"][0]["text"]) if limit.get("max_tokens") else lambda a: a["content"]
    grammar = post(server, path, prompt="x = ", grammar='root ::= "ye" "s"+', **limit).json()
    assert key(grammar).startswith("yes")
    assert set(key(grammar)[2:]) == {"s"}
    check_sum(key(post(server, path, prompt="x = ", json_schema=SCHEMA, **limit).json()))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"grammar": 'root ::= "a" nowhere'}, None),
        ({"grammar": 'root ::= "a"', "json_schema": {}} | {"json_schema": SCHEMA}, "json_schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"structured_outputs": {"nothing": 1}}, "structured_outputs"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"guided_json": "{"}, "guided_json"),
    ],
)
def test_a_form_that_cannot_be_is_one_line(
    client: OpenAI, more: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.completions.create(model="any", prompt="x", max_tokens=4, extra_body=more)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"guided_json": json.dumps(SCHEMA)}, "schema"),
        ({"guided_choice": ["a", "b"]}, "grammar"),
        ({"structured_outputs": {"regex": "a+"}}, "regex"),
        ({"structured_outputs": {"json_object": True}}, "schema"),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, "schema"),
    ],
)
def test_vllms_and_llama_cpps_spellings_are_read(fields: dict[str, Any], kind: str) -> None:
    form = Constrained(**fields).form
    assert form is not None
    assert form.kind == kind


def test_two_forms_are_refused() -> None:
    with pytest.raises(RequestError, match="two forms"):
        _ = Constrained(grammar="root ::= [a]", guided_regex="a").form


def test_penalties_change_the_answer_as_the_engine_says(client: OpenAI, engine: TextEngine) -> None:
    prompt = engine.complete_prompt("def add(")
    answer = client.completions.create(
        model="any", prompt=prompt, max_tokens=16, frequency_penalty=1.5, presence_penalty=0.5,
        logit_bias={"77": 3}, extra_body={"repetition_penalty": 1.2},
    )  # fmt: skip
    params = SamplingParams(
        max_tokens=16, frequency_penalty=1.5, presence_penalty=0.5, repetition_penalty=1.2,
        logit_bias=((77, 3.0),),
    )  # fmt: skip
    assert answer.choices[0].text == engine.complete([prompt], params)[0].text
    assert (
        answer.choices[0].text != engine.complete([prompt], SamplingParams(max_tokens=16))[0].text
    )


def test_best_of_answers_the_likeliest(client: OpenAI, engine: TextEngine) -> None:
    prompt = engine.complete_prompt("def add(")
    asked: dict[str, Any] = {
        "model": "any", "prompt": prompt, "max_tokens": 6, "temperature": 1.0, "seed": 5,
    }  # fmt: skip
    made = client.completions.create(**asked, n=4, logprobs=0).choices

    def score(i: int) -> float:
        values = made[i].logprobs.token_logprobs  # type: ignore[union-attr]
        return sum(values) / len(values)  # type: ignore[arg-type]

    best = sorted(range(4), key=score, reverse=True)
    answer = client.completions.create(**asked, n=2, best_of=4)
    assert [c.text for c in answer.choices] == [made[i].text for i in best[:2]]
    assert [c.index for c in answer.choices] == [0, 1]
    assert all(c.logprobs is None for c in answer.choices)


def test_an_unlikely_insertion_stays_away_and_a_likely_one_is_as_it_was(client: OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "any", "prompt": "def add(", "suffix": "\n\nclass Stack:\n", "max_tokens": 16,
    }  # fmt: skip
    usual = client.completions.create(**asked).choices[0]
    for stream in (False, True):
        away = client.completions.create(**asked, stream=stream, extra_body={"min_logprob": -0.01})
        pieces: Any = list(away) if stream else [away]
        assert "".join(p.choices[0].text for p in pieces) == ""
        assert pieces[-1].choices[0].finish_reason == "stop"
    shown = client.completions.create(**asked, extra_body={"min_logprob": -1000}).choices[0]
    assert (shown.text, shown.logprobs) == (usual.text, None)


def entry(text: str, logprob: float) -> TokenLogprob:
    return TokenLogprob(token_id=1, text=text, bytes=text.encode(), logprob=logprob)


def test_the_first_line_decides_and_what_follows_does_not() -> None:
    first = Delta(text="", token_ids=(1,), logprobs=(entry("re", -0.2),))
    end = Delta(text="return\n", token_ids=(2,), logprobs=(entry("turn\n", -0.4),))
    bad = Delta(text="rest", token_ids=(3,), logprobs=(entry("rest", -9.0),), finish_reason="stop")
    show = ShowFilter(-0.31)
    assert show.push(first) == []
    assert show.push(end) == [first, end]
    assert show.push(bad) == [bad]
    hide = ShowFilter(-0.29)
    hide.push(first)
    (only,) = hide.push(end)
    assert (only.text, only.finish_reason, hide.stopped) == ("", "stop", True)
