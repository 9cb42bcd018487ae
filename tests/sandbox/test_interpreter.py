"""Python programs run with the interpreter of another environment, which brings its libraries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codling.core.errors import ToolMissingError
from codling.sandbox.executor import Executor, Program
from codling.sandbox.interpreter import find_interpreter, own_interpreter


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with one module of its own, made without pip."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "orchard.py").write_text("TREES = 7\n")
    info = site / "orchard-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard\nVersion: 1.5\n")
    return folder / "bin" / "python"


def test_programs_see_the_libraries_of_their_environment_and_no_others(environment):
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Executor(
        1, python=find_interpreter(environment), preload=["orchard", "numpy"]
    ) as executor:
        assert executor.run(Program(language="python", source=SEES)).passed
        outcome = executor.run(Program(language="python", source="import numpy"))
        assert outcome.detail == "ModuleNotFoundError: No module named 'numpy'"
        assert "Python 3" in executor.require("python")


SEES = "import orchard\nassert orchard.TREES == 7\n"


def test_what_it_has_is_known_without_starting_it_again(environment):
    python = find_interpreter(environment)
    assert python.has("orchard")
    assert python.has("json")
    assert not python.has("numpy")
    assert python.describe(("orchard", "absent")).endswith(", orchard 1.5")
    assert python.describe() != own_interpreter().describe()
    assert own_interpreter().has("numpy")


def test_what_is_no_python_is_refused_in_one_line(tmp_path):
    with pytest.raises(ToolMissingError, match="is not a Python that starts"):
        find_interpreter(tmp_path / "none")
    old = tmp_path / "old"
    told = '{"path": "/p", "base": "/", "packages": [], "version": "3.9.2"}'
    old.write_text(f"#!/bin/sh\necho '{told}'\n")
    old.chmod(0o755)
    with pytest.raises(ToolMissingError, match=r"is Python 3\.9\.2; the sandbox needs 3\.11"):
        find_interpreter(old)
