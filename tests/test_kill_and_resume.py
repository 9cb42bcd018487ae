"""Kill -9 at any moment of the whole path, run again: the result is that of an undisturbed run."""

import json
import random
import shutil
from pathlib import Path

import pytest

from codling.core.artifact import MANIFEST
from kills import killed_at_work
from tiny_run import grow, grow_command, make_repository

MORE_KILLS = [pytest.param(n, marks=pytest.mark.slow) for n in (3, 10)]
# These hold times or are made from what holds times.
NOT_COMPARED = (MANIFEST, "metrics.jsonl", "report.html")


def contents(run_dir: Path) -> dict[str, str]:
    """sha256 of every file of every artefact, as the manifests have it."""
    found = {}
    for path in sorted(run_dir.glob(f"*/{MANIFEST}")):
        for entry in json.loads(path.read_text())["files"]:
            if entry["name"] not in NOT_COMPARED:
                found[f"{path.parent.name}/{entry['name']}"] = entry["sha256"]
    return found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    folder = tmp_path_factory.mktemp("calm")
    repository = make_repository(folder / "repo")
    done = grow(repository, folder / "run")
    assert done.returncode == 0, done.stderr
    seconds = float(done.stdout.rsplit("took", 1)[1].split()[0])
    return repository, folder / "run", seconds


@pytest.mark.long
@pytest.mark.parametrize("n_kills", [1, *MORE_KILLS])
def test_a_run_killed_again_and_again_ends_like_a_calm_one(
    calm: tuple[Path, Path, float], tmp_path: Path, n_kills: int
) -> None:
    repository, calm_run, seconds = calm
    rng = random.Random(n_kills)
    run_dir = tmp_path / "run"
    killed = 0
    while killed < n_kills:
        if killed_at_work(grow_command(repository, run_dir), run_dir, rng.uniform(0, seconds / 2)):
            killed += 1
        else:
            # It was done before the blow: begin again.
            assert contents(run_dir) == contents(calm_run)
            shutil.rmtree(run_dir)
    done = grow(repository, run_dir)
    assert done.returncode == 0, done.stderr
    assert contents(run_dir) == contents(calm_run)
    assert not list(run_dir.glob("*.partial"))
