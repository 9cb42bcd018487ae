"""POST /v1/load_lora_adapter and /v1/unload_lora_adapter: another adapter while the server runs.

Input: vLLM's requests, a name and the path of a folder on this machine. Output: vLLM's answers. One
adapter at a time: it is added to the weights of an engine that is opened beside the one that runs,
takes over the requests that come then, and closes the other when that has answered its own. Both
are in memory for that time. Only with `runtime_adapters`, because clients name folders to be read.

Not here: what training does with it (posttrain/api_sampler.py).
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from codling.core.errors import CodlingError
from codling.engine.reach import CursorReach
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from codling.serve.errors import ApiError
from codling.serve.server import Server

if TYPE_CHECKING:
    from codling.engine.text import TextEngine

_POLL_SECONDS = 0.02


class AdapterRequest(BaseModel):
    """Which adapter, and where it lies."""

    lora_name: str = Field(min_length=1, max_length=256)
    lora_path: str = Field(default="", max_length=4096)


def open_engine(config: ServeConfig) -> "TextEngine":
    """The engine that the settings ask for, with their adapter."""
    from codling.engine.text import TextEngine

    engine = TextEngine.open(
        config.model,
        precision=config.precision,
        cache=config.cache,
        max_streams=config.max_streams,
        max_length=config.max_length,
        chat_template=config.chat_template,
        memory=config.memory,
        adapter=config.adapter,
        speculate=config.speculate,
    )
    engine.reach = CursorReach.of(config.context_tokens, config.suffix_tokens, on_cpu=engine.on_cpu)
    return engine


class Adapters:
    """Which adapter a server answers with."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._name: str | None = None
        self._changes = asyncio.Lock()

    async def load(self, asked: AdapterRequest) -> Response:
        """Answer with this adapter from now on; ApiError if it cannot be."""
        if not asked.lora_path:
            raise ApiError(400, "lora_path, the adapter's folder, is missing", param="lora_path")
        async with self._changes:
            await self._change(Path(asked.lora_path))
            self._name = asked.lora_name
        return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' added successfully.")

    async def unload(self, asked: AdapterRequest) -> Response:
        """Answer as the server was started, if that adapter is the one."""
        async with self._changes:
            if asked.lora_name == self._name:
                await self._change(self._server.config.adapter)
                self._name = None
        return PlainTextResponse(f"Success: LoRA adapter '{asked.lora_name}' removed successfully.")

    async def _change(self, adapter: Path | None) -> None:
        server, backend = self._server, self._server.backend
        if not server.config.runtime_adapters or not isinstance(backend, LocalBackend):
            raise ApiError(403, "this server was not started with --runtime-adapters")
        try:
            engine = await asyncio.to_thread(open_engine, replace(server.config, adapter=adapter))
        except CodlingError as error:
            raise ApiError(400, str(error), param="lora_path") from None
        before, running = backend.replace_engine(engine), set(server.runs)
        while running & server.runs:
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.to_thread(before.close)
