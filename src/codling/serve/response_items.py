"""What was said in responses: items of OpenAI's /v1/responses as chat messages, and those kept.

Input: items (messages, function calls, their outputs). Output: messages for chat; a store of what
led to each response.

Not here: requests (responses.py).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from codling.core.errors import RequestError
from codling.serve.errors import ApiError

_TEXT_PARTS = ("input_text", "output_text", "text", "summary_text")
_MAX_KEPT = 256
_MAX_CHARS = 16 * 2**20


class ResponseStore:
    """Responses that may be gone on from: by id, their messages and what was answered."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = OrderedDict()

    def keep(self, messages: Sequence[dict[str, Any]], response: dict[str, Any]) -> None:
        """Keep a response with all messages that led to it, and its own."""
        turns = [*messages, *messages_of(response["output"])]
        self._kept[response["id"]] = (turns, response)
        while len(self._kept) > 1 and (
            len(self._kept) > _MAX_KEPT or sum(map(_n_chars, self._kept.values())) > _MAX_CHARS
        ):
            self._kept.popitem(last=False)

    def messages(self, id: str) -> list[dict[str, Any]]:
        """The messages of a response; ApiError 404 if it is not kept."""
        return list(self._find(id)[0])

    def response(self, id: str) -> dict[str, Any]:
        """A response as it was answered; ApiError 404 if it is not kept."""
        return self._find(id)[1]

    def forget(self, id: str) -> None:
        """Drop a response; ApiError 404 if it is not kept."""
        self._find(id)
        del self._kept[id]

    def _find(self, id: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        if id not in self._kept:
            raise ApiError(
                404,
                f"there is no response {id[:80]} here any more; send the whole input",
                param="previous_response_id",
                code="not_found",
            )
        return self._kept[id]


def messages_of(items: object) -> list[dict[str, Any]]:
    """Chat messages of a response's items.

    >>> messages_of("hi")
    [{'role': 'user', 'content': 'hi'}]
    """
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    if not isinstance(items, list):
        raise RequestError("input must be a text or a list of items", param="input")
    messages: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise RequestError(f"input[{i}] is no object", param="input")
        _add_item(messages, item, i)
    return messages


def _add_item(messages: list[dict[str, Any]], item: Mapping[str, Any], i: int) -> None:
    kind = item.get("type", "message")
    if kind == "message" and isinstance(item.get("role"), str):
        messages.append({"role": item["role"], "content": _text_of(item.get("content"), i)})
    elif kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        if messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).append(call)
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind == "function_call_output":
        content = _text_of(item.get("output"), i)
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    elif kind != "reasoning":
        raise RequestError(
            f"input[{i}] is of type {str(kind)[:40]}, which is not supported; send messages, "
            "function calls and their outputs",
            param="input",
        )


def _text_of(content: object, i: int) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or kind not in _TEXT_PARTS:
            raise RequestError(
                f"input[{i}]: content of type {str(kind)[:40]} is not supported", param="input"
            )
        texts.append(str(part.get("text") or ""))
    return "".join(texts)


def _n_chars(kept: tuple[list[dict[str, Any]], dict[str, Any]]) -> int:
    return sum(len(str(turn)) for turn in kept[0])
