"""Event files: the bytes that TensorBoard reads, and what a resumed run takes back."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.train.config import LoopConfig
from codling.train.event_file import EventFile, crc32c
from codling.train.trackers import EVENTS, numbers_of, open_trackers


def records(path: Path) -> Iterator[bytes]:
    """What the TFRecords of a file hold, with both checksums compared."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        length, masked = struct.unpack_from("<QI", data, at)
        body = data[at + 12 : at + 12 + length]
        assert unmask(masked) == crc32c(data[at : at + 8])
        assert unmask(*struct.unpack_from("<I", data, at + 12 + length)) == crc32c(body)
        yield body
        at += 16 + length


def unmask(masked: int) -> int:
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def test_a_file_begins_with_its_version_and_has_a_record_a_step(tmp_path: Path) -> None:
    file = EventFile(tmp_path, clock=lambda: 2.0)
    file.write(300, {"a": 1.5, "lost": float("nan")})
    file.write(301, {"lost": float("inf")})
    file.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    two = b"\x09" + struct.pack("<d", 2.0)
    value = b"\x0a\x01a" + b"\x15" + struct.pack("<f", 1.5)
    assert list(records(path)) == [
        two + b"\x1a\x0dbrain.Event:2",
        two + b"\x10\xac\x02" + b"\x2a\x0a" + b"\x0a\x08" + value,
    ]


def test_a_resumed_run_takes_back_the_steps_that_it_does_again(tmp_path: Path) -> None:
    EventFile(tmp_path, first_step=7, clock=lambda: 2.0).close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    assert list(records(path))[1].endswith(b"\x10\x07" + b"\x3a\x02\x08\x01")  # SessionLog.START


def test_tensorboards_own_reader_reads_it(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with open_trackers(("tensorboard",), tmp_path, {}) as (tracker,):
        tracker.write(1, {"train/loss": 2.5})
    found = reader.EventAccumulator(str(tmp_path / EVENTS)).Reload().Scalars("train/loss")
    assert [(each.step, each.value) for each in found] == [(1, 2.5)]


def test_numbers_are_grouped_and_those_of_a_table_named() -> None:
    row = {"step": 1, "loss": 2.0, "mfu": 0.5, "heldout": {"Python": 1.25}, "why": "text"}
    assert numbers_of(row) == {"train/loss": 2.0, "speed/mfu": 0.5, "heldout/Python": 1.25}


def test_a_missing_package_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codling.train.config.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"trackio is not installed; pip install 'codling\[track"):
        LoopConfig(report_to=("trackio",))
