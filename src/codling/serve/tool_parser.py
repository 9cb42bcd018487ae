"""Calls of tools in an answer, read while it is written.

Input: the format and the answer's text, piece by piece. Output: text, beginnings of calls, and
their arguments as they come. What looks like a call and is none (no such function, no JSON) is
text.

Not here: the formats (tool_formats.py).
"""

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from codling.core.errors import RequestError
from codling.core.foreign_json import parse_row
from codling.serve.tool_formats import ToolFormat

_LONGEST_HEAD = 512
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_XML_END = re.compile(r"</function>|</tool_call>")


@dataclass
class Call:
    """One call, as far as it is read."""

    index: int
    name: str
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")
    arguments: str = ""
    """JSON, as the model wrote it."""

    def as_message(self) -> dict[str, Any]:
        """The entry of `tool_calls` in a whole answer."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True)
class AnswerPiece:
    """What comes next: text, or a call (that begins, if `begins`) with more of its arguments."""

    text: str = ""
    call: Call | None = None
    begins: bool = False


class ToolParser:
    """Reads one answer. `push` its text, then `flush`."""

    def __init__(self, format: ToolFormat, tools: Collection[Mapping[str, Any]]) -> None:
        self._format = format
        self._schemas = {tool["name"]: tool.get("parameters") or {} for tool in tools}
        self.calls: list[Call] = []
        self._held = ""
        self._call: Call | None = None
        self._scan = JsonScan()
        self._tail: tuple[str, ...] = ()
        self._has_text = False

    def push(self, text: str) -> list[AnswerPiece]:
        """What is certain now."""
        self._held += text
        return list(self._read(is_last=False))

    def flush(self) -> list[AnswerPiece]:
        """What is left, when no more will come."""
        pieces = list(self._read(is_last=True))
        if self._held and self._call is None:
            pieces += self._text(self._held)
        self._held = ""
        return pieces

    def _read(self, *, is_last: bool) -> Iterator[AnswerPiece]:
        while True:
            before = self._held, self._call, self._tail
            if self._call is not None:
                yield from self._read_arguments()
            elif self._tail:
                self._read_tail(is_last=is_last)
            else:
                yield from self._read_outside(is_last=is_last)
            if before == (self._held, self._call, self._tail):
                return

    def _read_outside(self, *, is_last: bool) -> Iterator[AnswerPiece]:
        at = self._trigger()
        if at is None:
            n_kept = 0 if is_last else self._n_doubtful()
            free, self._held = _cut(self._held, len(self._held) - n_kept)
            yield from self._text(free)
            return
        free, self._held = _cut(self._held, at)
        yield from self._text(free)
        if self._format.is_xml:
            yield from self._read_xml(is_last=is_last)
            return
        head = self._format.head.match(self._held)
        name = None if head is None else head["name"] or head.groupdict().get("bare")
        if head is not None and name in self._schemas:
            self._held = self._held[head.end() :]
            self._scan = JsonScan()
            yield self._begin(str(name))
        elif head is not None:
            yield from self._give_up(head.end())
        else:
            yield from self._read_whole(is_last=is_last)

    def _read_arguments(self) -> Iterator[AnswerPiece]:
        assert self._call is not None
        if not self._call.arguments:
            self._held = self._held.lstrip()
        n = self._scan.push(self._held)
        part, self._held = _cut(self._held, n)
        self._call.arguments += part
        if part:
            yield AnswerPiece(part, self._call)
        if self._scan.is_done:
            self._call, self._tail = None, self._format.tail

    def _read_tail(self, *, is_last: bool) -> None:
        """Pass over what closes a call; wait while more of it may come."""
        while self._tail:
            held = self._held.lstrip()
            if held.startswith(self._tail[0]):
                self._held = held[len(self._tail[0]) :]
            elif self._tail[0].startswith(held) and not is_last:
                return
            self._tail = self._tail[1:]

    def _read_whole(self, *, is_last: bool) -> Iterator[AnswerPiece]:
        """A call whose parts stand in another order: known when all of it is there."""
        start = self._held.find("{")
        if start >= 0:
            scan = JsonScan()
            n = scan.push(self._held[start:])
            if scan.is_done:
                found = _as_call(self._held[start : start + n])
                if found is not None and found[0] in self._schemas:
                    self._held = self._held[start + n :]
                    self._tail = self._format.tail
                    piece = self._begin(found[0])
                    call, self._call = self._call, None
                    assert call is not None
                    call.arguments = found[1]
                    yield piece
                    yield AnswerPiece(found[1], call)
                    return
                yield from self._give_up(start + n)
                return
        if is_last or (start < 0 and len(self._held) > _LONGEST_HEAD):
            yield from self._give_up(len(self._held))

    def _read_xml(self, *, is_last: bool) -> Iterator[AnswerPiece]:
        end = _XML_END.search(self._held)
        if end is None and not is_last:
            return
        head = self._format.head.match(self._held)
        if head is None or head["name"] not in self._schemas:
            yield from self._give_up(end.end() if end else len(self._held))
            return
        body = self._held[head.end() : end.start() if end else len(self._held)]
        self._held = self._held[end.start() :] if end else ""
        self._tail = self._format.tail
        piece = self._begin(head["name"])
        call, self._call = self._call, None
        assert call is not None
        call.arguments = _xml_arguments(body, self._schemas[call.name])
        yield piece
        yield AnswerPiece(call.arguments, call)

    def _begin(self, name: str) -> AnswerPiece:
        self._call = Call(len(self.calls), name)
        self.calls.append(self._call)
        return AnswerPiece(call=self._call, begins=True)

    def _give_up(self, n: int) -> Iterator[AnswerPiece]:
        """What began like a call is text."""
        free, self._held = _cut(self._held, n)
        yield from self._text(free)

    def _text(self, text: str) -> list[AnswerPiece]:
        # Blanks between calls are no text.
        if not text or (self.calls and not text.strip()):
            return []
        self._has_text = self._has_text or bool(text.strip())
        return [AnswerPiece(text)]

    def _trigger(self) -> int | None:
        """Where a call may begin."""
        if self._format.only_first:
            at = len(self._held) - len(self._held.lstrip())
            begins = self._held.startswith(self._format.triggers, at)
            return at if begins and not self._has_text else None
        found = [at for t in self._format.triggers if (at := self._held.find(t)) >= 0]
        if self._may_list and re.match(r"\s*,\s*\{", self._held):
            return 0
        return min(found, default=None)

    @property
    def _may_list(self) -> bool:
        """Whether another call of a list may follow."""
        return self._format.name == "mistral" and bool(self.calls)

    def _n_doubtful(self) -> int:
        """Length of the longest end of the text that may begin a call."""
        if self._format.only_first and not self._held.strip():
            return len(self._held)
        if self._may_list and re.fullmatch(r"\s*,?\s*", self._held):
            return len(self._held)
        longest = min(len(self._held), max(map(len, self._format.triggers)) - 1)
        ends = (n for n in range(longest, 0, -1))
        triggers = self._format.triggers
        held = self._held
        return next((n for n in ends if any(t.startswith(held[-n:]) for t in triggers)), 0)


class JsonScan:
    """Finds the end of one JSON object, list or string that comes in pieces.

    >>> scan = JsonScan()
    >>> scan.push('{"a": "}"'), scan.push(", 1} tail"), scan.is_done
    (9, 4, True)
    """

    def __init__(self) -> None:
        self.is_done = False
        self._depth = 0
        self._in_string = self._is_escaped = False

    def push(self, text: str) -> int:
        """How many of these characters belong to the value."""
        for i, c in enumerate(text):
            if self._in_string:
                self._step_in_string(c)
            elif c == '"':
                self._in_string = True
            elif c in "{[":
                self._depth += 1
            elif c in "}]":
                self._depth -= 1
            is_value = self._depth > 0 or self._in_string or c.isspace()
            if not is_value:
                self.is_done = True
                return i + 1 if c in '}]"' else i
        return len(text)

    def _step_in_string(self, c: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif c == "\\":
            self._is_escaped = True
        elif c == '"':
            self._in_string = False


def _as_call(text: str) -> tuple[str, str] | None:
    """Name and arguments of a whole object; None if it is no call."""
    with suppress(RequestError):
        value = parse_row(text, "the call", RequestError)
        inner = value.get("function", value) if isinstance(value, dict) else None
        inner = inner if isinstance(inner, dict) else value
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            given = inner.get("arguments", inner.get("parameters", {}))
            return name, given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return None


def _xml_arguments(body: str, schema: Mapping[str, Any]) -> str:
    """The elements of a call as JSON: a string stays one, other values are read by their type."""
    properties = schema.get("properties") or {}
    found: dict[str, Any] = {}
    for name, value in _PARAMETER.findall(body):
        declared = properties.get(name)
        is_text = not isinstance(declared, Mapping) or declared.get("type") == "string"
        found[name] = value if is_text else _read_value(value)
    return json.dumps(found, ensure_ascii=False)


def _read_value(text: str) -> Any:  # noqa: ANN401 -- JSON
    """JSON, or the text where it is none."""
    with suppress(RequestError):
        return parse_row(text, "the value", RequestError)
    return text


def _cut(text: str, n: int) -> tuple[str, str]:
    return text[:n], text[n:]
