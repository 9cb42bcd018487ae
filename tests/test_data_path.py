"""The data stations together: what each removes, any number of workers, kill -9 at any moment."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import data_path
from codling.core.artifact import open_artifact, verify
from codling.core.lineage import TraceConfig, trace
from codling.core.shards import read_rows
from data_path import STATIONS, contents, make_corpus
from kills import killed_at_work


def command(source: Path, run_dir: Path, workers: int = 2) -> list[str]:
    return [sys.executable, data_path.__file__, str(source), str(run_dir), str(workers)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("source") / "app")


@pytest.fixture(scope="module")
def calm(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("calm") / "run"
    subprocess.run(command(source, run_dir), check=True, timeout=600)
    return run_dir


@pytest.mark.long
def test_every_station_removes_its_file_and_the_trace_says_which(calm: Path) -> None:
    assert len(open_artifact(calm / "samples").files("samples-*")) > 5
    rules = {
        row["path"]: (station, row["rule"])
        for station in STATIONS[1:-1]
        for row in read_rows(open_artifact(calm / station), "dropped")
    }
    assert rules["core/solution.py"] == ("decontaminated", "benchmark")
    assert rules["core/recipe.py"] == ("screened", "syntax")
    near = {path for path, (station, _) in rules.items() if station == "unique"}
    assert near & {"core/artifact.py", "core/artifact_copy.py"}
    traced = trace(TraceConfig(path=calm / "samples", files=True))
    assert "removed app:app/core/solution.py: benchmark, app.jsonl:0:canonical_solution" in traced
    assert "near-duplicate, 0.9" in traced
    for station in STATIONS:
        verify(open_artifact(calm / station))


@pytest.mark.long
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_any_number_of_workers_gives_the_same_bytes(
    calm: Path, source: Path, tmp_path: Path, workers: int
) -> None:
    subprocess.run(command(source, tmp_path / "run", workers), check=True, timeout=600)
    assert contents(tmp_path / "run") == contents(calm)


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [2, 10])
def test_a_path_killed_again_and_again_ends_like_a_calm_one(
    calm: Path, source: Path, tmp_path: Path, n_kills: int
) -> None:
    rng = random.Random(n_kills)
    run_dir = tmp_path / "run"
    killed = 0
    while killed < n_kills:
        if killed_at_work(command(source, run_dir), run_dir, rng.uniform(0, 1.5)):
            killed += 1
        else:
            # It was done before the blow: begin again.
            assert contents(run_dir) == contents(calm)
            shutil.rmtree(run_dir)
    subprocess.run(command(source, run_dir), check=True, timeout=600)
    assert contents(run_dir) == contents(calm)
    assert not list(run_dir.glob("*.partial"))
