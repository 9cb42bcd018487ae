"""Folders of any depth are walked."""

import os
from pathlib import Path

import pytest

from codling.core.folder_walk import files_below


def test_files_come_in_order_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("a.txt", "b/c/d.txt", "b/e.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe")
    found = [p.relative_to(tmp_path).as_posix() for p in files_below(tmp_path)]
    assert found == ["a.txt", "b/c/d.txt", "b/e.txt", "link.txt"]
    below = files_below(tmp_path, lambda name: name != "b")
    assert [p.name for p in below] == ["a.txt", "link.txt"]


@pytest.mark.long
def test_a_folder_1500_levels_deep_is_walked(tmp_path: Path) -> None:
    # Made from inside: a path of that length is longer than one call may take on some systems.
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1_500):
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.txt").write_text("x")
    finally:
        os.chdir(here)
    assert [p.name for p in files_below(tmp_path)] == ["deep.txt"]
    remove_chain(tmp_path, 1_500)


def remove_chain(folder: Path, depth: int) -> None:
    """Take the levels away from the inside: pytest's own removal goes down by calling itself."""
    for level in range(depth, 0, -1):
        below = folder.joinpath(*["d"] * level)
        for file in below.iterdir():
            file.unlink()
        below.rmdir()
