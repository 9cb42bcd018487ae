"""POST /v1/responses: OpenAI's newer address, as its client, its agents and LangChain use it.

Input: a text or a list of items, with instructions, tools, a text format. Output: a response with
its output items, whole or as named events. It is answered by way of chat: items become messages.

A response is kept in memory, unless `store` is false, so that `previous_response_id` goes on from
it: the last 256 of them, 16 MB together, until the server stops.

Not here: chat itself (chat.py), items (response_items.py), events (response_events.py).
"""

import uuid
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from codling.serve.chat import read_whole
from codling.serve.prompts import chat_choices
from codling.serve.response_events import ResponseWriter
from codling.serve.response_items import messages_of
from codling.serve.run import Run
from codling.serve.schema import ResponsesRequest
from codling.serve.server import Server
from codling.serve.sse import EventStream, Objects, await_while_connected
from codling.serve.tools import ToolPlan


async def respond(request: Request, asked: ResponsesRequest, server: Server) -> Response:
    """Answer one request."""
    asked.refuse_unsupported()
    store = server.responses
    earlier = store.messages(asked.previous_response_id) if asked.previous_response_id else []
    said = [*earlier, *messages_of(asked.input)]
    system = [{"role": "system", "content": asked.instructions}] if asked.instructions else []
    chat = asked.as_chat([*system, *said])
    choices, plan = await server.read(request, chat_choices, chat, server.backend, server.config)
    run = server.new_run(choices)
    answer = _ResponseAnswer(run, asked, server, plan, said)
    if asked.stream:
        await run.open(server.backend)
        return EventStream(answer.stream_events(), done=False)
    return JSONResponse(await await_while_connected(request, answer.answer_at_once()))


class _ResponseAnswer:
    """One response as it is made."""

    def __init__(
        self,
        run: Run,
        asked: ResponsesRequest,
        server: Server,
        plan: ToolPlan | None,
        said: Sequence[dict[str, Any]],
    ) -> None:
        self.run, self.asked, self.server, self.plan, self.said = run, asked, server, plan, said
        self.writer = ResponseWriter(_head(run, asked, server), plan)

    async def answer_at_once(self) -> dict[str, Any]:
        await self.run.open(self.server.backend)
        with self.server.register(self.run):
            (choice,) = await self.run.finish()
        reading = read_whole(choice, self.plan)
        self.writer.write_whole(reading.text, reading.calls)
        return self._finish()

    async def stream_events(self) -> Objects:
        for event in self.writer.begin():
            yield event
        with self.server.register(self.run):
            async with aclosing(self.run.events(self.server.config.keep_alive_seconds)) as deltas:
                async for item in deltas:
                    if item is None:
                        yield None
                        continue
                    for event in self.writer.push(item[1]):
                        yield event
        for event in self.writer.end_items():
            yield event
        response = self._finish()
        yield self.writer.event(f"response.{response['status']}", response=response)

    def _finish(self) -> dict[str, Any]:
        usage = self.run.usage()
        response = self.writer.finish(
            self.run.choices[0].finish_reason,
            {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": usage["prompt_tokens_details"],
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage["total_tokens"],
            },
        )
        if self.asked.store is not False:
            self.server.responses.keep(self.said, response)
        return response


def _head(run: Run, asked: ResponsesRequest, server: Server) -> dict[str, Any]:
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(run.created),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "model": server.backend.name,
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "store": asked.store is not False,
        "temperature": asked.temperature or 0.0,
        "text": asked.text or {"format": {"type": "text"}},
        "tool_choice": asked.tool_choice or "auto",
        "tools": asked.tools or [],
        "top_p": asked.top_p or 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": asked.user,
        "metadata": asked.metadata or {},
    }
