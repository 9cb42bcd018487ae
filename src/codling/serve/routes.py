"""Which address leads to which endpoint.

Addresses come with and without /v1 and /beta, because clients differ in what they take for the
base URL.

Not here: what the endpoints do (completions.py, chat.py, infill.py), keys and limits (guard.py).
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from codling.serve.body import JsonRoute
from codling.serve.chat import chat
from codling.serve.completions import complete
from codling.serve.errors import ApiError
from codling.serve.infill import infill, native_completion
from codling.serve.schema import (
    ChatRequest,
    CompletionRequest,
    ForgetRequest,
    InfillRequest,
    NativeRequest,
    OutcomeRequest,
)
from codling.serve.server import Server

WEB = Path(__file__).parent / "web"
BASES = ("/v1", "/beta", "")
"""OpenAI's base URL ends in /v1, DeepSeek's in nothing or /beta."""


def add_routes(app: FastAPI, server: Server) -> None:
    """Give `app` all its addresses."""
    app.router.route_class = JsonRoute
    _add_completions(app, server)
    _add_models(app, server)
    _add_operations(app, server)
    _add_page(app)


def _add_completions(app: FastAPI, server: Server) -> None:
    async def completions(request: Request, asked: CompletionRequest) -> Response:
        return await complete(request, asked, server)

    async def chat_completions(request: Request, asked: ChatRequest) -> Response:
        return await chat(request, asked, server)

    async def native(request: Request, asked: NativeRequest) -> Response:
        return await native_completion(request, asked, server)

    async def insertion(request: Request, asked: InfillRequest) -> Response:
        return await infill(request, asked, server)

    async def outcome(id: str, told: OutcomeRequest) -> Response:
        return note_outcome(id, told, server)

    async def forget(asked: ForgetRequest) -> Response:
        known = await asyncio.to_thread(server.backend.forget, asked.path, asked.repo)
        return JSONResponse({"path": asked.path, "was_known": known})

    app.post("/v1/memory/forget", summary="Nothing may come from this file")(forget)
    for base in BASES:
        app.post(f"{base}/completions/{{id}}/outcome", summary="Taken or not")(outcome)
        app.post(f"{base}/completions", summary="Continue or insert")(completions)
        app.post(f"{base}/chat/completions", summary="Chat")(chat_completions)
    app.post("/completion", summary="Continue, as llama.cpp does")(native)
    app.post("/infill", summary="Insert, as llama.cpp does")(insertion)


def note_outcome(id: str, told: OutcomeRequest, server: Server) -> Response:
    """Note what became of a completion, if a log is kept; ApiError 404 for one not shown here."""
    if server.log is None:
        return JSONResponse({"id": id, "recorded": False})
    if not server.log.note_outcome(id, told.outcome, told.index, told.text):
        raise ApiError(404, f"no completion {id} was shown here recently", param="id")
    return JSONResponse({"id": id, "recorded": True})


def _add_models(app: FastAPI, server: Server) -> None:
    started = int(time.time())

    def card() -> dict[str, Any]:
        tokenizer = server.backend.tokenizer
        return {
            "id": server.backend.name,
            "object": "model",
            "created": started,
            "owned_by": "codling",
            "max_model_len": server.backend.max_length,
            "can_insert": tokenizer.can_insert,
            "can_chat": server.can_chat,
            "follows_repository": server.config.repo is not None,
            "logs_outcomes": server.log is not None,
        }

    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [card()]})

    async def model(name: str) -> Response:
        if name != server.backend.name:
            raise ApiError(
                404,
                f"there is no model {name} here; this server has {server.backend.name}",
                param="model",
                code="model_not_found",
            )
        return JSONResponse(card())

    for base in BASES:
        app.get(f"{base}/models", summary="The model")(models)
        app.get(f"{base}/models/{{name:path}}", summary="The model")(model)


def _add_operations(app: FastAPI, server: Server) -> None:
    async def health() -> Response:
        return JSONResponse({"status": "ok", "model": server.backend.name})

    async def metrics() -> Response:
        text = await asyncio.to_thread(server.metrics.text)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def props() -> Response:
        return JSONResponse(
            {
                "default_generation_settings": {"n_ctx": server.backend.max_length},
                "total_slots": server.config.max_streams,
                "model_alias": server.backend.name,
                "model_path": str(server.config.model),
                "build_info": server.fingerprint,
            }
        )

    app.get("/health", summary="Is the server up?")(health)
    app.get("/v1/health", include_in_schema=False)(health)
    app.get("/metrics", summary="Counts for Prometheus")(metrics)
    app.get("/props", summary="Settings, as llama.cpp tells them")(props)


def _add_page(app: FastAPI) -> None:
    async def page() -> Response:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    async def icon() -> Response:
        return FileResponse(WEB / "icon.svg", media_type="image/svg+xml")

    app.get("/", include_in_schema=False)(page)
    app.get("/favicon.ico", include_in_schema=False)(icon)
    app.mount("/web", _Fresh(directory=WEB), name="web")


class _Fresh(StaticFiles):
    """Files that a browser asks for again after every update of the package."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """See StaticFiles."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
