"""What a machine with a GPU may lack, and a Python that lacks it."""

from collections.abc import Iterable
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / "tools" / "gpu"
BLOCKED = ("polars", "cyclopts", "fastapi", "tree_sitter", "gguf", "pydantic", "uvicorn")
"""Packages that a machine with a GPU may lack: nothing that runs there imports them."""


def blocking(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Environment of a Python that finds codling's source, and none of these packages."""
    blocker = folder / "blocker"
    blocker.mkdir(exist_ok=True)
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {set(names)!r}:\n"
        "            raise ModuleNotFoundError(f'blocked: {name}')\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    return {"PYTHONPATH": f"{blocker}:{TOOLS.parents[1] / 'src'}:{TOOLS}"}
