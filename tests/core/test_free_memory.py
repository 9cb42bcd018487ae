"""The memory that is left: the machine's, or the container's if that is less."""

from pathlib import Path

import pytest

from codling.core.memory import available_bytes


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, 2048),
        ({"memory.max": "max", "memory.current": "9"}, 2048),
        ({"memory.max": "1500", "memory.current": "1000"}, 500),
        # 300 of the 1000 are pages of files, which can be given back.
        (
            {"memory.max": "1500", "memory.current": "1000", "memory.stat": "inactive_file 300\n"},
            800,
        ),
        ({"memory.max": "999999", "memory.current": "1000"}, 2048),
    ],
)
def test_the_smaller_of_machine_and_container(
    tmp_path: Path, files: dict[str, str], left: int
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:   2 kB\n")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert available_bytes(meminfo, tmp_path) == left


def test_a_system_without_counts_is_no_limit(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "absent", tmp_path) is None
