"""The tiny model and its server, made once for all tests of the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from serve.tiny_server import Running, Servers, save_model


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model that can insert."""
    return save_model(tmp_path_factory.mktemp("model") / "tiny-coder")


@pytest.fixture(scope="session")
def engine(model_dir: Path) -> Iterator[TextEngine]:
    """The tiny model, for looking things up beside the server (which has its own)."""
    with TextEngine.open(model_dir, precision="float32") as opened:
        yield opened


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """For tests that need a server of their own."""
    made = Servers()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def server(servers: Servers, model_dir: Path) -> Running:
    """The tiny model behind a server without a key."""
    return servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")))
