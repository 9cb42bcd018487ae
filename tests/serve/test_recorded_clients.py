"""What LiteLLM and aider send, replayed.

Recorded on 2026-11-28 from litellm 1.110.2 (openai 3.57.0) and aider-chat 0.86.2 (litellm 1.81.10,
openai 2.20.0) asking `codling serve`: every field and the order of roles are theirs; the texts are
shorter and ours. LiteLLM sends the same chats for its providers openai/, hosted_vllm/ and
deepseek/.
"""

import json
from typing import Any

import httpx
import pytest

from serve.tiny_server import Running

TALK = [
    {"role": "system", "content": "You write code."},
    {"role": "user", "content": "add two numbers"},
]
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a file",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
        },
    },
}
EVERYTHING: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "add"}]}],
    "top_p": 0.9,
    "n": 2,
    "stop": ["x"],
    "max_tokens": 8,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "seed": 3,
    "logprobs": True,
    "top_logprobs": 2,
}
LITELLM_CHATS: dict[str, dict[str, Any]] = {
    "plain": {"messages": TALK, "temperature": 0, "max_tokens": 8},
    "tools": {"messages": TALK, "max_tokens": 8, "tools": [LOOK], "tool_choice": "auto"},
    "everything": EVERYTHING,
}
STREAMED = {"max_tokens": 8, "stream": True, "stream_options": {"include_usage": True}}
EXAMPLES = [
    {"role": "system", "content": "You edit files and answer with whole blocks of them."},
    {"role": "user", "content": "Rename total to sum."},
    {"role": "assistant", "content": "main.py\n```\nsum = 3\n```"},
]
MOVED_ON = [
    {"role": "user", "content": "That was another program; leave its files alone."},
    {"role": "assistant", "content": "Ok."},
]
FILES = [
    {"role": "user", "content": "calc.py\n\n```\ndef add(a, b):\n    return a + b\n```\n"},
    {"role": "assistant", "content": "Ok, I change those files."},
]
WISH = [{"role": "user", "content": "add a function sub\n\nAnswer with blocks of SEARCH/REPLACE."}]
AIDER: dict[str, dict[str, Any]] = {
    # It sends no max_tokens: the answer ends by itself or with the context.
    "diff, streamed": {
        "messages": [*EXAMPLES, *EXAMPLES[1:], *MOVED_ON, *FILES, *FILES, *WISH],
        "stream": True,
        "temperature": 0,
    },
    "whole": {"messages": [*EXAMPLES, *MOVED_ON, *FILES, *WISH], "temperature": 0},
    "commit message": {
        "messages": [EXAMPLES[0], {"role": "user", "content": "# Diffs:\n\ndiff --git a b\n+x"}],
        "temperature": 0,
    },
}


def post(server: Running, path: str, body: dict[str, Any]) -> httpx.Response:
    sent = {"model": "tiny-coder", **body}
    headers = {"authorization": "Bearer none", "x-stainless-lang": "python"}
    return httpx.post(f"{server.url}/v1/{path}", json=sent, headers=headers, timeout=600)


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


@pytest.mark.parametrize("name", LITELLM_CHATS)
def test_litellm_chats(server: Running, name: str) -> None:
    body = LITELLM_CHATS[name]
    answer = post(server, "chat/completions", body)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert len(made["choices"]) == body.get("n", 1)
    assert made["usage"]["completion_tokens"] <= 8 * len(made["choices"])
    assert made["choices"][0]["message"]["role"] == "assistant"
    if body.get("logprobs"):
        entries = made["choices"][0]["logprobs"]["content"]
        assert {len(entry["top_logprobs"]) for entry in entries} <= {2}


def test_litellms_stream_says_the_same_and_ends_with_the_usage(server: Running) -> None:
    whole = post(server, "chat/completions", LITELLM_CHATS["plain"]).json()
    asked = {"messages": TALK, "temperature": 0, **STREAMED}
    chunks = chunks_of(post(server, "chat/completions", asked))
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 8


def test_litellms_text_completions_insert_and_stream(server: Running) -> None:
    asked = {"prompt": "def add(", "max_tokens": 8, "stop": ["\n\n"], "suffix": "\n"}
    inserted = post(server, "completions", asked)
    assert inserted.json()["usage"]["prompt_tokens"] > 0
    chunks = chunks_of(
        post(server, "completions", {"prompt": "def add(", "max_tokens": 8, "stream": True})
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_litellms_responses_and_embeddings(server: Running) -> None:
    asked = {"input": "add two numbers", "max_output_tokens": 16}
    made = post(server, "responses", asked).json()
    assert made["usage"]["output_tokens"] <= 16
    assert made["output"][0]["content"][0]["type"] == "output_text"
    refused = post(server, "embeddings", {"input": ["x"]})
    assert refused.status_code == 400
    assert "embedding model" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", AIDER)
def test_aider(server: Running, name: str) -> None:
    # A cap, for the random model hardly ever ends; aider itself sends none.
    body = AIDER[name] | {"max_tokens": 24}
    answer = post(server, "chat/completions", body)
    assert answer.status_code == 200, answer.text
    if body.get("stream"):
        chunks = chunks_of(answer)
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert text_of(chunks)
        return
    assert answer.json()["choices"][0]["message"]["content"]
