"""A GPU session rehearsed on the CPU: pack, unpack, train, kill, go on, back, complete a line."""

import json
import lzma
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pack_parts import unpack
from weight_files import make_checkpoint

from codling.core.lineage import walk
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from gpu_machine import BLOCKED, TOOLS, blocking

pytestmark = pytest.mark.slow


def session(data: Path, recipe: Path, folder: Path, *more: str) -> list[str]:
    command = [sys.executable, str(TOOLS / "train_base.py"), str(data), "--recipe", str(recipe)]
    command += ["--run", str(folder / "run"), "--out", str(folder / "out"), "--device", "cpu"]
    return [*command, "--seconds", "3600", "--probe-seconds", "1", "--save-seconds", "0.5", *more]


def finished(command: list[str], environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The last event of each kind."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return {row["event"]: row for row in map(json.loads, done.stdout.splitlines())}


def after_a_state(
    command: list[str], environment: dict[str, str], sent: signal.Signals
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Send a signal when a state was left; gives the exit code, the state, the last event."""
    states: list[Any] = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "state" and not states:
                process.send_signal(sent)
                states.append(event)
    return process.returncode, states[0], event


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, **blocking(tmp_path, BLOCKED), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def data(parts: Path, tmp_path: Path) -> Path:
    return unpack(parts, tmp_path / "data").path.parent


def test_a_killed_session_goes_on_and_its_weights_come_back_as_a_model(
    data: Path,
    recipe: Path,
    environment: dict[str, str],
    tokens_dir: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
) -> None:
    long = session(data, recipe, tmp_path, "--steps", "1000000")
    code, state, _ = after_a_state(long, environment, signal.SIGKILL)
    assert code == -signal.SIGKILL
    out = tmp_path / "out"
    cut = make_checkpoint(out, recipe, tokens_dir, tokenizer_dir, tmp_path / "cut")
    assert cut.counts["steps"] == [state["step"]]
    assert lzma.decompress((out / "metrics.jsonl.xz").read_bytes()).startswith(b'{"step": 0,')

    n_steps = state["step"] * 2 + 50
    events = finished(session(data, recipe, tmp_path, "--steps", str(n_steps)), environment)
    assert "probe" not in events
    assert events["train"]["resumed_at"] >= state["step"]
    assert events["done"]["n_steps"] == n_steps
    assert events["done"]["heldout_loss"] < 6.0
    made = make_checkpoint(out, recipe, tokens_dir, tokenizer_dir, tmp_path / "made")
    assert made.counts["steps"] == [n_steps]
    assert {"tokens", "tokenizer", "samples"} <= {ancestor.entry.kind for ancestor in walk(made)}
    with TextEngine.open(made.path, precision="float32") as engine:
        (line,) = engine.complete(["import json\n"], SamplingParams(max_tokens=8))
    assert line.text


def test_a_session_that_is_asked_to_stop_leaves_what_it_has_and_another_goes_on_from_it(
    data: Path, recipe: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    long = session(data, recipe, tmp_path, "--steps", "1000000")
    code, state, last = after_a_state(long, environment, signal.SIGTERM)
    assert (code, last["event"]) == (0, "cut short")
    assert last["step"] >= state["step"] > 0

    later = session(data, recipe, tmp_path / "later", "--steps", "20", "--seed", "1")
    before_decay = str(tmp_path / "run" / "before-decay")
    events = finished([*later, "--start-from", before_decay], environment)
    assert events["done"]["n_steps"] == 20
    assert events["done"]["heldout_loss"] < 6.0
