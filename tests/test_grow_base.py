"""`codling grow --base`: the stations that change, and the whole path on a tiny base."""

import json
import subprocess
from pathlib import Path

import pytest

from codling.core.errors import CodlingError
from codling.pipeline import GrowConfig, prepare
from codling.stations import PATH, stations_of
from tiny_run import CODLING, grow, make_repository


def test_without_a_base_the_path_is_as_it_was() -> None:
    assert stations_of(has_base=False) == list(PATH)


def test_with_a_base_three_stations_change() -> None:
    tables = [s.table for s in stations_of(has_base=True)]
    changed = [(a.table, b) for a, b in zip(PATH, tables, strict=True) if a.table != b]
    assert changed == [("tokenizer", "adopt"), ("pretrain", "adapt"), ("score", "compare")]


@pytest.mark.parametrize(
    ("base", "message"),
    [("/no/such.gguf", "no tokenizer.json at /no/such.gguf"), ("/no/folder", "/no/folder")],
)
def test_a_base_that_is_not_there_is_one_line_before_any_work(base: str, message: str) -> None:
    with pytest.raises(CodlingError) as caught:
        prepare(GrowConfig(base=base), Path("runs/x"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_base_is_adapted_and_compared_with_itself(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    assert grow(repository, tmp_path / "noise").returncode == 0
    settings = (
        "collect.heldout_fraction=0.2",
        "pack.context=64",
        "adapt.max_steps=30",
        "adapt.compile=false",
        "compare.n_lines=20",
        "compare.max_tokens=2000",
        "compare.context=64",
        "compare.max_new_tokens=12",
    )
    command = [*CODLING, "grow", str(repository), "--run-dir", str(tmp_path / "run")]
    command += ["--base", str(tmp_path / "noise/checkpoint")]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "parameters are trained" in done.stderr
    scores = json.loads((tmp_path / "run/scores/scores.json").read_text())
    comparison = scores["comparison"]
    assert comparison["text"] in " ".join(done.stdout.split())
    adapter = f" --adapter {tmp_path / 'run/adapted'}" if comparison["helped"] else ""
    assert f"Serve:   codling serve {tmp_path / 'noise/checkpoint'}{adapter}\n" in done.stdout
    assert scores["model"]["bits_per_byte"] < scores["base"]["bits_per_byte"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.stderr.count("already there") == 10
    traced = subprocess.run(
        [*CODLING, "trace", str(tmp_path / "run/adapted")], capture_output=True, text=True
    )
    assert "MIT" in traced.stdout
