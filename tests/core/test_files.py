"""Files that are whole or absent: what is left after errors, full disks and crashes."""

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from codling.core.files import (
    append_json,
    drop_half_line,
    is_disk_full,
    read_json_lines,
    replace_file,
    sync_tree,
    write_json,
    write_text,
)


def test_a_text_and_a_value_arrive_whole_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "größer")
    write_json(tmp_path / "b.json", {"n": 1})
    assert (tmp_path / "a.txt").read_bytes() == "größer".encode()
    assert (tmp_path / "b.json").read_text() == '{\n "n": 1\n}\n'
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.json"]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def stop_in_the_middle() -> None:
        with replace_file(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stop_in_the_middle()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("sync folder" if is_folder else "sync file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_text(tmp_path / "a.txt", "new")
    assert calls == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_weights_get_the_mode_of_any_new_file_of_the_users(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with replace_file(tmp_path / "w.safetensors") as temporary:
            save_file({"a": torch.zeros(2)}, temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o666 & ~mask


def test_a_line_that_a_crash_cut_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_json(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2')
    assert list(read_json_lines(path)) == [{"n": 1}]
    drop_half_line(path)
    append_json(path, {"n": 3})
    assert list(read_json_lines(path)) == [{"n": 1}, {"n": 3}]
    path.write_text('{"n')
    drop_half_line(path)
    assert path.read_bytes() == b""


def test_a_whole_tree_is_synced_and_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run/inner").mkdir(parents=True)
    (tmp_path / "run/inner/a.txt").write_text("a")
    (tmp_path / "outside.txt").write_text("not ours")
    (tmp_path / "run/link").symlink_to(tmp_path / "outside.txt")
    (tmp_path / "run/gone").symlink_to(tmp_path / "nowhere")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda d: synced.append(os.fstat(d).st_ino))
    sync_tree(tmp_path / "run")
    expected = ["run/inner/a.txt", "run/inner", "run"]
    assert synced == [(tmp_path / name).stat().st_ino for name in expected]


NUMBERS = np.arange(100_000, dtype=np.float64)


def _save_words(path: Path) -> None:
    Tokenizer(models.BPE({f"{i:05d}": i for i in range(20_000)}, [])).save(str(path))


def _save_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, NUMBERS)


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("x" * 1_000_000),
    "npy": _save_array,
    "npz": lambda path: np.savez(path.open("wb"), a=NUMBERS),
    "parquet": lambda path: pq.write_table(pa.table({"n": NUMBERS}), path),
    "safetensors": lambda path: save_file({"a": torch.from_numpy(NUMBERS)}, path),
    "tokenizer": _save_words,
}


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_the_same_error_from_every_library(small_disk: Path, name: str) -> None:
    path = small_disk / name
    with pytest.raises(OSError, match="No space left") as caught, replace_file(path) as temporary:
        WRITERS[name](temporary)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (OSError("800 requested and 12 written"), True),
        (Exception("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "No space left on device"), False),
        (ValueError("4 requested and 3 found"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_which_errors_mean_a_full_disk(error: BaseException, full: bool) -> None:
    assert is_disk_full(error) is full
