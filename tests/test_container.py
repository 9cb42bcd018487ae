"""What the Dockerfile and the Makefile promise in docs/install.md, read from their text.

The pictures of the machine itself (an image that is built) are not tried here.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their words, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def words_of(instruction: str) -> list[str]:
    return [rest for word, rest in instructions() if word == instruction]


def test_the_container_runs_as_an_ordinary_user() -> None:
    order = [word for word, _ in instructions()]
    (user,) = words_of("USER")
    assert user not in ("root", "0")
    assert any(f"useradd --create-home --uid 1000 {user}" in each for each in words_of("RUN"))
    assert order.index("USER") > max(i for i, word in enumerate(order) if word == "RUN")
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_what_the_container_copies_stands_in_the_repository() -> None:
    copied = [word for rest in words_of("COPY") for word in rest.split()[:-1]]
    assert {"pyproject.toml", "setup.py", "src", "recipes", "editors"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name


def test_the_container_has_a_python_that_the_metadata_allows() -> None:
    (image,) = words_of("FROM")
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    version = re.fullmatch(r"python:3\.(\d+)-slim", image)
    assert version is not None
    assert int(version[1]) >= int(least.partition("3.")[2].split(",")[0])


def test_the_containers_health_check_is_a_program_that_asks_the_open_port() -> None:
    (check,) = words_of("HEALTHCHECK")
    program = re.search(r'CMD \["python", "-c", "(.*)"\]', check)
    assert program is not None
    compile(program[1], "HEALTHCHECK", "exec")
    (port,) = words_of("EXPOSE")
    assert f"127.0.0.1:{port}/health" in program[1]
    # Nobody listens in here: a server that is gone is an unhealthy one.
    nobody = program[1].replace(port, "1")
    done = subprocess.run([sys.executable, "-c", nobody], capture_output=True, check=False)
    assert done.returncode != 0


def test_words_for_pip_reach_every_installation_and_are_none_by_default() -> None:
    assert words_of("ARG") == ['PIP_ARGS=""']
    (command,) = [rest for rest in words_of("RUN") if "pip install" in rest]
    assert "$PIP_ARGS" in shlex.split(command)
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^PIP_ARGS \?=$", makefile, re.M)
    for line in makefile.splitlines():
        assert "pip install" not in line or "$(PIP_ARGS)" in line, line


def test_make_hands_the_place_of_the_cpu_wheels_to_pip(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "pyproject.toml").touch()
    pip_args = "--index-url https://example.org/cpu --extra-index-url https://example.org/simple"
    shown = subprocess.run(
        ["make", "-n", "run", f"PIP_ARGS={pip_args}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PIP"))},
    )
    assert f".venv/bin/pip install -q {pip_args} -e ." in shown.stdout


def test_no_address_of_an_index_stands_in_the_build_files() -> None:
    for name in ("Makefile", "Dockerfile", "pyproject.toml", "setup.py"):
        for line in (ROOT / name).read_text().splitlines():
            assert not re.search(r"index-url[ =]+https?://", line), f"{name}: {line}"
