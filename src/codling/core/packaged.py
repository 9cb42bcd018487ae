"""Files and folders that come with codling: tables beside the code, recipes, settings of editors.

Input: a name. Output: the table, or where the folder lies: inside the package when installed,
beside src/ in a checkout. Not here: what is in them; who reads a table checks its rows.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any


def packaged_dir(name: str) -> Path:
    """The folder `recipes` or `editors` that belongs to this version."""
    package = Path(__file__).resolve().parents[1]
    installed = package / name
    return installed if installed.is_dir() else package.parents[1] / name


def packaged_table(package: str, name: str) -> dict[str, Any]:
    """The TOML file `name` that lies beside the modules of `package`, such as "codling.core"."""
    return tomllib.loads(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
