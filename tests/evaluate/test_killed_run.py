"""`kill -9` on the whole process group while it asks and while it runs programs, then again: no
answer is asked for twice, and the report is that of an undisturbed run."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from serve.tiny_server import Servers, save_model
from tiny_run import CODLING

N_PROBLEMS, CONCURRENCY = 20, 4
TEST = """
def check(candidate):
    import time
    time.sleep(0.04)
    assert candidate() % 2 == 0
"""
REPORT = ("report.json", "report.md", "report.html", "outcomes.jsonl")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our own server with a tiny random model."""
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    servers = Servers()
    engine = TextEngine.open(
        save_model(tmp_path_factory.mktemp("model") / "tiny"), precision="float32"
    )
    yield servers.start(LocalBackend(engine)).url + "/v1"
    servers.stop()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems whose answers continue a comment; every second one can pass, if it says nothing that
    breaks the program. Running one takes long enough to be killed."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "humaneval").mkdir()
    rows = [
        {
            "task_id": f"HumanEval/{i}",
            "prompt": f"def text():\n    return {i}  # hello {i}:",
            "entry_point": "text",
            "canonical_solution": "",
            "test": TEST,
        }
        for i in range(N_PROBLEMS)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "humaneval" / "HumanEval.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def calm(url: str, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run."""
    out_dir = tmp_path_factory.mktemp("calm") / "report"
    finish(start(url, data_dir, out_dir))
    return out_dir


def start(url: str, data_dir: Path, out_dir: Path) -> subprocess.Popen[bytes]:
    command = [*CODLING, "evaluate", "humaneval", "--api", url]
    command += ["--data-dir", str(data_dir), "--out-dir", str(out_dir), "--max-tokens", "20"]
    command += ["--concurrency", str(CONCURRENCY), "--workers", "1"]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    assert process.wait(timeout=600) == 0


def rows(out_dir: Path, stage: str) -> list[str]:
    """The keys of the whole lines of a stage."""
    path = out_dir.with_name(f"{out_dir.name}.rows") / f"{stage}.jsonl"
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0].decode()
    return [json.loads(line)["key"] for line in whole.splitlines()]


def kill_at(process: subprocess.Popen[bytes], out_dir: Path, stage: str, n: int, more: float):
    """SIGKILL to the whole group, `more` seconds after the stage has `n` rows."""
    end = time.monotonic() + 600
    while len(rows(out_dir, stage)) < n and process.poll() is None:
        assert time.monotonic() < end, "it does not get there"
        time.sleep(0.002)
    time.sleep(more)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def report(out_dir: Path) -> dict[str, bytes]:
    return {name: (out_dir / name).read_bytes() for name in REPORT}


@pytest.mark.long
@pytest.mark.parametrize("n_kills", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_asks_nothing_twice_and_reports_the_same(
    url, data_dir, calm, tmp_path, n_kills
):
    killed = tmp_path / "killed"
    draw = random.Random(n_kills)
    moments = [("generations", draw.randrange(N_PROBLEMS - CONCURRENCY)) for _ in range(n_kills)]
    moments += [("executions", draw.randrange(1, N_PROBLEMS // 2)) for _ in range(n_kills)]
    for stage, n in sorted(moments, key=lambda m: (m[0] != "generations", m[1])):
        before = rows(killed, stage)
        kill_at(start(url, data_dir, killed), killed, stage, n, draw.uniform(0, 0.03))
        assert rows(killed, stage)[: len(before)] == before
    finish(start(url, data_dir, killed))
    for stage in ("generations", "extractions", "executions"):
        found = rows(killed, stage)
        assert len(found) == len(set(found)), f"{stage}: a key twice"
    assert len(rows(killed, "generations")) == N_PROBLEMS
    scores = json.loads(report(calm)["report.json"])["scores"]
    assert 0 < scores["pass@1"]["value"] < 1, "the score should tell runs apart"
    assert report(killed) == report(calm)


@pytest.mark.slow
def test_two_complete_runs_give_the_same_report(url, data_dir, calm, tmp_path):
    finish(start(url, data_dir, tmp_path / "again"))
    assert report(tmp_path / "again") == report(calm)
    first, second = (
        json.loads((f / "manifest.json").read_text()) for f in (calm, tmp_path / "again")
    )
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {"seconds", "finished", "config", "code"}, (
        differing
    )  # folder; commit meanwhile
