"""Folders that come with codling: inside the package when installed, beside src/ in a checkout.

Input: a folder's name. Output: where it lies. Not here: what is in it.
"""

from pathlib import Path


def packaged_dir(name: str) -> Path:
    """The folder `recipes` or `editors` that belongs to this version."""
    package = Path(__file__).resolve().parents[1]
    installed = package / name
    return installed if installed.is_dir() else package.parents[1] / name
