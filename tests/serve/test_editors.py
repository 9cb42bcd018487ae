"""The settings in editors/: each file is read, each address in it called as its editor does."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.tokens.families import FIM_BEGIN, FIM_END, FIM_HOLE
from serve.tiny_server import Running

EDITORS = Path(__file__).parents[2] / "editors"
EXPECTED = "http://127.0.0.1:8000"
LLAMA_VIM = frozenset(
    [
        "endpoint_fim",
        "endpoint_inst",
        "profiles",
        "profile",
        "model_fim",
        "model_inst",
        "api_key",
        "n_prefix",
        "n_suffix",
        "n_predict",
        "n_cmpl",
        "stop_strings_fim",
        "stop_strings_inst",
        "t_max_prompt_ms",
        "t_max_predict_ms",
        "show_info",
        "info_compact",
        "auto_fim",
        "max_line_suffix",
        "max_cache_keys",
        "ring_n_chunks",
        "ring_chunk_size",
        "ring_scope",
        "ring_update_ms",
        "enable_at_startup",
    ]
)
"""Settings that llama.vim reads (doc/llama.txt at 0fb14e7), keymaps left out."""
LLAMA_VSCODE = frozenset(
    [
        "endpoint",
        "endpoint_chat",
        "endpoint_tools",
        "api_key",
        "api_key_chat",
        "api_key_tools",
        "n_prefix",
        "n_suffix",
        "n_predict",
        "max_parallel_completions",
        "t_max_prompt_ms",
        "t_max_predict_ms",
        "ring_n_chunks",
        "ring_chunk_size",
        "ring_scope",
        "ring_update_ms",
        "show_info",
        "auto",
        "rag_enabled",
        "ask_install_llamacpp",
    ]
)
"""Settings that llama.vscode reads (src/configuration.ts at 009e5b7; some only later ones)."""
BEFORE, AFTER = "def add(first, second):\n    ", "\n\n\nclass Stack:\n"


def text_of(name: str) -> str:
    return (EDITORS / name).read_text(encoding="utf-8")


def call(server: Running, url: str, body: Mapping[str, Any], **headers: str) -> httpx.Response:
    """Post to a URL of a settings file, on the running server instead."""
    assert url.startswith(EXPECTED)
    url = server.url + url.removeprefix(EXPECTED)
    sent = {"Authorization": "Bearer none"} | headers
    answer = httpx.post(url, json=body, headers=sent, trust_env=False, timeout=600)
    assert answer.status_code == 200, answer.text
    return answer


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(e[6:]) for e in answer.text.split("\n\n") if e.startswith("data: {")]


@pytest.fixture(scope="module")
def inserted(engine: TextEngine) -> str:
    """What belongs into the hole, by the engine itself."""
    return engine.insert([(BEFORE, AFTER)], SamplingParams(max_tokens=16))[0].text


def lua(name: str) -> dict[str, str]:
    """The `key = value` pairs of a Lua file whose brackets and quotes close."""
    text = re.sub(r"--.*", "", text_of(name))
    bare = re.sub(r"'[^'\n]*'", "''", text)
    for opening, closing in ("{}", "()"):
        assert bare.count(opening) == bare.count(closing)
    assert bare.count("function") == len(re.findall(r"\bend\b", bare))
    return dict(re.findall(r"(\w+) = '?([^',{}\n]+?)'?\s*[,}\n]", text))


def test_continue(server: Running, inserted: str) -> None:
    completion, chat = yaml.safe_load(text_of("continue/config.yaml"))["models"]
    assert completion["provider"] == "deepseek"
    options = completion["defaultCompletionOptions"]
    body = {
        "model": completion["model"], "prompt": BEFORE, "suffix": AFTER, "max_tokens": 16,
        "temperature": options["temperature"], "stop": ["\n\n\n\n"], "stream": True,
    }  # fmt: skip
    headers = completion["requestOptions"]["headers"]
    # Versions differ in whether they add "beta/" to the base themselves.
    for path in ("beta/completions", "completions"):
        answer = events(call(server, completion["apiBase"] + path, body, **headers))
        # Unguarded, as Continue does it.
        assert "".join(chunk["choices"][0]["text"] for chunk in answer) == inserted
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    body = {"model": chat["model"], "messages": turns, "max_tokens": 4, "stream": True}
    last = events(call(server, f"{chat['apiBase']}/chat/completions", body))[-1]
    assert last["choices"][0]["finish_reason"] == "length"


def test_llama_vscode(server: Running, inserted: str) -> None:
    settings = json.loads(text_of("vscode/settings.json"))
    assert {key.removeprefix("llama-vscode.") for key in settings} <= LLAMA_VSCODE
    assert settings["llama-vscode.ask_install_llamacpp"] is False
    # Each address has a key of its own; agents ask the third.
    for role in ("", "_chat", "_tools"):
        assert settings[f"llama-vscode.endpoint{role}"] == EXPECTED
        assert settings[f"llama-vscode.api_key{role}"] == "none"
    body: dict[str, Any] = {
        "id_slot": 0, "n_cmpl": settings["llama-vscode.max_parallel_completions"],
        "model": "google/gemini-2.5-flash",  # what its setting ai_model says by default
        "input_prefix": BEFORE.rpartition("\n")[0] + "\n", "input_suffix": AFTER,
        "input_extra": [], "prompt": BEFORE.rpartition("\n")[2], "n_predict": 16, "top_k": 40,
        "top_p": 0.99, "stream": False, "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True, "t_max_prompt_ms": settings["llama-vscode.t_max_prompt_ms"],
        "t_max_predict_ms": 60_000,
    }  # fmt: skip
    answer = call(server, settings["llama-vscode.endpoint"] + "/infill", body).json()
    assert answer["content"] == inserted
    assert answer["timings"]["predicted_n"] == 16
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "stream": False}
    url = settings["llama-vscode.endpoint_chat"] + "/v1/chat/completions"
    assert call(server, url, body | {"repeat_penalty": 1}).json()["choices"][0]["message"]


def test_llama_vim(server: Running, inserted: str) -> None:
    lines = [line for line in text_of("vim/llama.vim").split("\n") if line[:1] != '"']
    joined = re.sub(r"\n\s*\\", "", "\n".join(lines))
    inner = re.fullmatch(r"let g:llama_config = \{(.*)\}\s*", joined)
    assert inner is not None
    settings = dict(re.findall(r"'(\w+)':\s*'?([^',]+)'?,", inner.group(1)))
    assert set(settings) <= LLAMA_VIM
    assert int(settings["n_predict"]) > 0
    body: dict[str, Any] = {
        "input_prefix": BEFORE.rpartition("\n")[0] + "\n", "input_suffix": AFTER,
        "prompt": BEFORE.rpartition("\n")[2], "n_predict": 16, "id_slot": 0, "n_cmpl": 1,
        "stop": [], "samplers": ["top_k", "top_p", "infill"], "cache_prompt": True,
        "response_fields": ["content", "timings/predicted_ms", "tokens_cached"],
    }  # fmt: skip
    answer = call(server, settings["endpoint_fim"], body).json()
    assert answer["content"] == inserted
    assert set(answer) == set(body["response_fields"])
    # What warms the cache up while the user looks on.
    body |= {"n_predict": 0, "prompt": "", "t_max_predict_ms": 1, "response_fields": [""]}
    assert call(server, settings["endpoint_fim"], body).json() == {}
    # Of a dialogue too, while the instruction is typed: not an answer as long as the context.
    talk = {"id_slot": 1, "messages": [{"role": "user", "content": "hi"}], "stop": []}
    warm = {"samplers": [], "n_predict": 0, "response_fields": [""], "cache_prompt": True}
    warmed = call(server, settings["endpoint_inst"], talk | warm).json()
    assert warmed["usage"]["completion_tokens"] == 1
    body = talk | {
        "stream": True, "min_p": 0.1, "temperature": 0.1, "samplers": ["min_p", "temperature"],
        "cache_prompt": True, "max_tokens": 3,
    }  # fmt: skip
    assert events(call(server, settings["endpoint_inst"], body))[-1]["choices"][0]["finish_reason"]


def test_minuet(server: Running, inserted: str) -> None:
    settings = lua("neovim/minuet.lua")
    assert settings["provider"] == "openai_fim_compatible"
    # A frontend, without which nothing appears, and a key that takes what it shows.
    shown = text_of("neovim/minuet.lua")
    assert re.search(r"virtualtext = \{\s+auto_trigger_ft = \{ '\*' \}", shown)
    assert settings["accept"] == "<A-A>"
    body = {
        "model": settings["model"], "prompt": BEFORE, "suffix": AFTER, "stream": True,
        "max_tokens": 16, "temperature": float(settings["temperature"]), "user": "minuet",
    }  # fmt: skip
    answer = events(call(server, settings["end_point"], body))
    assert "".join(chunk["choices"][0]["text"] for chunk in answer) == inserted


def test_cmp_ai(server: Running, inserted: str) -> None:
    settings = lua("neovim/cmp_ai.lua")
    assert settings["provider"] == "LlamaCpp"
    # The source is registered with nvim-cmp: the plugin alone shows nothing.
    assert "'hrsh7th/nvim-cmp'" in text_of("neovim/cmp_ai.lua")
    assert settings["name"] == "cmp_ai"
    prompt = f"<s>{FIM_BEGIN}{BEFORE}{FIM_HOLE}{AFTER}{FIM_END}"
    body = {"prompt": prompt, "stream": False, "temperature": 0, "n_predict": 16}
    answer = call(server, settings["base_url"], body).json()
    assert answer["stop"] is True
    assert answer["content"] == inserted


def test_zed(server: Running, inserted: str) -> None:
    settings = json.loads(text_of("zed/settings.json"))
    prediction = settings["edit_predictions"]["open_ai_compatible_api"]
    assert prediction["prompt_format"] == "deepseek_coder"
    body = {
        "model": prediction["model"],
        "max_tokens": 16,
        "prompt": f"{FIM_BEGIN}{BEFORE}{FIM_HOLE}{AFTER}{FIM_END}",
        "stop": [FIM_BEGIN, FIM_HOLE, FIM_END],
    }
    assert call(server, prediction["api_url"], body).json()["choices"][0]["text"] == inserted
    chat = settings["language_models"]["openai_compatible"]["codling"]
    body = {
        "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 3, "stream": True,
        "stream_options": {"include_usage": True}, "model": chat["available_models"][0]["name"],
        "tools": [],
    }  # fmt: skip
    assert events(call(server, chat["api_url"] + "/chat/completions", body))[-1]["usage"]


def test_an_agents_tools_are_told_to_the_model_unless_it_says_none(server: Running) -> None:
    tool = {"type": "function", "function": {"name": "read_file", "parameters": {}}}
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "tools": [tool]}
    url = f"{EXPECTED}/v1/chat/completions"
    quiet = call(server, url, body | {"tool_choice": "none"}).json()["usage"]["prompt_tokens"]
    for agent in (body, body | {"tool_choice": "auto", "stream_options": None}):
        answer = call(server, url, agent).json()
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["prompt_tokens"] > quiet
    assert call(server, url, body | {"tools": []}).json()["usage"]["prompt_tokens"] == quiet


def test_the_readme_says_what_each_file_was_checked_against() -> None:
    table = text_of("README.md").rpartition("| plugin | looked at |")[2]
    for plugin in ("Continue", "llama.vim", "llama.vscode", "minuet-ai", "cmp-ai", "Zed"):
        assert re.search(rf"\| {plugin}.* at [0-9a-f]{{7}}\b", table), plugin


def test_the_readme_names_every_file() -> None:
    files = {
        str(p.relative_to(EDITORS)) for p in EDITORS.rglob("*") if p.is_file() and p.suffix != ".md"
    }
    named = set(re.findall(r"`([\w/.]+\.(?:json|lua|vim|yaml))`", text_of("README.md")))
    assert files <= named
