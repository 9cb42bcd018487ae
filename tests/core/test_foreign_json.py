"""JSON that others wrote: read with bounds, and every fault is one line that names the place."""

import codecs
import gzip
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from codling.core.errors import CheckpointError, SourceError
from codling.core.foreign_files import open_regular
from codling.core.foreign_json import (
    MAX_DEPTH,
    lines,
    parse,
    parse_row,
    read_bytes,
    read_object,
    read_rows,
    read_value,
)


def nested(depth: int, begin: str = "[", end: str = "]") -> str:
    return begin * depth + end * depth


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        (nested(MAX_DEPTH + 1), "deep"),
        (nested(100_000), "deep"),
        (nested(100_000, '{"a":', "}"), "deep"),
        ('{"a": 1, "b": 2, "a": 1}', "'a' appears twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("[1e999]", "too large"),
        ("[" + "9" * 5_000 + "]", "digits"),
        (r'["\ud800"]', "U+D800"),
        (r'{"\udfff": 1}', "U+DFFF"),
        (b'["\xff"]', "decode"),
        (b'["\xed\xa0\x80"]', "decode"),
    ],
)
def test_what_is_wrong_ends_in_one_line_that_names_the_place(
    text: str | bytes, reason: str
) -> None:
    with pytest.raises(CheckpointError, match=r"^there is not valid JSON") as caught:
        parse(text, "there", CheckpointError)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_all_encodings_of_json_are_read(encoding: str) -> None:
    assert parse('{"ä": "中"}'.encode(encoding), "there") == {"ä": "中"}


def test_nesting_up_to_the_bound_is_read() -> None:
    assert parse(nested(MAX_DEPTH), "there")
    assert parse_row(nested(MAX_DEPTH), "there")


@pytest.mark.parametrize("used", [0, 500, 800, 900])
def test_how_deep_the_callers_stack_is_changes_nothing(used: int) -> None:
    def after(depth: int, parser: Callable[[str, str], object]) -> object:
        return after(depth - 1, parser) if depth else parser(nested(MAX_DEPTH), "there")

    used = max(0, used - len(inspect.stack(0)))
    assert after(used, parse) == after(used, parse_row) == json.loads(nested(MAX_DEPTH))


def test_whole_surrogate_pairs_are_characters() -> None:
    assert parse(r'"\ud83d\ude00"', "there") == "😀"


def test_a_row_is_read_leniently() -> None:
    assert parse_row(r'{"a": 1, "a": "x\ud800y"}', "there") == {"a": "x\ufffdy"}
    assert parse_row("[Infinity]", "there") == [float("inf")]


@pytest.mark.parametrize("text", ["{", nested(100_000), "[" + "9" * 5_000 + "]", b'["\xff"]'])
def test_a_row_that_is_broken_names_its_place(text: str | bytes) -> None:
    with pytest.raises(SourceError, match=r"^rows line 3 is not valid JSON"):
        parse_row(text, "rows line 3")


def test_a_settings_file_must_hold_an_object(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[1]")
    assert read_value(path) == [1]
    with pytest.raises(CheckpointError, match=r"config\.json holds no JSON object"):
        read_object(path, CheckpointError)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda p: p.symlink_to("/dev/zero"), "device"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(
    make: Callable[[Path], None], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    make(path)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    for each in (path, link):
        with pytest.raises(SourceError, match=kind):
            read_object(each)


def test_absent_looped_and_impossible_paths_are_one_line(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "absent", loop, tmp_path / ("x" * 5_000), Path("a\0b")):
        with pytest.raises(SourceError, match=r"^cannot read"):
            open_regular(path)


def test_a_file_is_not_read_past_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * 101)
    assert len(read_bytes(path, max_bytes=101)) == 101
    with pytest.raises(SourceError, match="more than 100 bytes"):
        read_bytes(path, max_bytes=100)


def test_a_packed_file_is_not_unpacked_past_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 10_000_000))
    with pytest.raises(SourceError, match="more than 1,000,000 bytes unpacked"):
        read_bytes(path, max_bytes=1_000_000, unpack=True)
    with pytest.raises(SourceError, match="line 1 has more than 1,000 bytes"):
        list(lines(path, max_bytes=1_000))


@pytest.mark.parametrize("keep", [5, 12, -6, -1])
def test_a_packed_file_that_is_cut_is_one_line(keep: int, tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps({"content": "abc" * 100}).encode())
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(whole[:keep])
    with pytest.raises(SourceError, match=r"rows\.jsonl\.gz"):
        list(lines(path))


@pytest.mark.parametrize("place", [0, 12, -6, -1])
def test_a_packed_file_with_a_flipped_bit_is_one_line(place: int, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(json.dumps({"content": "abc" * 100}).encode()))
    packed[place] ^= 0x40
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(packed)
    with pytest.raises(SourceError, match=r"rows\.jsonl\.gz"):
        list(lines(path))


def test_lines_are_numbered_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b"1\n\n  \r\n2")
    assert list(lines(path)) == [(1, b"1\n"), (4, b"2")]


def test_lines_in_utf16_say_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n', encoding="utf-16")
    with pytest.raises(SourceError, match="not in UTF-8"):
        list(lines(path))


@pytest.mark.parametrize(
    "text",
    ['[{"a": 1}, {"a": 2}]', '{"a": 1}\n\n{"a": 2}\n', '[\n {"a": 1},\n {"a": 2}\n]\n'],
)
def test_a_table_is_a_list_or_lines(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text(text, encoding=encoding)
        assert read_rows(path) == [{"a": 1}, {"a": 2}]


def test_a_cut_last_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    with pytest.raises(SourceError, match=r"rows\.jsonl line 2 is not valid JSON"):
        read_rows(path)
    path.write_text('{\n "a": 1}')
    assert read_rows(path) == [{"a": 1}]
