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
        ("Skipped: needs Chromium at /root/chromium", "all", True),
        ("Skipped: only root gives ids away", "all", False),
        ("Skipped: needs the data folder /x/shared/data", "all", False),
        ("Skipped: needs the data folder /x/shared/data", "data folder", True),
    ],
)
def test_a_skip_fails_if_its_cure_is_asked_for(reason: str, required: str, fails: bool) -> None:
    assert is_required(reason, required) == fails


IN_A_TEST = "import pytest\ndef test_x():\n    pytest.skip('needs mono')\n"
AS_A_MODULE = "import pytest\npytest.importorskip('no_such_package', reason='needs mono')\n"


@pytest.mark.long
@pytest.mark.parametrize("source", [IN_A_TEST, AS_A_MODULE], ids=["a test", "a module"])
@pytest.mark.parametrize("required", ["", "all"])
def test_a_whole_run_obeys_the_variable(tmp_path: Path, required: str, source: str) -> None:
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['skips']\n")
    (tmp_path / "test_x.py").write_text(source)
    (tmp_path / "test_y.py").write_text("def test_y():\n    pass\n")
    options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        env=os.environ | {"CODLING_REQUIRE": required, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )
    assert done.returncode == bool(required), done.stdout
    assert ("CODLING_REQUIRE=all: Skipped: needs mono" in done.stdout) == bool(required)
    assert "1 passed" in done.stdout
