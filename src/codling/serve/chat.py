"""POST /v1/chat/completions: dialogues with an instruction-tuned model.

Input: OpenAI's request. Output: its answer, whole or streamed; calls of tools as such.

Not here: chat templates (tokens/chat.py), how calls are written (tool_formats.py), images.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from codling.engine.request import Delta, TokenLogprob
from codling.serve.prompts import chat_choices
from codling.serve.run import Choice, Run
from codling.serve.schema import ChatRequest
from codling.serve.server import Server
from codling.serve.sse import EventStream, Objects, await_while_connected
from codling.serve.tool_parser import AnswerPiece, ToolParser
from codling.serve.tools import ToolPlan


async def chat(request: Request, asked: ChatRequest, server: Server) -> Response:
    """Answer one chat request."""
    asked.refuse_unsupported()
    choices, plan = await server.read(request, chat_choices, asked, server.backend, server.config)
    run = server.new_run(choices)
    if asked.stream:
        await run.open(server.backend)
        return EventStream(_stream_chunks(run, asked, server, plan))
    return JSONResponse(
        await await_while_connected(request, _answer_at_once(run, asked, server, plan))
    )


class Reading:
    """One choice's deltas as pieces of text and calls."""

    def __init__(self, plan: ToolPlan | None) -> None:
        self._parser: ToolParser | None = plan.parser() if plan else None
        self._parallel = plan is None or plan.parallel
        self.text = ""

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls so far, as a whole answer has them."""
        calls = self._parser.calls if self._parser else []
        return [call.as_message() for call in (calls if self._parallel else calls[:1])]

    def push(self, delta: Delta) -> Iterator[AnswerPiece]:
        """What a delta adds."""
        if self._parser is None:
            pieces = [AnswerPiece(delta.text)] if delta.text else []
        else:
            pieces = self._parser.push(delta.text)
            if delta.finish_reason:
                pieces += self._parser.flush()
        for piece in pieces:
            if piece.call is None:
                self.text += piece.text
            if piece.call is None or piece.call.index == 0 or self._parallel:
                yield piece

    def reason(self, finish_reason: str | None) -> str | None:
        """Why the answer ended, as OpenAI says it."""
        return "tool_calls" if finish_reason == "stop" and self.calls else finish_reason


def read_whole(choice: Choice, plan: ToolPlan | None) -> Reading:
    """A finished choice."""
    reading = Reading(plan)
    list(reading.push(Delta(text=choice.text, finish_reason="stop")))
    return reading


async def _answer_at_once(
    run: Run, asked: ChatRequest, server: Server, plan: ToolPlan | None
) -> dict[str, Any]:
    await run.open(server.backend)
    with server.register(run):
        choices = await run.finish()
    return _head(run, server, "chat.completion") | {
        "choices": [_whole(i, choice, asked, plan) for i, choice in enumerate(choices)],
        "usage": run.usage(),
    }


def _whole(i: int, choice: Choice, asked: ChatRequest, plan: ToolPlan | None) -> dict[str, Any]:
    reading = read_whole(choice, plan)
    calls, text = reading.calls, reading.text
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message |= {"content": text.strip() or None, "tool_calls": calls}
    return {
        "index": i,
        "message": message,
        "logprobs": _logprobs(choice.logprobs, asked),
        "finish_reason": reading.reason(choice.finish_reason),
    }


async def _stream_chunks(
    run: Run, asked: ChatRequest, server: Server, plan: ToolPlan | None
) -> Objects:
    head = _head(run, server, "chat.completion.chunk") | (
        {"usage": None} if asked.wants_usage else {}
    )
    readings = [Reading(plan) for _ in run.choices]

    def chunk(
        i: int, delta: dict[str, Any], reason: str | None, logprobs: Sequence[TokenLogprob] = ()
    ) -> dict[str, Any]:
        choice = {
            "index": i,
            "delta": delta,
            "logprobs": _logprobs(logprobs, asked),
            "finish_reason": reason,
        }
        return head | {"choices": [choice]}

    with server.register(run):
        for i in range(len(run.choices)):
            yield chunk(i, {"role": "assistant", "content": ""}, None)
        async with aclosing(run.events(server.config.keep_alive_seconds)) as events:
            async for event in events:
                if event is None:
                    yield None
                    continue
                i, delta = event
                logprobs = delta.logprobs
                for piece in readings[i].push(delta):
                    yield chunk(i, _delta(piece), None, logprobs)
                    logprobs = ()
                if logprobs and asked.logprobs:
                    yield chunk(i, {"content": ""}, None, logprobs)
                if delta.finish_reason:
                    yield chunk(i, {}, readings[i].reason(delta.finish_reason))
    if asked.wants_usage:
        yield head | {"choices": [], "usage": run.usage()}


def _delta(piece: AnswerPiece) -> dict[str, Any]:
    """A piece as OpenAI streams it: a call's name first, then its arguments as they come."""
    if piece.call is None:
        return {"content": piece.text}
    entry: dict[str, Any] = {"index": piece.call.index, "function": {"arguments": piece.text}}
    if piece.begins:
        named = {"name": piece.call.name, "arguments": ""}
        entry |= {"id": piece.call.id, "type": "function", "function": named}
    return {"tool_calls": [entry]}


def _head(run: Run, server: Server, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{run.id}",
        "object": kind,
        "created": int(run.created),
        "model": server.backend.name,
        "system_fingerprint": server.fingerprint,
    }


def _logprobs(entries: Sequence[TokenLogprob], asked: ChatRequest) -> dict[str, Any] | None:
    if not asked.logprobs:
        return None
    return {
        "content": [_entry(e) | {"top_logprobs": [_entry(t) for t in e.top]} for e in entries],
        "refusal": None,
    }


def _entry(entry: TokenLogprob) -> dict[str, Any]:
    # OpenAI's own floor for what has no probability; JSON knows no infinity.
    logprob = max(entry.logprob, -9999.0)
    return {"token": entry.text, "logprob": logprob, "bytes": list(entry.bytes)}
