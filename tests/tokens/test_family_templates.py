"""The template of every family that is loaded: golden strings, and where its answers end."""

from typing import Any

import pytest

from codling.tokens.chat import ChatTemplate
from codling.tokens.dialogue_rows import RowError, read_dialogue
from codling.tokens.families import BOS, EOS, FAMILIES
from codling.tokens.template_files import PRESETS, preset_source

SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "1+2?"}
ANSWER = {"role": "assistant", "content": "3"}
END = "<|endoftext|>"
GOLDEN = {
    "coder-v1": (
        f"{BOS}Be brief.### Instruction:\n1+2?\n### Response:\n3\n<|EOT|>\n"
        "### Instruction:\n1+2?\n### Response:\n"
    ),
    "llm": f"{BOS}Be brief.\n\nUser: 1+2?\n\nAssistant: 3{EOS}User: 1+2?\n\nAssistant:",
    "v2": f"{BOS}Be brief.\n\nUser: 1+2?\n\nAssistant: 3{EOS}User: 1+2?\n\nAssistant:",
    "qwen2.5-coder": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+2?<|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n<|im_start|>user\n1+2?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "starcoder2": (
        f"{END}Be brief.\n\n### Instruction\n1+2?\n\n### Response\n3{END}\n\n"
        "### Instruction\n1+2?\n\n### Response\n"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+2?<|im_end|>\n"
        "<|im_start|>assistant\n3<|im_end|>\n<|im_start|>user\n1+2?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
}
"""A dialogue of four messages with the prompt for the next answer."""
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}


def template_of(family: str) -> ChatTemplate:
    row = FAMILIES[family]
    assert row.template is not None
    tokens = {"bos_token": row.bos or "", "eos_token": row.eos or ""}
    return ChatTemplate(preset_source(row.template), tokens=tokens)


def test_every_family_has_a_golden_string_and_every_preset_a_family() -> None:
    assert set(GOLDEN) == set(FAMILIES)
    own = "codling"  # coder-v1's turns for models that codling grows
    assert {family.template for family in FAMILIES.values()} | {own} == set(PRESETS)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_family_says_it_so(family: str) -> None:
    messages = [SYSTEM, ASK, ANSWER, ASK]
    assert template_of(family).render(messages) == GOLDEN[family]


def test_starcoder2_has_the_published_system_text_where_a_dialogue_has_none() -> None:
    # What CHAT_TEMPLATE of bigcode-project/starcoder2-self-align gives under transformers.
    assert template_of("starcoder2").render([ASK, ANSWER, ASK]) == (
        f"{END}You are an exceptionally intelligent coding assistant that consistently delivers "
        "accurate and reliable responses to user instructions.\n\n### Instruction\n1+2?\n\n"
        f"### Response\n3{END}\n\n### Instruction\n1+2?\n\n### Response\n"
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_an_answer_is_the_prompt_and_ends_where_the_engine_stops(family: str) -> None:
    template, row = template_of(family), FAMILIES[family]
    prompt = template.render([SYSTEM, ASK])
    whole = template.render([SYSTEM, ASK, ANSWER], False)
    assert whole.startswith(prompt)
    said = whole.removeprefix(prompt).strip()
    ends = [end for end in (row.eot, row.eos) if end]
    assert any(said.removeprefix("3").strip() == end for end in ends)


def test_chatml_shows_tools_calls_and_results_as_qwen_does() -> None:
    messages: list[dict[str, Any]] = [
        SYSTEM,
        ASK,
        {"role": "assistant", "tool_calls": [CALL, CALL]},
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "3"},
        ANSWER,
    ]
    text = template_of("qwen2.5-coder").render(messages, False, tools=[TOOL])
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    result = "<tool_response>\n3\n</tool_response>"
    assert text == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n\nYou may call one or more functions to assist "
        "with the user query.\n\nYou are provided with function signatures within <tools></tools> "
        'XML tags:\n<tools>\n{"type": "function", "function": {"name": "add", "parameters": '
        '{"type": "object"}}}\n</tools>\n\nFor each function call, return a json object with '
        "function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
        f"<|im_start|>user\n1+2?<|im_end|>\n<|im_start|>assistant\n{call}\n{call}<|im_end|>\n"
        f"<|im_start|>user\n{result}\n{result}<|im_end|>\n<|im_start|>assistant\n3<|im_end|>\n"
    )


def test_tools_may_be_a_text_and_sharegpt_names_calls() -> None:
    turns = [
        {"from": "human", "value": "1+2?"},
        {"from": "function_call", "value": '{"name": "add"}'},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "It is 3."},
    ]
    row: dict[str, Any] = {"conversations": turns, "tools": '[{"name": "add"}]'}
    found = read_dialogue(row)
    assert [m["role"] for m in found.messages] == ["user", "assistant", "tool", "assistant"]
    assert found.tools == ({"name": "add"},)
    assert read_dialogue(row | {"tools": ""}).tools is None
    with pytest.raises(RowError, match="unknown-shape"):
        read_dialogue(row | {"tools": "{"})
