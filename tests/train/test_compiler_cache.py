"""train/compiler_cache: libraries that a killed run left half written are found and removed."""

import fcntl
import struct
from pathlib import Path

import pytest

from codling.train.compiler_cache import is_whole_library, remove_cut_libraries
from codling.train.step import _reason


def library(table_at: int = 100, entries: int = 3) -> bytes:
    """A 64-bit ELF header whose table of `entries` sections of 64 bytes begins at `table_at`."""
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 40, table_at)
    struct.pack_into("<HH", head, 58, 64, entries)
    return bytes(head) + bytes(table_at - 64 + 64 * entries)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "whole.so").write_bytes(library())
    (tmp_path / "ab" / "code.cpp").write_text("int main() {}")
    for name, data in {
        "cut.so": library()[:-1],
        "head.so": library()[:30],
        "empty.so": b"",
        "zeros.so": bytes(4096),
        "open.so": library(table_at=64)[:40] + bytes(200),
    }.items():
        (tmp_path / "ab" / name).write_bytes(data)
    return tmp_path


def test_cut_libraries_go_and_whole_ones_stay(cache: Path) -> None:
    removed = {path.name for path in remove_cut_libraries(cache)}
    assert removed == {"cut.so", "head.so", "empty.so", "zeros.so", "open.so"}
    assert {path.name for path in (cache / "ab").iterdir()} == {"whole.so", "code.cpp"}


def test_real_libraries_are_whole_and_their_halves_are_not(tmp_path: Path) -> None:
    import numpy as np

    found = next(iter(Path(np.__file__).parent.rglob("*.so")), None)
    if found is None:
        pytest.skip("numpy has no .so here")
    assert is_whole_library(found)
    half = tmp_path / "half.so"
    half.write_bytes(found.read_bytes()[: found.stat().st_size // 2])
    assert not is_whole_library(half)


def test_nothing_is_removed_while_somebody_compiles(cache: Path) -> None:
    (cache / "locks").mkdir()
    with (cache / "locks" / "x.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_cut_libraries(cache) == []
    assert len(remove_cut_libraries(cache)) == 5


def test_a_cache_that_is_not_there_yet_is_no_matter(tmp_path: Path) -> None:
    assert remove_cut_libraries(tmp_path / "none") == []


def test_the_reason_for_eager_training_is_the_compilers_own_error() -> None:
    said = "backend='inductor' raised:\nCppCompileError: C++ compile error\n\nOutput:\n{}\n  17 | x"
    assert _reason(RuntimeError(said.format("a.cpp:17:21: error: no vec"))).endswith(
        "error: no vec"
    )
    assert _reason(OSError("/c/x.so: file too short")) == "/c/x.so: file too short"
    assert _reason(RuntimeError(said.format(""))) == "CppCompileError: C++ compile error"
    assert _reason(RuntimeError()) == "RuntimeError"
