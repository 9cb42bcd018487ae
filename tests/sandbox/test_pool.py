"""Many programs at once, the verb, and what happens without bubblewrap."""

import os
import shutil
import time
from pathlib import Path

import pytest

from codling.core.errors import SourceError, ToolMissingError
from codling.sandbox import (
    Box,
    Job,
    Limits,
    Pool,
    Step,
    cgroup,
    check_python,
    describe,
    judge,
    run_untrusted,
)
from codling.sandbox.inside.seccomp import filter_bytes
from codling.sandbox.pool import _SharedQueue
from codling.sandbox.untrusted import UntrustedConfig


@pytest.fixture
def walls() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")


@pytest.mark.usefixtures("walls")
def test_verdicts_come_in_the_order_of_the_programs():
    programs = ["assert True", "assert False", "import time; time.sleep(0.3)", "1 / 0"] * 3
    statuses = [o.status for o in check_python(programs, workers=2)]
    assert statuses == ["passed", "failed", "passed", "failed"] * 3


@pytest.mark.long
@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.usefixtures("walls")
def test_sleeping_programs_overlap(n: int):
    jobs = [Job(steps=(Step(code="import time; time.sleep(1)"),))] * n
    with Pool(n) as pool:
        list(pool.map(jobs))  # every box has started
        started = time.monotonic()
        outcomes = [judge(jobs[i], reply) for i, reply in pool.map(jobs)]
        elapsed = time.monotonic() - started
    assert all(o.passed for o in outcomes)
    assert elapsed < sum(o.seconds for o in outcomes)  # one after the other, it is never less


@pytest.mark.usefixtures("walls")
def test_a_server_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, starts = shutil.which("bwrap"), tmp_path / "starts"
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")

    def die(n_times: int) -> None:
        starts.write_text("")
        living = f'[ $(wc -c < {starts}) -gt {n_times} ] && exec {real} "$@"'
        fake.write_text(f"#!/bin/sh\nprintf x >> {starts}\n{living}\nkill -9 $$\n")
        fake.chmod(0o755)

    die(2)
    assert [each.status for each in check_python(["assert True"], workers=1)] == ["passed"]
    assert starts.read_text() == "xxx"
    die(9)
    with pytest.raises(ToolMissingError, match="the sandbox does not start: its pipe closed"):
        check_python(["assert True"], workers=1)
    assert starts.read_text() == "xxx"


@pytest.mark.usefixtures("walls")
def test_long_programs_with_long_output_do_not_block_each_other():
    sizes = (10, 50_000, 70_000, 200_000)
    programs = [f"# {'x' * n}\nprint('y' * {n})" for n in sizes] * 4
    outcomes = check_python(programs, workers=2)
    assert [len(o.stdout) - 1 for o in outcomes] == list(sizes) * 4


def test_two_slow_programs_do_not_queue_behind_each_other():
    waiting = _SharedQueue([Job(steps=())] * 3, n_boxes=2)
    assert waiting.take(True) is not None  # three for two boxes: one may wait in a pipe
    assert waiting.take(True) is None  # two for two boxes: each has its own
    assert waiting.take(False) is not None


@pytest.mark.usefixtures("walls")
def test_every_job_has_an_answer_though_the_box_dies_in_between():
    jobs = [(i, Job(steps=(Step(code=f"print({i})"),))) for i in range(8)]
    todo = iter(jobs)
    with Box() as box:

        def take(_ahead: bool) -> tuple[int, Job] | None:
            taken = next(todo, None)
            if taken is not None and taken[0] == 4 and box._process is not None:
                box._process.kill()
                box._process.wait()
            return taken

        replies = dict(box.stream(take))
    assert list(replies) == list(range(8))
    lost = [i for i, reply in replies.items() if reply.lost]
    assert len(lost) == 1
    assert all(replies[i].steps[0].stdout == f"{i}\n" for i in range(8) if i not in lost)


@pytest.mark.usefixtures("walls")
def test_the_verb_shows_output_verdict_and_walls(tmp_path):
    path = tmp_path / "p.py"
    path.write_text("print('hello')\nraise ValueError('no')\n")
    said = run_untrusted(UntrustedConfig(file=path))
    text = said.text
    assert said.status == 1
    assert "hello" in text
    assert "failed after" in text
    assert "ValueError: no" in text
    assert "bubblewrap" in text


def test_without_bubblewrap_nothing_runs_unless_unsafe(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissingError, match="apt-get install bubblewrap"):
        check_python(["x = 1"])
    assert describe(unsafe=True).startswith("UNSAFE")
    (outcome,) = check_python(["import subprocess, sys\nassert 1 == 1"], unsafe=True)
    assert outcome.status == "passed"
    (outcome,) = check_python(["while True: pass"], unsafe=True, limits=Limits(wall_seconds=1))
    assert outcome.status == "timed out"


def test_a_missing_file_is_said_in_one_line(tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        run_untrusted(UntrustedConfig(file=tmp_path / "none.py"))


def test_the_filter_is_whole_instructions_and_knows_its_machines():
    assert len(filter_bytes(os.uname().machine)) % 8 == 0
    parts = [len(filter_bytes("x86_64", part)) for part in ("server", "cell")]
    frame = 8 * len(("load", "arch", "kill", "number", "x32", "refuse", "allow"))
    assert sum(parts) == len(filter_bytes("x86_64")) + frame
    assert filter_bytes("aarch64") != filter_bytes("x86_64")
    with pytest.raises(ValueError, match="vax"):
        filter_bytes("vax")


@pytest.mark.usefixtures("walls")
def test_installed_packages_are_there_wherever_they_lie():
    (outcome,) = check_python(["import numpy\nassert numpy.arange(3).sum() == 3"], workers=1)
    assert outcome.passed, outcome


def test_why_there_is_no_control_group_is_the_same_for_every_box(tmp_path):
    for name in ("pids", "memory"):
        (tmp_path / name).symlink_to("/proc")  # where nobody makes folders
    reasons = {cgroup.create(Limits(), root=tmp_path) for _ in range(2)}
    assert reasons == {
        f"control groups cannot be written (No such file or directory: {tmp_path}/pids)"
    }


def test_groups_of_dead_processes_are_deleted_and_those_of_live_ones_are_not(tmp_path):
    dead, live, young = (f"codling-{pid}-0a1b2c3d" for pid in (2**22 + 1, os.getpid(), 2**22 + 2))
    for name in (dead, live, young):
        (tmp_path / "pids" / name).mkdir(parents=True)
    for name in (dead, live):
        os.utime(tmp_path / "pids" / name, (0, 0))
    cgroup.create(Limits(), root=tmp_path)
    assert {p.name for p in (tmp_path / "pids").iterdir()} == {live, young}
