"""Calls in answers, in the formats of published templates, whole and in every cut."""

import json

import pytest

from codling.serve.tool_formats import (
    DEEPSEEK_V3,
    DEEPSEEK_V31,
    HERMES,
    LLAMA,
    MISTRAL,
    QWEN3,
    ToolFormat,
    format_of,
)
from codling.serve.tool_parser import ToolParser

ADD = {
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
    },
}
NOTHING = {"name": "no.thing-1"}
BAR, LOW = "\uff5c", "\u2581"
ARGUMENTS = {"a": 1, "b": 'x } "] \\ \u00fc'}
RAW = json.dumps(ARGUMENTS, ensure_ascii=False)


def mark(name: str) -> str:
    return f"<{BAR}tool{LOW}{name}{BAR}>"


CALL, SEP, END = mark(f"call{LOW}begin"), mark("sep"), mark(f"call{LOW}end")
BEGIN, CLOSE = mark(f"calls{LOW}begin"), mark(f"calls{LOW}end")
HERMES_CALL = f'<tool_call>\n{{"name": "add", "arguments": {RAW}}}\n</tool_call>'
CASES = [
    (HERMES, HERMES_CALL, 1, ""),
    (HERMES, f"I add.\n{HERMES_CALL}\n{HERMES_CALL}", 2, "I add.\n"),
    (HERMES, f'<tool_call>{{"arguments": {RAW}, "name": "add"}}</tool_call>', 1, ""),
    (HERMES, f'<tool_call>\n{{"name": "add", "arguments": {RAW}}}', 1, ""),
    (DEEPSEEK_V3, f"{BEGIN}{CALL}function{SEP}add\n```json\n{RAW}\n```{END}{CLOSE}", 1, ""),
    (
        DEEPSEEK_V3,
        f"Well.{BEGIN}{CALL}function{SEP}add\n```json\n{RAW}\n```{END}\n"
        f"{CALL}function{SEP}add\n```json\n{RAW}\n```{END}{CLOSE}",
        2,
        "Well.",
    ),
    (DEEPSEEK_V31, f"{BEGIN}{CALL}add{SEP}{RAW}{END}{CALL}add{SEP}{RAW}{END}{CLOSE}", 2, ""),
    (LLAMA, f'{{"name": "add", "parameters": {RAW}}}', 1, ""),
    (LLAMA, f'<|python_tag|>{{"type": "function", "name": "add", "parameters": {RAW}}}', 1, ""),
    (MISTRAL, f'[TOOL_CALLS][{{"name": "add", "arguments": {RAW}}}]', 1, ""),
    (
        MISTRAL,
        f'[TOOL_CALLS] [{{"name": "add", "arguments": {RAW}}}, '
        f'{{"name": "add", "arguments": {RAW}}}]',
        2,
        "",
    ),
    (MISTRAL, f"[TOOL_CALLS]add[ARGS]{RAW}", 1, ""),
]


def read(format: ToolFormat, text: str, size: int) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls, put together again from the pieces."""
    parser = ToolParser(format, [ADD, NOTHING])
    pieces = [
        p for at in range(0, len(text), size) for p in parser.push(text[at : at + size])
    ] + parser.flush()
    said = "".join(p.text for p in pieces if p.call is None)
    calls: dict[int, tuple[str, str]] = {}
    for piece in pieces:
        if piece.call is not None:
            assert piece.begins == (piece.call.index not in calls)
            name, arguments = calls.get(piece.call.index, (piece.call.name, ""))
            calls[piece.call.index] = name, arguments + piece.text
    assert [(c.name, c.arguments) for c in parser.calls] == list(calls.values())
    return said, list(calls.values())


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
@pytest.mark.parametrize(("format", "text", "n", "said"), CASES)
def test_calls_are_read_in_whatever_pieces_they_come(
    format: ToolFormat, text: str, n: int, said: str, size: int
) -> None:
    found = read(format, text, size)
    assert found[0] == said
    assert [(name, json.loads(arguments)) for name, arguments in found[1]] == [
        ("add", ARGUMENTS)
    ] * n


@pytest.mark.parametrize("size", [1, 10_000])
def test_qwen3s_elements_are_values_by_their_declared_types(size: int) -> None:
    text = (
        "Now:\n<tool_call>\n<function=add>\n<parameter=a>\n7\n</parameter>\n"
        "<parameter=b>\n7\nlines\n</parameter>\n</function>\n</tool_call>"
    )
    said, ((name, arguments),) = read(QWEN3, text, size)
    assert (said, name, json.loads(arguments)) == ("Now:\n", "add", {"a": 7, "b": "7\nlines"})


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(
    ("format", "text"),
    [
        (HERMES, '<tool_call>\n{"name": "other", "arguments": {}}\n</tool_call>'),
        (HERMES, "<tool_call> is written like this, a < b"),
        (HERMES, "a <tool_c"),
        (LLAMA, '{"name": "Ann", "parameters": 5}'),
        (LLAMA, 'As JSON: {"name": "add", "parameters": {}}'),
        (LLAMA, "{1: 2}"),
        (QWEN3, "<tool_call>\n<function=other>\n</function>"),
        (MISTRAL, "no calls [here]"),
    ],
)
def test_what_only_looks_like_a_call_is_text(format: ToolFormat, text: str, size: int) -> None:
    assert read(format, text, size) == (text, [])


def test_arguments_come_before_the_call_is_whole() -> None:
    parser = ToolParser(HERMES, [ADD])
    first = parser.push('<tool_call>\n{"name": "add", "arguments": {"a": ')
    assert [(p.begins, p.text) for p in first] == [(True, ""), (False, '{"a": ')]
    assert [p.text for p in parser.push("1")] == ["1"]


@pytest.mark.parametrize(
    ("source", "format"),
    [
        ("{{ tools }} <tool_call>", HERMES),
        ("{{ tools }} <tool_call> <function=", QWEN3),
        (f"{{{{ tools }}}} {BEGIN} ```json", DEEPSEEK_V3),
        (f"{{{{ tools }}}} {BEGIN}", DEEPSEEK_V31),
        ("{{ tools }} <|python_tag|>", LLAMA),
        ("{{ tools }} [TOOL_CALLS]", MISTRAL),
        ("{{ messages }}", None),
    ],
)
def test_the_format_is_told_from_the_template(source: str, format: ToolFormat | None) -> None:
    assert format_of(source) is format
