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

from codling.serve.adapters import AdapterRequest, Adapters
from codling.serve.body import JsonRoute
from codling.serve.chat import chat
from codling.serve.completions import complete
from codling.serve.errors import ApiError
from codling.serve.infill import infill, native_completion
from codling.serve.repository import ContextRequest, explain, list_files, show_file
from codling.serve.responses import respond
from codling.serve.schema import (
    ChatRequest,
    CompletionRequest,
    ForgetRequest,
    InfillRequest,
    NativeRequest,
    OutcomeRequest,
    ResponsesRequest,
)
from codling.serve.server import Server
from codling.serve.tokenizing import (
    DetokenizeRequest,
    TokenizeRequest,
    apply_template,
    detokenize,
    slots,
    tokenize,
)

WEB = Path(__file__).parent / "web"
BASES = ("/v1", "/beta", "")
"""OpenAI's base URL ends in /v1, DeepSeek's in nothing or /beta."""


def add_routes(app: FastAPI, server: Server) -> None:
    """Give `app` all its addresses."""
    app.router.route_class = JsonRoute
    _add_completions(app, server)
    _add_responses(app, server)
    _add_tokenizing(app, server)
    _add_repository(app, server)
    _add_adapters(app, server)
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


def _add_responses(app: FastAPI, server: Server) -> None:
    async def responses(request: Request, asked: ResponsesRequest) -> Response:
        return await respond(request, asked, server)

    async def response(id: str) -> Response:
        return JSONResponse(server.responses.response(id))

    async def forget_response(id: str) -> Response:
        server.responses.forget(id)
        return JSONResponse({"id": id, "object": "response", "deleted": True})

    async def embeddings() -> Response:
        raise ApiError(
            400,
            "this server writes code and makes no embeddings; use a server with an embedding model",
            code="not_supported",
        )

    for base in BASES:
        app.post(f"{base}/responses", summary="Respond, as OpenAI's newer address")(responses)
        app.get(f"{base}/responses/{{id}}", summary="A response that is kept")(response)
        app.delete(f"{base}/responses/{{id}}", summary="Drop a response")(forget_response)
        app.post(f"{base}/embeddings", include_in_schema=False)(embeddings)
    app.post("/embedding", include_in_schema=False)(embeddings)


def _add_tokenizing(app: FastAPI, server: Server) -> None:
    async def tokens(request: Request, asked: TokenizeRequest) -> Response:
        return await tokenize(request, asked, server)

    async def text(asked: DetokenizeRequest) -> Response:
        return detokenize(asked, server)

    async def prompt(request: Request, asked: ChatRequest) -> Response:
        return await apply_template(request, asked, server)

    async def show_slots() -> Response:
        return JSONResponse(slots(server))

    app.post("/tokenize", summary="The ids of a text")(tokens)
    app.post("/detokenize", summary="The text of ids")(text)
    app.post("/apply-template", summary="The prompt of a dialogue")(prompt)
    app.get("/slots", summary="What runs, as llama.cpp tells it")(show_slots)


def _add_repository(app: FastAPI, server: Server) -> None:
    async def files(request: Request) -> Response:
        return await list_files(request, server)

    async def file(request: Request, path: str) -> Response:
        return await show_file(request, path, server)

    async def context(request: Request, asked: ContextRequest) -> Response:
        return await explain(request, asked, server)

    app.get("/v1/repository", summary="The files of the repository")(files)
    app.get("/v1/repository/file", summary="One of them")(file)
    app.post("/v1/repository/context", summary="What a cursor is shown of others")(context)


def note_outcome(id: str, told: OutcomeRequest, server: Server) -> Response:
    """Note what became of a completion, if a log is kept; ApiError 404 for one not shown here."""
    if server.log is None:
        return JSONResponse({"id": id, "recorded": False})
    if not server.log.note_outcome(id, told.outcome, told.index, told.text):
        raise ApiError(404, f"no completion {id} was shown here recently", param="id")
    return JSONResponse({"id": id, "recorded": True})


def _add_adapters(app: FastAPI, server: Server) -> None:
    adapters = Adapters(server)

    async def load(asked: AdapterRequest) -> Response:
        return await adapters.load(asked)

    async def unload(asked: AdapterRequest) -> Response:
        return await adapters.unload(asked)

    app.post("/v1/load_lora_adapter", summary="Answer with an adapter, as in vLLM")(load)
    app.post("/v1/unload_lora_adapter", summary="Answer without it")(unload)


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
        tokenizer = server.backend.tokenizer
        specials = tokenizer.specials
        source = server.backend.chat_format.source() if server.can_chat else ""
        return JSONResponse(
            {
                "default_generation_settings": {"n_ctx": server.backend.max_length},
                "chat_template": source,
                "bos_token": "" if specials.bos is None else tokenizer.special_text(specials.bos),
                "eos_token": "" if specials.eos is None else tokenizer.special_text(specials.eos),
                "modalities": {"vision": False, "audio": False},
                "is_sleeping": False,
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
