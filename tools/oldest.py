"""Prints the lowest version of each direct dependency that pyproject.toml allows, as pins for pip.

    python tools/oldest.py > oldest.txt && pip install -c oldest.txt -e '.[dev]'

`make oldest` does this in a folder of its own, .venv-oldest, and runs the tests there. What the
dependencies need in turn pip takes newest, as it does for a user. Pinned are the package itself and
the extras that the tests use; a bound that no other package allows any more is pip's error here.
"""

import re
import tomllib
from pathlib import Path

EXTRAS = ("grammars", "dev")
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
LOWEST = re.compile(r"([\w-]+)(?:>=|~=)([\d.]+)")


def lowest_versions() -> dict[str, str]:
    """The lower bound of each requirement, by the package's name."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [one for name in EXTRAS for one in extras[name]]
    return dict(found.groups() for one in wanted if (found := LOWEST.match(one)))


if __name__ == "__main__":
    for name, version in lowest_versions().items():
        print(f"{name}=={version}")
