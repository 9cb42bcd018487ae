"""Which Python runs Python programs: the one that runs us, or that of a virtual environment.

Input: the path of an interpreter, or none. Output: what the sandbox must show of it, which
libraries it has, and a line that names both for reports and keys.

Not here: starting it (box.py), and other languages (toolchains.py).
"""

import hashlib
import json
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import PathFinder
from importlib.metadata import distributions
from pathlib import Path

from codling.core.errors import ToolMissingError

_OLDEST = (3, 11)
"""The server's options (-P) and the notary's audit events are of this version."""
_ASK = (
    "import json, os, sys, sysconfig; p = sysconfig.get_paths(); print(json.dumps({"
    "'path': os.path.realpath(sys.executable), 'base': os.path.realpath(sys.base_prefix), "
    "'packages': [p['purelib'], p['platlib']], 'version': sys.version.split()[0]}))"
)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python with its installed packages."""

    path: str
    """The program itself, past the links of a virtual environment."""
    base: str
    """The folder of its installation."""
    packages: tuple[str, ...]
    """Where installed packages lie, in import order."""
    version: str

    @property
    def folders(self) -> list[str]:
        """The folders of the installation outside /usr, which is shown anyway."""
        return [] if self.base == "/usr" else [self.base]

    @cached_property
    def libraries(self) -> dict[str, str]:
        """Versions by name of what is installed."""
        found = distributions(path=list(self.packages))
        return {str(d.name).lower(): d.version for d in found if d.name}

    def has(self, module: str) -> bool:
        """Whether a top-level module can be imported."""
        known = module in sys.stdlib_module_names
        return known or PathFinder.find_spec(module, list(self.packages)) is not None

    def describe(self, names: tuple[str, ...] = ()) -> str:
        """One line: version, a hash of all that is installed, versions of `names`."""
        listed = json.dumps(self.libraries, sort_keys=True)
        digest = hashlib.sha256(listed.encode()).hexdigest()[:8]
        own = [f"{name} {self.libraries[name]}" for name in names if name in self.libraries]
        return ", ".join([f"Python {self.version}", f"packages {digest}", *own])


@cache
def own_interpreter() -> Interpreter:
    """The interpreter that runs this program."""
    paths = sysconfig.get_paths()
    return Interpreter(
        path=str(Path(sys.executable).resolve()),
        base=str(Path(sys.base_prefix).resolve()),
        packages=tuple(dict.fromkeys((paths["purelib"], paths["platlib"]))),
        version=sys.version.split()[0],
    )


@cache
def find_interpreter(path: Path | None) -> Interpreter:
    """The one at `path`; ToolMissingError if it is not usable."""
    if path is None:
        return own_interpreter()
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=True
        )
        told = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ToolMissingError(
            f"{path} is not a Python that starts ({type(error).__name__}); give the interpreter "
            "of a virtual environment, such as FOLDER/bin/python"
        ) from None
    if tuple(map(int, told["version"].split(".")[:2])) < _OLDEST:
        raise ToolMissingError(f"{path} is Python {told['version']}; the sandbox needs 3.11")
    return Interpreter(**{**told, "packages": tuple(dict.fromkeys(told["packages"]))})
