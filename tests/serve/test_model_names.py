"""What a user calls a model, what it is called in answers, and settings that had other names."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.checkpoint.hub import has_model, local_path, model_name
from codling.checkpoint.info import describe
from codling.cli import main
from codling.core.errors import TokenizerError
from codling.engine.text import TextEngine
from codling.engine.verbs import CompleteConfig, complete
from codling.serve.app import serve
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from serve.tiny_server import Servers


@pytest.fixture
def run(model_dir: Path, tmp_path: Path) -> Path:
    """A run as `grow` leaves it: the model in its folder `checkpoint`, beside other stages."""
    folder = tmp_path / "stdlib"
    shutil.copytree(model_dir, folder / "checkpoint")
    (folder / "samples").mkdir()
    return folder


@pytest.mark.long
def test_a_model_is_called_by_its_run(run: Path, servers: Servers) -> None:
    for path in (run, run / "checkpoint"):
        with TextEngine.open(path, precision="float32") as engine:
            assert engine.name == "stdlib"
    running = servers.start(LocalBackend(TextEngine.open(run, precision="float32")))
    answer = httpx.get(f"{running.url}/v1/models", trust_env=False, timeout=600).json()
    assert [card["id"] for card in answer["data"]] == ["stdlib"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/stdlib/checkpoint/", "stdlib"),
        ("weights/Qwen2.5-Coder-0.5B.Q4_K_M.gguf", "Qwen2.5-Coder-0.5B.Q4_K_M"),
        ("org/deepseek-coder-1.3b-base", "deepseek-coder-1.3b-base"),
        ("/checkpoint", "checkpoint"),
        ("checkpoints", "checkpoints"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert model_name(Path(path)) == name


def test_a_model_beside_other_folders_wins_over_a_checkpoint_inside(run: Path) -> None:
    shutil.copy(run / "checkpoint" / "config.json", run / "config.json")
    assert local_path(run) == run
    (run / "config.json").unlink()
    assert local_path(run) == run / "checkpoint"
    assert has_model(Path("org/model"))
    assert not has_model(run / "nothing")


def test_every_verb_finds_the_model_of_a_run(run: Path) -> None:
    assert "2 layers" in describe(str(run))
    assert "".join(complete(CompleteConfig(model=run, prompt="def", max_tokens=2))) is not None
    lines: Any = serve(ServeConfig(model=run, port=0))
    assert next(lines).startswith("loading")
    assert next(lines).startswith("stdlib: http://")
    lines.close()


def test_a_run_without_a_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json at"):
        TextEngine.open(tmp_path, precision="float32")


@pytest.mark.parametrize(
    ("command", "now"),
    [
        (["serve", "m", "--dtype", "float32"], "--precision"),
        (["serve", "m", "--context=100"], "--max-length"),
        (["complete", "m", "--prompt", "x", "--context", "100"], "--max-length"),
        (["insert", "m", "--prefix", "x", "--dtype=int8"], "--precision"),
        (["chat", "m", "--context", "100"], "--max-length"),
        (["evaluate", "humaneval", "--model", "m", "--dtype", "x"], "--precision"),
    ],
)
def test_a_former_flag_names_the_new_one(
    command: list[str], now: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.endswith(f"is now called {now}\n")
    assert line.startswith(f"codling {command[0]}: --")


def test_a_former_key_of_a_recipe_names_the_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text('[serve]\ndtype = "float32"\n')
    with pytest.raises(SystemExit):
        main(["serve", "m", "--recipe", str(tmp_path / "r.toml")])
    assert "dtype is now called precision" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    "verb",
    [
        "serve",
        *(
            pytest.param(v, marks=pytest.mark.slow)
            for v in ("complete", "insert", "chat", "evaluate")
        ),
    ],
)
def test_verbs_share_the_names_of_their_settings(verb: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "codling.cli", verb, "--help"],
        capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"},
    ).stdout  # fmt: skip
    assert "--precision" in shown
    assert "int8" in shown
    assert "--max-length" in shown
    assert "--dtype" not in shown
    assert "--context " not in shown  # another flag is --context-tokens
    assert ".gguf" in shown
    assert "hub" in shown


def test_info_lists_only_number_formats_that_exist(run: Path) -> None:
    told = describe(str(run))
    assert "int8" in told
    assert "int4" not in told


@pytest.mark.long
def test_serving_in_int8_answers(run: Path, servers: Servers) -> None:
    running = servers.start(LocalBackend(TextEngine.open(run, precision="int8")))
    body = json.dumps({"prompt": "def", "max_tokens": 2})
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(
        f"{running.url}/v1/completions", content=body, headers=headers, trust_env=False, timeout=600
    )
    assert answer.json()["usage"]["completion_tokens"] >= 1
