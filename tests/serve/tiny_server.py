"""A tiny real model, random but fixed, and servers that run it."""

import json
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import torch
from fastapi import FastAPI

from codling.checkpoint.store import TokenIds, save_hf
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.serve.app import create_app
from codling.serve.backend import Backend
from codling.serve.config import ServeConfig
from codling.serve.listen import GracefulServer, bind
from codling.tokens.bpe import train
from codling.tokens.families import BOS, EOS
from codling.tokens.template_files import preset_source

TEXTS = [
    "def add(first, second):\n    return first + second\n\n\nclass Stack:\n",
    "    def push(self, item):\n        self.items.append(item)\n",
    'for name in names:\n    print(f"hello {name}")\n# a comment, \u00fcn\u00efcode\n',
]
CONTEXT = 2048


def save_model(folder: Path, *, fim: bool = True, hidden_size: int = 32) -> Path:
    """A checkpoint folder with two layers of random weights and a BPE learned from `TEXTS`."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    core = train(iter(TEXTS * 4), 420)
    written = json.loads(core.to_str())
    if not fim:
        written["added_tokens"] = [a for a in written["added_tokens"] if "fim" not in a["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(written), encoding="utf-8")
    plain = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    settings = {"bos_token": BOS, "eos_token": EOS, "add_bos_token": True}
    settings["chat_template"] = preset_source("coder-v1") if fim else plain
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = ModelConfig(
        vocab_size=core.get_vocab_size(),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        n_layers=2,
        n_heads=2,
        max_position=CONTEXT,
        init_std=0.3,
    )
    ids = TokenIds(bos=core.token_to_id(BOS), eos=core.token_to_id(EOS))
    save_hf(Transformer(config, torch.Generator().manual_seed(0)), config, folder, ids=ids)
    return folder


class Running:
    """A server in a thread of this process."""

    def __init__(self, url: str, app: FastAPI, backend: Backend | None) -> None:
        self.url, self.backend = url, backend
        self.state = getattr(app.state, "server", None)

    def wait_idle(self) -> None:
        """Until nothing is computed any more; fails after ten minutes."""
        wait_until(lambda: self.state.metrics.running._value.get() == 0)


def wait_until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Poll until the condition holds; AssertionError if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def wait_until_healthy(server: subprocess.Popen[Any], url: str) -> None:
    """Until the server of that process answers; AssertionError if it ends or ten minutes pass."""

    def healthy() -> bool:
        assert server.poll() is None, "the server ended by itself"
        try:
            return httpx.get(f"{url}/health", trust_env=False, timeout=600).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(healthy)


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Servers:
    """Starts servers and stops them all at the end."""

    def __init__(self) -> None:
        self._running: list[tuple[GracefulServer, threading.Thread]] = []

    def start(
        self, backend: Backend, config: ServeConfig | None = None, api_key: str | None = None
    ) -> Running:
        """Serve `backend` on a free port, as `codling serve` does it."""
        config = config or ServeConfig(model=Path("tiny"))
        app = create_app(backend, config, api_key=api_key)
        return self.start_app(app, backend, config)

    def start_app(
        self, app: FastAPI, backend: Backend | None = None, config: ServeConfig | None = None
    ) -> Running:
        """Serve any app on a free port, with the socket and the server of `codling serve`."""
        config = replace(config or ServeConfig(model=Path("tiny")), port=0)
        ready: queue.SimpleQueue[tuple[GracefulServer, int]] = queue.SimpleQueue()

        def work() -> None:
            with bind(config) as listener:
                server = GracefulServer(app, lambda: None, config.patience)
                ready.put((server, listener.getsockname()[1]))
                server.run(sockets=[listener])

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        server, port = ready.get(timeout=600)
        wait_until(lambda: server.started)
        self._running.append((server, thread))
        return Running(f"http://127.0.0.1:{port}", app, backend)

    def stop(self) -> None:
        """Stop what was started."""
        for server, _ in self._running:
            server.should_exit = True
        for _, thread in self._running:
            thread.join(timeout=600)
