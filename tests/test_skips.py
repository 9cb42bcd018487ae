"""CODLING_REQUIRE: tests that would skip fail where everything must be installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skips import is_required


@pytest.mark.parametrize(
    ("reason", "required", "fails"),
    [
        ("Skipped: needs bubblewrap: apt-get install bubblewrap", "", False),
        ("Skipped: needs bubblewrap: apt-get install bubblewrap", "all", True),
        ("Skipped: needs bubblewrap: apt-get install bubblewrap", "g++, bubblewrap", True),
        ("Skipped: needs bubblewrap: apt-get install bubblewrap", "g++", False),
        ("Skipped: needs the data folder /x/shared/data", "all", False),
        ("Skipped: needs the data folder /x/shared/data", "data folder", True),
    ],
)
def test_a_skip_fails_if_its_cure_is_asked_for(reason: str, required: str, fails: bool) -> None:
    assert is_required(reason, required) == fails


@pytest.mark.long
@pytest.mark.parametrize(("required", "code"), [("", 0), ("all", 1)])
def test_a_whole_run_obeys_the_variable(tmp_path: Path, required: str, code: int) -> None:
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['skips']\n")
    source = "import pytest\ndef test_x():\n    pytest.skip('needs mono')\n"
    (tmp_path / "test_x.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"CODLING_REQUIRE": required, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )
    assert done.returncode == code, done.stdout
    assert ("CODLING_REQUIRE=all: Skipped: needs mono" in done.stdout) == bool(code)
