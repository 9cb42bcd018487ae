"""The HTTP server: `create_app` for one model, and the verb `codling serve`.

Input: an engine (or another server behind us) and the settings. Output: a FastAPI app, or a
running server.

Not here: addresses (routes.py), what is refused before them (guard.py), sockets and signals
(listen.py).
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from codling import __version__
from codling.checkpoint.hub import has_model
from codling.core.errors import CheckpointError, ConfigError
from codling.core.heap import keep_loaded
from codling.serve.adapters import open_engine
from codling.serve.backend import Backend, LocalBackend
from codling.serve.config import ServeConfig
from codling.serve.errors import install_error_handlers
from codling.serve.guard import Guard
from codling.serve.listen import KEY_VARIABLE, GracefulServer, bind, find_key
from codling.serve.outcomes import CompletionLog
from codling.serve.routes import add_routes
from codling.serve.server import Server

if TYPE_CHECKING:
    from codling.engine.text import TextEngine


def serve(config: ServeConfig) -> Iterator[str]:
    """Serve a model over HTTP, with an editor page, until told to stop.

    Only this machine can reach it, unless --host says otherwise; then it needs a key. What cannot
    work (no such model, the port in use, no key) is said at once, before the model is loaded.

    Example:
        codling serve runs/stdlib --port 8000
    """
    key = find_key(config, os.environ)
    if not has_model(config.model):
        raise CheckpointError(
            f"no model at {config.model}; name a run, a checkpoint folder or a .gguf file, or run "
            "codling grow"
        )
    if config.repo is not None and not config.repo.is_dir():
        raise ConfigError(f"no folder at {config.repo}; --repo takes a repository's folder")
    if not config.is_private and key is None:
        raise ConfigError(
            f"--host {config.host} lets others reach the server; set {KEY_VARIABLE} or "
            "--api-key-file"
        )
    if config.log_completions is not None:
        CompletionLog(config.log_completions).close()  # it can be written to
    config = _look_up_threshold(config)
    with bind(config) as listener:
        yield f"loading {config.model} ...\n"
        backend = _connect(config) if config.upstream else _load(config)
        app = create_app(backend, config, api_key=key)
        host, port = _in_url(config.host), listener.getsockname()[1]
        yield f"{backend.name}: http://{host}:{port}/   (API at /v1; Ctrl-C stops)\n"
        GracefulServer(app, app.state.server.stop, config.patience).run(sockets=[listener])
    yield "stopped"


def create_app(
    engine: "TextEngine | Backend", config: ServeConfig, *, api_key: str | None = None
) -> FastAPI:
    """The app for one model. It closes the engine when it shuts down.

    `api_key`: the key that clients must send, wherever it came from; None lets everyone in.
    """
    backend = engine if isinstance(engine, Backend) else LocalBackend(engine, config.name)
    server = Server(backend, config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        server.stop()
        await backend.close()
        server.close()

    app = FastAPI(
        title="codling", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.server = server
    install_error_handlers(app)
    add_routes(app, server)
    app.add_middleware(
        Guard,
        metrics=server.metrics,
        paths=frozenset(getattr(route, "path", "") for route in app.routes),
        api_key=api_key,
        only_loopback=config.is_private and api_key is None,
        max_body_bytes=config.max_body_bytes,
        origins=config.cors_origins,
    )
    if config.cors_origins:
        # Around the guard: a page may read its refusals too.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
        )
    return app


def _look_up_threshold(config: ServeConfig) -> ServeConfig:
    """The settings with the number that "auto" stands for."""
    if config.min_logprob != "auto":
        return config
    from codling.engine.thresholds import find_threshold

    found = find_threshold(config.model, config.adapter)
    if found is None:
        raise ConfigError(
            f"no threshold is known for {config.model}; run codling calibrate {config.model} "
            "--repo CODE first, with code like yours that it was not trained on"
        )
    return replace(config, min_logprob=found)


def _connect(config: ServeConfig) -> Backend:
    from codling.serve.upstream import UpstreamBackend

    return UpstreamBackend.connect(config)


def _load(config: ServeConfig) -> Backend:
    # torch takes a second to load: only now, when everything that can be refused has been.
    with keep_loaded():
        engine = open_engine(config)
    if config.warm:
        from codling.engine.warm import warm_up

        warm_up(engine)
    repository = None
    if config.repo is not None:
        from codling.engine.memory.live import LiveRepository

        weights = engine.memory.weights if engine.memory else None
        repository = LiveRepository(config.repo, engine.tokenizer, weights)
        engine.memory = repository.memory
        repository.follow()
    return LocalBackend(engine, config.name, repository)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
