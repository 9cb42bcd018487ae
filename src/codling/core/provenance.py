"""What a manifest states about the code and the machine that made an artefact.

Not here: the manifest (artifact.py).
"""

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from codling import __version__
from codling.core.errors import SourceError, ToolMissingError
from codling.core.git import open_git
from codling.core.git_place import find_place


def code_version() -> dict[str, Any]:
    """Version of codling; commit and whether files differ from it, where it runs from its tree."""
    package = Path(__file__).parents[1]
    commit, is_dirty = None, None
    # No git, or a tree that it cannot read: the version alone tells what ran.
    with suppress(SourceError, ToolMissingError):
        commit, is_dirty = _own_commit(package)
    return {"version": __version__, "commit": commit, "dirty": is_dirty}


def _own_commit(package: Path) -> tuple[str | None, bool | None]:
    """The commit of codling's own source, and whether the files differ from it."""
    place = find_place(package)
    commit = place.head() if place else None
    if place is None or commit is None:
        return None, None
    with open_git(place) as git:
        tracked = git.list_tracked()
        # An installed package may lie inside somebody else's repository: only our own tree counts.
        if "core/artifact.py" not in tracked:
            return None, None
        return commit, bool(git.changes(commit, tracked) or git.list_untracked())


def machine() -> dict[str, Any]:
    """System, Python and number of CPUs."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "n_cpus": os.cpu_count(),
    }
