"""Nothing of the host's kernel can be set from inside, whoever runs codling."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import ToolMissingError
from codling.sandbox import Box, Job, Step, identity
from codling.sandbox.identity import find_unprivileged_id

# Opening for writing is the write's permission check: nothing is written even where it succeeds.
# A process's own entries are not the host's, but they are read-only too.
LOOK = """
import os, json
opened, refused = [], 0
for root in ("/proc", "/sys"):
    for folder, folders, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
                opened.append(path)
            except OSError:
                refused += 1
        for path in (os.path.join(folder, name) for name in folders):
            if os.path.islink(path):
                continue  # /proc/N/cwd leads to the program's own folder
            try:
                os.mkdir(os.path.join(path, "planted"))
                opened.append(path)
            except OSError:
                refused += 1
print(json.dumps([opened, refused]))
"""
SAME = """
value = open("/proc/sys/kernel/printk_ratelimit_burst").read()
try:
    open("/proc/sys/kernel/printk_ratelimit_burst", "w").write(value)
except OSError as error:
    print(error.errno)
"""
SETTING = Path("/proc/sys/kernel/printk_ratelimit_burst")
AS_USER = """
import json, sys
from test_host_settings import looks
print(json.dumps(looks()))
"""


def looks() -> dict[str, list[Any]]:
    """What each kind of cell could open for writing, and how much it was refused."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    step = Step(code=LOOK)
    jobs = {
        "a Python program": Job(steps=(step,)),
        "a Python program that sees /proc": Job(steps=(step,), proc=True),
        "steps in one cell": Job(steps=(step, step), proc=True),
    }
    if python is not None:
        jobs["another language"] = Job(steps=(Step(argv=(python, "-c", LOOK)),))
    found = {}
    with Box() as box:
        for name, job in jobs.items():
            reply = box.run(job)
            assert not reply.lost, reply
            assert reply.steps[-1].stdout, reply
            found[name] = json.loads(reply.steps[-1].stdout)
    return found


@pytest.fixture
def walls() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")


@pytest.mark.usefixtures("walls")
def test_nothing_below_proc_or_sys_can_be_written_from_any_cell():
    before = SETTING.read_text()
    found = looks()
    assert {name: opened for name, (opened, _) in found.items()} == {name: [] for name in found}
    assert all(refused > 500 for name, (_, refused) in found.items() if name != "a Python program")
    assert SETTING.read_text() == before


@pytest.mark.usefixtures("walls")
def test_an_ordinary_users_cells_can_write_nothing_there_either():
    if os.geteuid() != 0:
        pytest.skip("we are an ordinary user: the test above is this one")
    nobody: dict[str, Any] = {"user": identity.NOBODY, "group": identity.NOBODY, "extra_groups": ()}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "HOME": "/tmp", "CODLING_CACHE": "/tmp"}
    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):  # root's own interpreter, in a folder that nobody else may enter
            done = subprocess.run(
                [python, "-c", AS_USER], capture_output=True, text=True, env=env, **nobody
            )
            break
    else:
        pytest.skip("no Python here that an ordinary user can start")
    assert done.returncode == 0, done.stderr
    assert {name: opened for name, (opened, _) in json.loads(done.stdout).items() if opened} == {}


@pytest.mark.usefixtures("walls")
def test_the_very_value_that_stands_there_cannot_be_written():
    with Box() as box:
        reply = box.run(Job(steps=(Step(code=SAME),), proc=True))
    assert reply.steps[0].stdout == "30\n"  # EROFS: refused for everybody, not only for our id


@pytest.mark.usefixtures("walls")
@pytest.mark.parametrize("proc", [False, True])
def test_programs_are_never_the_hosts_root(proc):
    source = "import os; print(os.getresuid(), os.getresgid(), os.getgroups())"
    if proc:
        source += "\nprint(open('/proc/self/uid_map').read())"
    with Box() as box:
        out = box.run(Job(steps=(Step(code=source),), proc=proc)).steps[0].stdout
    assert out.startswith("(1000, 1000, 1000) (1000, 1000, 1000)"), out
    if proc:
        maps = [tuple(map(int, line.split())) for line in out.splitlines()[1:] if line]
        assert all(outside != 0 for inside, outside, _ in maps if inside == identity.USER)


@pytest.mark.usefixtures("walls")
def test_no_program_becomes_the_builder_again():
    source = f"""
import os
for change in (os.setuid, os.seteuid, os.setgid):
    try:
        change({identity.BUILDER})
    except OSError:
        continue
    raise AssertionError(change)
"""
    with Box() as box:
        assert box.run(Job(steps=(Step(code=source),))).steps[0].proved


@pytest.mark.usefixtures("walls")
def test_where_root_has_no_other_id_programs_that_see_proc_are_refused(monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root gives ids away")
    monkeypatch.setattr(identity, "find_unprivileged_id", lambda _map: None)
    with Box() as box:
        assert box.run(Job(steps=(Step(code="x = 1"),))).steps[0].proved
        with pytest.raises(ToolMissingError, match="no second user id here; run codling as an"):
            box.run(Job(steps=(Step(argv=("/bin/true",)),)))
        with pytest.raises(ToolMissingError, match="programs that see /proc"):
            box.run(Job(steps=(Step(code="x = 1"),), proc=True))
        assert box.run(Job(steps=(Step(code="x = 1"),))).steps[0].proved


def test_an_id_to_give_away_is_never_roots():
    assert find_unprivileged_id("         0          0 4294967295\n") == 65534
    assert find_unprivileged_id("0 1000 1\n1 100000 65536\n") == 65534
    assert find_unprivileged_id("0 1000 1\n1 100000 999\n") == 999
    assert find_unprivileged_id("0 1000 1\n") is None


@pytest.mark.long
@pytest.mark.usefixtures("walls")
@pytest.mark.parametrize("where", ["/tmp", "/dev/shm", "a folder in no temporary place"])
@pytest.mark.parametrize("keep", [(), ("*.txt",)], ids=["one program", "steps in one cell"])
def test_a_toolchains_folder_is_seen_wherever_it_lies_and_never_written(where, keep):
    """Programs get an empty /tmp; a user whose home lies there has the seal of C++ there too."""
    source = """
import os
print(open("FOLDER/bits/seal.o").read(), os.listdir(os.path.dirname("FOLDER")))
for path in ("FOLDER/bits/seal.o", "FOLDER/bits/new"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.errno)
"""
    with tempfile.TemporaryDirectory(dir=where if where.startswith("/") else Path.cwd()) as above:
        folder = Path(above, "pch")
        (folder / "bits").mkdir(parents=True)
        (folder / "bits" / "seal.o").write_text("sealed")
        Path(above, "secret").write_text("not shown")
        step = Step(code=source.replace("FOLDER", str(folder)))
        with Box(shown=(folder,)) as box:
            for _ in range(2):
                reply = box.run(Job(steps=(step,), keep=keep))
                assert reply.steps[0].stdout == "sealed ['pch']\n30\n30\n", reply
