"""The real wandb and trackio, offline: a small training's numbers are in what they wrote.

Where they are not installed (no environment of ours has them), these tests skip.
"""

import importlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from codling.core.files import read_json_lines

TRAIN = """
import sys
from pathlib import Path
import torch
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.train.config import LoopConfig
from codling.train.trainer import Trainer

def batches(number):
    tokens_BT = torch.randint(0, 64, (2, 17), generator=torch.Generator().manual_seed(number))
    return tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous()

shape = ModelConfig(vocab_size=64, hidden_size=16, intermediate_size=32, n_layers=1, n_heads=2)
config = LoopConfig(
    max_steps=6, batch_size=2, compile=False, threads=1, device="cpu", report_to=(sys.argv[2],)
)
Trainer(Transformer(shape), batches, config, Path(sys.argv[1])).run()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_every_step_of_a_run_is_recorded(name: str, tmp_path: Path) -> None:
    if find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install 'codling[{name}]'")
    folder = tmp_path / "runs" / "app"
    folder.mkdir(parents=True)
    places = {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}
    command = [sys.executable, "-c", TRAIN, str(folder), name]
    subprocess.run(command, check=True, env=os.environ | places, cwd=tmp_path, timeout=600)
    read = read_wandb if name == "wandb" else read_trackio
    steps = dict(read(tmp_path))
    rows = {row["step"]: row for row in read_json_lines(folder / "metrics.jsonl")}
    assert sorted(steps) == sorted(rows) == list(range(6))
    for step, row in rows.items():
        assert steps[step]["train/loss"] == pytest.approx(row["loss"])
        assert steps[step]["train/learning_rate"] == pytest.approx(row["learning_rate"])


def read_trackio(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Steps and numbers of the run runs/app in trackio's database."""
    with sqlite3.connect(folder / "trackio" / "codling.db") as database:
        rows = database.execute("SELECT step, run_name, metrics FROM metrics").fetchall()
    for step, run, numbers in rows:
        assert run == "runs/app"
        yield step, json.loads(numbers)


def read_wandb(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Steps and numbers of an offline run."""
    (path,) = (folder / "runs" / "app" / "wandb").glob("offline-run-*/*.wandb")
    records = importlib.import_module("wandb.proto.wandb_internal_pb2")
    for body in read_log(path.read_bytes()[7:], already=7):
        record = records.Record.FromString(body)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            named = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
            yield record.history.step.num, named


def read_log(data: bytes, already: int) -> Iterator[bytes]:
    """Records of a log of LevelDB's form: parts with 4 bytes of checksum, 2 of length and 1 of kind
    (1 whole, 2 first, 3 middle, 4 last) in blocks of 32 KiB, which began `already` bytes before."""
    at, body = 0, b""
    while at + 7 <= len(data):
        left = 32_768 - (already + at) % 32_768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        body += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            yield body
            body = b""
