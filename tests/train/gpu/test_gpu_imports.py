"""What runs on the machine with the GPU imports nothing that it lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_machine import BLOCKED, TOOLS, blocking

pytestmark = pytest.mark.long
SCRIPTS = sorted(path.stem for path in TOOLS.glob("*.py"))


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # Plugins of pytest that happen to be installed here need some of these packages.
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = {**os.environ, **blocking(tmp_path, BLOCKED), **alone}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_say_what_they_take(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, str(TOOLS / f"{name}.py"), "--help")
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_the_blocked_packages_are_missing(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "import polars")
    assert "blocked: polars" in done.stderr


def test_the_tests_of_a_gpu_can_be_collected(tmp_path: Path) -> None:
    done = run(
        tmp_path, "-m", "pytest", "-q", "--collect-only", "-m", "gpu", "-p", "no:cacheprovider",
        str(Path(__file__).with_name("test_device_numbers.py")),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "test_device_numbers" in done.stdout
