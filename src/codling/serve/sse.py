"""Server-sent events, and requests that end when their client goes away.

Input: an asynchronous stream of JSON objects. Output: `data: {json}` events, a comment line when
nothing comes for a while, errors as a data event, `data: [DONE]` at the end.

Not here: what the objects say (completions.py, chat.py, infill.py).
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from codling.serve.errors import ApiError, as_api_error

Objects = AsyncGenerator[Mapping[str, Any] | None, None]
"""JSON objects; None means nothing new, keep the connection alive."""
Answer = TypeVar("Answer")

_KEEP_ALIVE = ": keep-alive\n\n"
_DONE = "data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """A streamed answer. When the client leaves, the generator behind it is closed at once."""

    def __init__(self, objects: Objects, *, done: bool = True) -> None:
        """`done`: end with [DONE], as OpenAI does and llama.cpp's own endpoints do not. Objects
        with a `type` are named events (/v1/responses)."""
        self.objects = objects
        self.text = _frame(objects, done=done)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(self.text, media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; a client that goes away is not an error."""
        async with aclosing(self.objects), aclosing(self.text):
            with suppress(ClientDisconnect):
                await super().__call__(scope, receive, send)


async def _frame(objects: Objects, *, done: bool) -> AsyncGenerator[str, None]:
    try:
        async for each in objects:
            yield _KEEP_ALIVE if each is None else _event(each)
    except Exception as error:  # noqa: BLE001 - headers are sent: the stream is the only way
        yield _event(as_api_error(error).body())
    if done:
        yield _DONE


def _event(value: Mapping[str, Any]) -> str:
    name = f"event: {value['type']}\n" if isinstance(value.get("type"), str) else ""
    return f"{name}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def await_while_connected(request: Request, answer: Awaitable[Answer]) -> Answer:
    """Await the answer, but cancel it when the client goes away."""
    working = asyncio.ensure_future(answer)
    watching = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(499, "the client closed the connection", type="cancelled")
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
