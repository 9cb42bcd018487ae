"""Rows of instruction data as people have them, told apart one by one by their keys.

Input: a file, and each row of JSON in it. Output: a Dialogue, or RowError with the reason for which
the row is left out.

    DeepSeek-Coder, Evol-Instruct    instruction, output
    Alpaca                           instruction, input, output
    LLaMA-Factory                    the same with history [[question, answer]] and system
    OSS-Instruct                     problem, solution
    question and answer              prompt with completion or response; question, answer
    TRL                              prompt and completion as lists of messages
    ShareGPT                         conversations [{from, value}], system
    OpenAI                           messages [{role, content, tool_calls}], tools

What follows the last answer is left out. Texts are never changed.

Not here: how a dialogue becomes tokens (dialogue_labels.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_lines, parse_row, read_rows
from codling.tokens.chat import Message
from codling.tokens.template_marks import ROLES

_TURNS = ("messages", "conversations", "conversation")
_PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("problem", "solution"),
)
_NAMES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "function": "tool",
    "function_response": "tool",
    "observation": "tool",
} | {role: role for role in ROLES}
"""ShareGPT's and OpenAI's names of who speaks, in small letters."""

SYSTEM_ROLES = ("system", "developer")
"""Who says how to answer, before anything is asked."""


class RowError(Exception):
    """A row that is left out: `reason` is counted, `detail` says what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Dialogue:
    """Messages of which the last is an answer, and the tools that they may use."""

    messages: tuple[Message, ...]
    shape: str
    """The keys by which the row was read, for counting."""
    tools: tuple[Mapping[str, Any], ...] | None = None


def number_rows(file: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a JSON or JSON Lines file with their numbers from 1; a RowError in place of a
    line that is no JSON."""
    if file.suffix == ".json":
        yield from enumerate(read_rows(file), 1)
        return
    yield from parse_lines(file, instead=lambda error: RowError("not-json", str(error)))


def explain_loss(reasons: Mapping[str, int]) -> str:
    """Why no row of a file is left, and what helps, from the rows that left by reason.

    >>> explain_loss({"not-json": 2})
    'left out are 2 not-json: correct the rows (the lines above name the first of each reason)'
    """
    if not reasons:
        return "it is empty"
    counts = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
    if set(reasons) == {"answer-too-long"}:
        return f"left out are {counts}: give a longer context"
    return (
        f"left out are {counts}: correct the rows (the lines above name the first of each reason)"
    )


def read_dialogue(row: object) -> Dialogue:
    """The dialogue in a row; RowError if it is none.

    >>> read_dialogue({"instruction": "Add 1 and 2", "output": "3"}).messages[1]["content"]
    '3'
    """
    if not isinstance(row, Mapping):
        raise RowError("not-an-object", _name_kind(row))
    for key in _TURNS:
        if isinstance(row.get(key), list):
            turns = [_read_turn(turn) for turn in row[key]]
            return _finish([*_system(row), *turns], key, row.get("tools"))
    for ask, answer in _PAIRS:
        if ask in row and answer in row:
            return _read_pair(row, ask, answer)
    raise RowError("unknown-shape", f"its keys are {', '.join(sorted(map(str, row)))}"[:200])


def _name_kind(row: object) -> str:
    if isinstance(row, list) and row and isinstance(row[0], Mapping):
        return "a list of objects; name a file that holds one list of rows .json"
    return type(row).__name__


def _read_pair(row: Mapping[str, Any], ask: str, answer: str) -> Dialogue:
    shape = f"{ask}+{answer}"
    if isinstance(row[ask], list) and isinstance(row[answer], list):
        turns = [_read_turn(turn) for turn in (*row[ask], *row[answer])]
        return _finish(turns, shape, row.get("tools"))
    messages = read_question(row, ask)
    if row.get("input"):
        shape += "+input"
    messages.append({"role": "assistant", "content": _text(row[answer], answer)})
    return _finish(messages, shape, None)


def read_question(row: Mapping[str, Any], ask: str) -> list[dict[str, Any]]:
    """The messages before the last answer: system, history, and what `ask` holds with its input."""
    question = _text(row[ask], ask)
    if more := _text(row.get("input") or "", "input"):
        question = f"{question}\n{more}"
    messages = [*_system(row)]
    for asked, answered in _history(row):
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    return [*messages, {"role": "user", "content": question}]


def _history(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """LLaMA-Factory's earlier turns."""
    history = row.get("history") or []
    if not isinstance(history, list) or not all(_is_pair(each) for each in history):
        raise RowError("not-text", "history is not a list of [question, answer]")
    return [(_text(asked, "history"), _text(answered, "history")) for asked, answered in history]


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2


def _system(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = _text(row.get("system") or "", "system")
    return [{"role": "system", "content": text}] if text else []


def _read_turn(turn: object) -> dict[str, Any]:
    """A message from {role, content} or {from, value}; OpenAI's other fields are kept."""
    if not isinstance(turn, Mapping):
        raise RowError("not-an-object", "a turn that is not an object")
    said_by = turn.get("role", turn.get("from"))
    role = _NAMES.get(said_by.strip().lower()) if isinstance(said_by, str) else None
    if role is None:
        raise RowError("unknown-role", repr(said_by)[:80])
    calls = turn.get("tool_calls")
    content = turn.get("content", turn.get("value"))
    message: dict[str, Any] = {"role": role}
    if content is not None or not calls:
        message["content"] = _text(_join_parts(content), f"a turn of {role}")
    for key in ("tool_calls", "tool_call_id", "name"):
        if turn.get(key):
            message[key] = turn[key]
    return message


def _join_parts(content: object) -> object:
    """OpenAI's content in parts as one text, where all parts are text."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    if all(isinstance(text, str) for text in texts):
        return "".join(map(str, texts))
    return content


def _finish(messages: Sequence[dict[str, Any]], shape: str, tools: object) -> Dialogue:
    """The messages up to the last answer, checked."""
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise RowError("no-answer", "nothing is said by the assistant")
    kept = messages[: answers[-1] + 1]
    if not any(message["role"] in ("user", "tool") for message in kept[: answers[0]]):
        raise RowError("no-question", "the assistant speaks first")
    for message in kept:
        is_empty = not str(message.get("content") or "").strip() and "tool_calls" not in message
        if is_empty and message["role"] == "assistant":
            raise RowError("empty-answer")
        if is_empty and message["role"] == "user":
            raise RowError("empty-question")
    if isinstance(tools, str):
        tools = _parse_tools(tools)
    if tools is not None and not _are_tools(tools):
        raise RowError("unknown-shape", "tools is not a list of objects")
    listed = tuple(tools) if isinstance(tools, list) and tools else None
    return Dialogue(tuple(kept), shape, listed)


def _parse_tools(text: str) -> object:
    """LLaMA-Factory writes the list of tools as a text of JSON; "" where there are none."""
    try:
        return parse_row(text, "tools") if text.strip() else None
    except SourceError as error:
        raise RowError("unknown-shape", str(error)) from None


def _are_tools(tools: object) -> bool:
    return isinstance(tools, list) and all(isinstance(each, Mapping) for each in tools)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise RowError("not-text", f"{where} is {type(value).__name__}")
    return value
