"""The verb `codling serve`: what it says, what it refuses, how it stops."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.core.errors import CheckpointError, ConfigError, TokenizerError
from codling.serve.app import serve
from codling.serve.config import ServeConfig
from codling.serve.listen import find_key
from serve.tiny_server import free_port, wait_until_healthy


def first_line(config: ServeConfig) -> str:
    """What serve says first, or the error it raises."""
    lines: Any = serve(config)
    try:
        return next(lines)
    finally:
        lines.close()


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_missing_model_is_said_before_anything_else(tmp_path: Path, busy_port: int) -> None:
    with pytest.raises(CheckpointError, match=r"no model at .*nothing"):
        first_line(ServeConfig(model=tmp_path / "nothing", port=busy_port))


def test_a_port_in_use_is_said_before_the_model_is_loaded(tmp_path: Path, busy_port: int) -> None:
    with pytest.raises(ConfigError, match=f"port {busy_port}.*in use.*--port"):
        first_line(ServeConfig(model=tmp_path, port=busy_port))


def test_a_host_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        first_line(ServeConfig(model=tmp_path, host="192.0.2.1", port=0, api_key="k"))


def test_a_host_that_is_no_name_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        first_line(ServeConfig(model=tmp_path, host="\u00fc" * 80, port=0, api_key="k"))


def test_a_log_that_cannot_be_written_is_said_before_the_model_is_loaded(tmp_path: Path) -> None:
    config = ServeConfig(model=tmp_path, port=0, log_completions=tmp_path / "no" / "log")
    with pytest.raises(ConfigError, match="log of completions cannot be written"):
        first_line(config)


def test_an_open_address_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODLING_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="CODLING_API_KEY"):
        first_line(ServeConfig(model=tmp_path, host="0.0.0.0", port=0))


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    lines = serve(ServeConfig(model=tmp_path, port=0))
    assert next(lines).startswith("loading")
    with pytest.raises((CheckpointError, TokenizerError)):
        next(lines)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 70000),
        ("max_streams", 0),
        ("upstream", "localhost:1"),
        ("cors_origins", ("editor.example",)),
        ("cors_origins", ("https://editor.example/",)),
    ],
)
def test_settings_that_cannot_work_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        ServeConfig(model=Path("m"), **{field: value})


def test_the_key_comes_from_settings_file_or_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\nsecond line\n")
    assert find_key(ServeConfig(model=tmp_path), {}) is None
    assert find_key(ServeConfig(model=tmp_path), {"CODLING_API_KEY": "e"}) == "e"
    # Blanks around a key could not be sent.
    assert find_key(ServeConfig(model=tmp_path), {"CODLING_API_KEY": " e\n"}) == "e"
    assert find_key(ServeConfig(model=tmp_path), {"CODLING_API_KEY": " "}) is None
    assert find_key(ServeConfig(model=tmp_path, api_key="s"), {"CODLING_API_KEY": "e"}) == "s"
    assert find_key(ServeConfig(model=tmp_path, api_key_file=file), {}) == "from-file"
    with pytest.raises(ConfigError, match="cannot read the key file"):
        find_key(ServeConfig(model=tmp_path, api_key_file=tmp_path / "none"), {})
    file.write_text("\n")
    with pytest.raises(ConfigError, match="first line"):
        find_key(ServeConfig(model=tmp_path, api_key_file=file), {})
    with pytest.raises(ConfigError, match="not both"):
        ServeConfig(model=tmp_path, api_key="a", api_key_file=file)


@pytest.mark.long
def test_it_serves_says_where_and_stops_on_a_signal_even_while_streaming(model_dir: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "codling.cli", "serve", str(model_dir), "--port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CODLING_API_KEY": "k3y"}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("loading")
        assert running.stdout.readline().startswith(f"tiny-coder: http://127.0.0.1:{port}/ ")
        base = f"http://127.0.0.1:{port}"
        wait_until_healthy(running, base)
        body = {"prompt": "x", "max_tokens": 2000, "stream": True, "temperature": 1.0, "n": 8}
        headers = {"Authorization": "Bearer k3y"}
        with httpx.stream(
            "POST",
            f"{base}/v1/completions",
            json=body,
            headers=headers,
            trust_env=False,
            timeout=600,
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.send_signal(signal.SIGTERM)
            rest = "\n".join(lines)
        assert "shutting_down" in rest
        assert rest.endswith("data: [DONE]\n")
        output, errors = running.communicate(timeout=600)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0
    assert output.strip() == "stopped"
    assert errors == ""
