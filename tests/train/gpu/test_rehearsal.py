"""A GPU session rehearsed on the CPU: pack, unpack, train, kill, go on, back, complete a line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pack_parts import unpack
from weight_files import make_checkpoint

from codling.core.artifact import open_artifact
from codling.core.lineage import walk
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from gpu_machine import BLOCKED, TOOLS, blocking

pytestmark = pytest.mark.slow


def session(data: Path, recipe: Path, folder: Path, *more: str) -> list[str]:
    command = [sys.executable, str(TOOLS / "train_base.py"), str(data), "--recipe", str(recipe)]
    command += ["--run", str(folder / "run"), "--out", str(folder / "out"), "--device", "cpu"]
    return [*command, "--save-seconds", "0.5", *more]


def finished(command: list[str], environment: dict[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def killed_after_a_state(command: list[str], environment: dict[str, str], folder: Path) -> None:
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "state":
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list((folder / "out").glob("weights-*.bin"))


def test_the_whole_session(
    parts: Path, recipe: Path, tokens_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    data = unpack(parts, tmp_path / "data").path.parent
    environment = os.environ | blocking(tmp_path, BLOCKED) | {"OMP_NUM_THREADS": "1"}
    killed_after_a_state(
        session(data, recipe, tmp_path, "--seconds", "600", "--probe-seconds", "1"),
        environment,
        tmp_path,
    )
    cut = make_checkpoint(tmp_path / "out", recipe, tokens_dir, tokenizer_dir, tmp_path / "cut")
    assert cut.counts["parameters"] > 10_000
    events = finished(session(data, recipe, tmp_path, "--seconds", "20"), environment)
    named = {row["event"]: row for row in events}
    assert "probe" not in named
    assert named["train"]["resumed_at"] > 0
    assert named["done"]["seconds_left"] > 0
    assert named["done"]["heldout_loss"] < 6.0
    made = make_checkpoint(tmp_path / "out", recipe, tokens_dir, tokenizer_dir, tmp_path / "made")
    assert made.counts["steps"] == [named["done"]["n_steps"]]
    kinds = {ancestor.artifact.kind for ancestor in walk(open_artifact(made.path))}
    assert {"tokens", "tokenizer", "samples"} <= kinds
    with TextEngine.open(made.path) as engine:
        (line,) = engine.complete(["import json\n"], SamplingParams(max_tokens=8))
    assert line.text
    later = session(data, recipe, tmp_path / "later", "--seconds", "20", "--probe-seconds", "1")
    before_decay = tmp_path / "run" / "before-decay"
    events = finished([*later, "--start-from", str(before_decay), "--seed", "1"], environment)
    first = next(row for row in events if row["event"] == "state")
    assert first["heldout_loss"] is None or first["heldout_loss"] < 6.0
    assert events[-1]["event"] == "done"


def test_a_run_whose_time_is_over_leaves_what_it_has(
    parts: Path, recipe: Path, tmp_path: Path
) -> None:
    data = unpack(parts, tmp_path / "data").path.parent
    command = session(data, recipe, tmp_path, "--seconds", "600", "--probe-seconds", "1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "state":
                process.terminate()
    assert process.returncode == 0
    assert event["event"] == "cut short"
    assert event["step"] > 0
