"""grpo as a command, with its sandbox: ended by a full disk, or by kill -9."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from codling.core.files import read_json_lines
from kills import killed_at_work
from posttrain.test_grpo import weights

pytestmark = pytest.mark.slow
STEPS = 6


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts to which nearly every answer is nonsense, of several kinds."""
    path = tmp_path_factory.mktemp("tasks") / "rows.jsonl"
    begin = "def f():\n    return 1\n#"
    row = {"prompt": begin, "begin": begin, "entry_point": "f", "stop": [" "]}
    rows = [json.dumps({"id": f"t{i}", "tests": ["assert f() == 1"], **row}) for i in range(10)]
    path.write_text("\n".join(rows) + "\n")
    return path


def command(base_dir: Path, tasks: Path, out: Path) -> list[str]:
    flags = ["--max-steps", str(STEPS), "--num-generations", "4", "--batch-size", "8"]
    flags += [
        "--accumulate",
        "1",
        "--max-completion-length",
        "6",
        "--rank",
        "1",
        "--save-seconds",
        "0",
    ]
    flags += ["--optimizer.learning-rate", "1e-2", "--n-heldout-answers", "1", "--threads", "1"]
    flags += ["--device", "cpu", "--model", str(base_dir), "--out-dir", str(out)]
    return [sys.executable, "-m", "codling.cli", "grpo", str(tasks), *flags]


def finish(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=1200)


def start(line: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    """Until a file has something in it, or the process has ended."""
    end = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.005)


@pytest.fixture(scope="module")
def calm(base_dir: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("calm") / "out"
    done = finish(command(base_dir, tasks, out))
    assert done.returncode == 0, done.stderr
    assert any(row["grad_norm"] for row in read_json_lines(out / "metrics.jsonl"))
    return out


def same(out: Path, calm: Path) -> bool:
    """Whether two runs have the same weights and the same answers, to the bit."""
    ours, theirs = weights(out), weights(calm)
    answers = [(each / "rollouts.jsonl").read_bytes() for each in (out, calm)]
    equal = all(ours[name].equal(theirs[name]) for name in theirs)
    return set(ours) == set(theirs) and equal and answers[0] == answers[1]


def test_a_full_disk_ends_in_one_line_and_the_same_command_goes_on(
    base_dir: Path, tasks: Path, tmp_path: Path, calm: Path
) -> None:
    line = command(base_dir, tasks, tmp_path / "out")
    process = start(line)
    wait_for(process, tmp_path / "out.partial" / "metrics.jsonl")
    # No file may grow any further: what a full disk is to a process, without a disk of its own.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1024, 1024))
    _, said = process.communicate(timeout=1200)
    assert process.returncode == 2, said
    assert "may not grow so large" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    done = finish(line)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "out", calm)


def test_a_run_that_is_killed_goes_on_to_the_same_bits(
    base_dir: Path, tasks: Path, tmp_path: Path, calm: Path
) -> None:
    line, random, n_killed = command(base_dir, tasks, tmp_path / "out"), Random(1), 0
    for _ in range(3):
        n_killed += killed_at_work(line, tmp_path, random.uniform(0.1, 1.5))
    assert n_killed
    done = finish(line)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "out", calm)


def sandboxes(pid: int) -> list[int]:
    """The fork servers of a process, by their outer process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "bwrap" and int(rest.split()[1]) == pid:
            found.append(int(path.parent.name))
    return found


def test_sandboxes_that_are_killed_from_outside_cost_nothing(
    base_dir: Path, tasks: Path, tmp_path: Path, calm: Path
) -> None:
    """Every sandbox is killed once in its life, at any moment of its work."""
    random, killed = Random(2), set[int]()
    process = start(command(base_dir, tasks, tmp_path / "out"))
    end = time.monotonic() + 600
    wait_for(process, tmp_path / "out.partial" / "heldout.jsonl")
    while process.poll() is None and time.monotonic() < end and len(killed) < 5:
        time.sleep(random.uniform(0.05, 0.6))
        for pid in sandboxes(process.pid):
            if pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    assert killed
    assert process.returncode == 0, said
    assert same(tmp_path / "out", calm)


def test_sandboxes_that_do_not_start_again_end_the_run_in_one_line(
    base_dir: Path, tasks: Path, tmp_path: Path, calm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, dead = shutil.which("bwrap"), tmp_path / "dead"
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\n[ -e {dead} ] && kill -9 $$\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    line = command(base_dir, tasks, tmp_path / "out")
    process = start(line)
    wait_for(process, tmp_path / "out.partial" / "metrics.jsonl")
    dead.touch()
    for pid in sandboxes(process.pid):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 2, said
    assert "the sandbox does not start" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    dead.unlink()
    done = finish(line)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "out", calm)
