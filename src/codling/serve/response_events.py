"""A response's output items, and the events that tell of them as they are written.

Input: an answer's deltas, or all of it. Output: OpenAI's events, numbered
(`response.output_text.delta` and so on), and the finished response.

    message         added, content part added, text deltas, text done, part done, item done
    function_call   added, argument deltas, arguments done, item done

Not here: requests (responses.py).
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codling.engine.request import Delta
from codling.serve.chat import Reading
from codling.serve.tools import ToolPlan

Event = dict[str, Any]


class ResponseWriter:
    """One response as it is written."""

    def __init__(self, head: Mapping[str, Any], plan: ToolPlan | None) -> None:
        self._response = dict(head)
        self._reading = Reading(plan)
        self._items: list[dict[str, Any]] = []
        self._is_open = False
        self._n_events = 0

    def event(self, kind: str, **fields: object) -> Event:
        """A numbered event."""
        self._n_events += 1
        return {"type": kind, "sequence_number": self._n_events - 1, **fields}

    def begin(self) -> Iterator[Event]:
        """That the response has begun."""
        for kind in ("response.created", "response.in_progress"):
            yield self.event(kind, response=self._response)

    def push(self, delta: Delta) -> Iterator[Event]:
        """What a delta adds."""
        for piece in self._reading.push(delta):
            if piece.call is None:
                if not (self._is_open and self._items[-1]["type"] == "message"):
                    if not piece.text.strip() and self._items:
                        continue
                    yield from self._begin_message()
                yield from self._add_text(piece.text)
            elif piece.begins:
                yield from self._begin_call(piece.call.id, piece.call.name)
            else:
                yield from self._add_arguments(piece.text)

    def end_items(self) -> Iterator[Event]:
        """The end of what is open; an answer without anything has one empty message."""
        if not self._items:
            yield from self._begin_message()
        yield from self._end_item()

    def write_whole(self, text: str, calls: Sequence[Mapping[str, Any]]) -> None:
        """The items of an answer that was not streamed."""
        if text.strip() or not calls:
            self._items.append(_message([_text_part(text if not calls else text.strip())]))
        for call in calls:
            item = _call_item(call["id"], call["function"]["name"])
            self._items.append(item | {"arguments": call["function"]["arguments"]})
        for item in self._items:
            item["status"] = "completed"

    def finish(self, reason: str | None, usage: Mapping[str, Any]) -> dict[str, Any]:
        """The whole response."""
        is_cut = reason == "length"
        if is_cut:
            self._items[-1]["status"] = "incomplete"
        self._response |= {
            "status": "incomplete" if is_cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": self._items,
            "usage": dict(usage),
        }
        return self._response

    def _begin_message(self) -> Iterator[Event]:
        yield from self._end_item()
        yield from self._begin_item(_message([]))
        self._items[-1]["content"].append(_text_part(""))
        yield self._tell("response.content_part.added", content_index=0, part=_text_part(""))

    def _begin_call(self, id: str, name: str) -> Iterator[Event]:
        yield from self._end_item()
        yield from self._begin_item(_call_item(id, name))

    def _begin_item(self, item: dict[str, Any]) -> Iterator[Event]:
        self._items.append(item)
        self._is_open = True
        shown = item | ({"content": []} if item["type"] == "message" else {})
        at = len(self._items) - 1
        yield self.event("response.output_item.added", output_index=at, item=shown)

    def _add_text(self, text: str) -> Iterator[Event]:
        self._items[-1]["content"][0]["text"] += text
        yield self._tell("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def _add_arguments(self, text: str) -> Iterator[Event]:
        self._items[-1]["arguments"] += text
        yield self._tell("response.function_call_arguments.delta", delta=text)

    def _end_item(self) -> Iterator[Event]:
        if not self._is_open:
            return
        item = self._items[-1]
        item["status"], self._is_open = "completed", False
        if item["type"] == "message":
            part = item["content"][0]
            text = part["text"]
            yield self._tell("response.output_text.done", content_index=0, text=text, logprobs=[])
            yield self._tell("response.content_part.done", content_index=0, part=part)
        else:
            arguments, name = item["arguments"], item["name"]
            yield self._tell(
                "response.function_call_arguments.done", arguments=arguments, name=name
            )
        at = len(self._items) - 1
        yield self.event("response.output_item.done", output_index=at, item=dict(item))

    def _tell(self, kind: str, **fields: object) -> Event:
        at = len(self._items) - 1
        return self.event(kind, item_id=self._items[at]["id"], output_index=at, **fields)


def _message(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": content,
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(id: str, name: str) -> dict[str, Any]:
    return {
        "id": f"fc_{uuid.uuid4().hex}",
        "type": "function_call",
        "status": "in_progress",
        "call_id": id,
        "name": name,
        "arguments": "",
    }
