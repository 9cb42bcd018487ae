"""The Makefile beside what people have: trained models, and a Python that does not fit."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with the Makefile and a trained model."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    shutil.copyfile(MAKEFILE, tmp_path / "Makefile")
    (tmp_path / "runs/stdlib/checkpoint").mkdir(parents=True)
    (tmp_path / "runs/stdlib/checkpoint/model.safetensors").write_text("hours of training")
    return tmp_path


def make(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words], cwd=tree, capture_output=True, text=True, check=False, timeout=600
    )


def test_clean_removes_what_is_built_and_no_trained_model(tree: Path) -> None:
    (tree / "build").mkdir()
    assert make(tree, "clean").returncode == 0
    assert not (tree / "build").exists()
    assert (tree / "runs/stdlib/checkpoint/model.safetensors").exists()


def test_clean_runs_says_what_it_removes(tree: Path) -> None:
    done = make(tree, "clean-runs")
    assert "runs/stdlib" in done.stdout
    assert not (tree / "runs").exists()


TOO_OLD = """#!/bin/sh
case "$*" in *version_info*) exit 1;; esac
mkdir -p .venv/bin; touch .venv/bin/python
"""
BREAKS_OFF = """#!/bin/sh
case "$*" in *version_info*) exit 0;; esac
mkdir -p .venv/bin; touch .venv/bin/python; exit 1
"""


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false", TOO_OLD, BREAKS_OFF])
def test_a_wrong_python_leaves_no_environment_behind(tree: Path, python: str) -> None:
    if python.startswith("#!"):
        (tree / "python").write_text(python)
        (tree / "python").chmod(0o755)
        python = str(tree / "python")
    done = make(tree, ".venv/bin/python", f"PYTHON={python}")
    assert done.returncode == 2
    assert not (tree / ".venv").exists()
    if python.startswith("/nowhere"):
        assert "make PYTHON=/path/to/python3.11" in done.stdout
