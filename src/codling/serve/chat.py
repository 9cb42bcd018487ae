"""POST /v1/chat/completions: dialogues with an instruction-tuned model.

Input: OpenAI's request. Output: its answer, whole or streamed.

Not here: chat templates (tokens/chat.py), tools, images.
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from codling.engine.request import TokenLogprob
from codling.serve.prompts import chat_choices
from codling.serve.run import Run
from codling.serve.schema import ChatRequest
from codling.serve.server import Server
from codling.serve.sse import EventStream, Objects, await_while_connected


async def chat(request: Request, asked: ChatRequest, server: Server) -> Response:
    """Answer one chat request."""
    asked.refuse_unsupported()
    choices = await server.read(request, chat_choices, asked, server.backend, server.config)
    run = server.new_run(choices)
    if asked.stream:
        await run.open(server.backend)
        return EventStream(_stream_chunks(run, asked, server))
    return JSONResponse(await await_while_connected(request, _answer_at_once(run, asked, server)))


async def _answer_at_once(run: Run, asked: ChatRequest, server: Server) -> dict[str, Any]:
    await run.open(server.backend)
    with server.register(run):
        choices = await run.finish()
    return _head(run, server, "chat.completion") | {
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": _logprobs(choice.logprobs, asked),
                "finish_reason": choice.finish_reason,
            }
            for i, choice in enumerate(choices)
        ],
        "usage": run.usage(),
    }


async def _stream_chunks(run: Run, asked: ChatRequest, server: Server) -> Objects:
    head = _head(run, server, "chat.completion.chunk") | (
        {"usage": None} if asked.wants_usage else {}
    )

    def chunk(
        i: int, delta: dict[str, str], reason: str | None, logprobs: Sequence[TokenLogprob] = ()
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
                if delta.text or delta.logprobs:
                    yield chunk(i, {"content": delta.text}, None, delta.logprobs)
                if delta.finish_reason:
                    yield chunk(i, {}, delta.finish_reason)
    if asked.wants_usage:
        yield head | {"choices": [], "usage": run.usage()}


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
