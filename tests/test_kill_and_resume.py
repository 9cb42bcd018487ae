"""Kill -9 at any moment of the whole path, run again: the result is that of an undisturbed run."""

import json
import random
import subprocess
from pathlib import Path

import pytest

from codling.core.artifact import MANIFEST
from tiny_run import grow, grow_command, make_repository

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
    return repository, folder / "run", max(4.0, seconds)


def killed_after(command: list[str], seconds: float) -> bool:
    """Whether the command was still at work when it was killed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_ends_like_a_calm_one(
    calm: tuple[Path, Path, float], tmp_path: Path, seed: int
) -> None:
    repository, calm_run, seconds = calm
    rng = random.Random(seed)
    command = grow_command(repository, tmp_path / "run")
    n_kills = sum(killed_after(command, rng.uniform(1.5, seconds)) for _ in range(4))
    assert n_kills >= 1
    done = grow(repository, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "run") == contents(calm_run)
    assert not list((tmp_path / "run").glob("*.partial"))
