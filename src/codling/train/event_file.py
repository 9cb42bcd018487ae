"""Event files, which TensorBoard reads, written without TensorBoard.

Input: a folder; numbers by name and step. Output: a file events.out.tfevents.* in the folder, a
record per step: TFRecord framing (length, masked CRC-32C of the length, data, masked CRC-32C of the
data) around an Event of tensorflow/core/util/event.proto in protobuf's wire format.

Not here: reading them, pictures and histograms, and what is written when (trackers.py).
"""

import math
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), reflected."""
_MASK_DELTA = 0xA282EAD8
# A field's number and wire type in one byte: number << 3 | type (0 varint, 1 double, 2 bytes,
# 5 float). The names are those of event.proto and summary.proto.
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION_LOG = (
    b"\x09",
    b"\x10",
    b"\x1a",
    b"\x2a",
    b"\x3a",
)
_VALUE, _TAG, _SIMPLE_VALUE = b"\x0a", b"\x0a", b"\x15"
_STATUS_START = b"\x08\x01"


class EventFile:
    """A new event file of a run; `write` adds a step's numbers."""

    def __init__(
        self, folder: Path, *, first_step: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        """What earlier files of the folder hold from `first_step` on does not count any more.

        `clock` gives the seconds since 1970.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = clock
        name = f"events.out.tfevents.{clock():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("xb")
        self._append(_FILE_VERSION + _delimit(b"brain.Event:2"))
        if first_step:
            self._append(_STEP + _varint(first_step) + _SESSION_LOG + _delimit(_STATUS_START))
        self._file.flush()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """A step's numbers by name; those that are not finite are left out."""
        values = [
            _VALUE + _delimit(_TAG + _delimit(name.encode()) + _SIMPLE_VALUE + _float(number))
            for name, number in numbers.items()
            if math.isfinite(number)
        ]
        if values:
            self._append(_STEP + _varint(step) + _SUMMARY + _delimit(b"".join(values)))
            self._file.flush()

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()

    def _append(self, event: bytes) -> None:
        data = _WALL_TIME + struct.pack("<d", self.clock()) + event
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))


def crc32c(data: bytes) -> int:
    """The CRC-32C of RFC 3720.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _table_entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE = [_table_entry(number) for number in range(256)]


def _checksum(data: bytes) -> bytes:
    """TFRecord's masked CRC, so that a checksum over checksums is not weak."""
    crc = crc32c(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + _MASK_DELTA) & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first.

    >>> _varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _delimit(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _float(number: float) -> bytes:
    return struct.pack("<f", max(-3.4e38, min(3.4e38, number)))
