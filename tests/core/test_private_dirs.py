"""core/private_dirs: temporary folders that go, whatever ends their process."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from codling.core import private_dirs
from codling.core.private_dirs import private_dir

HOLD = """
import sys
from codling.core.private_dirs import private_dir
with private_dir("codling-test-") as made:
    (made / "link").symlink_to("/etc")
    print(made, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(private_dirs, "_NEW_SECONDS", -1)
    return tmp_path


def hold(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder until its input ends, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_gone_after_its_block_and_after_an_error(place: Path) -> None:
    with private_dir("codling-test-") as made:
        assert made.parent == place
        assert made.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ZeroDivisionError), private_dir("codling-test-"):
        raise ZeroDivisionError
    assert list(place.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_with_the_next_and_a_living_ones_stays(
    place: Path,
) -> None:
    living, kept = hold(place)
    killed, left = hold(place)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.is_dir()
    (place / "codling-test-file").touch()
    with private_dir("codling-test-") as made:
        assert {each.name for each in place.iterdir()} == {
            kept.name,
            made.name,
            "codling-test-file",
        }
    assert Path("/etc").is_dir()
    living.communicate("")
    assert not kept.exists()


def test_sigterm_ends_a_process_without_its_folder(place: Path) -> None:
    process, made = hold(place)
    assert made.is_dir()
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("place")
def test_a_forked_process_leaves_its_parents_folder() -> None:
    with private_dir("codling-test-") as made:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert made.is_dir()
    assert not made.exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_young_folder_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_dirs, "_NEW_SECONDS", 60)
    (place / "codling-test-young").mkdir()
    with private_dir("codling-test-"):
        assert (place / "codling-test-young").is_dir()
