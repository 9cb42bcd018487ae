"""Reading JSON that others wrote, with bounds: the one place where it is parsed.

Input: a regular file, a line, or bytes already in memory. Output: plain Python values. Whatever is
wrong ends in one line that names the file and the place, in the caller's own class of error.

    read_object(path)    a settings file: one object, read strictly
    read_value(path)     the same for any value
    parse(data, where)   the same for bytes or text that were read already
    parse_lines(path)    the numbered rows of JSON Lines, one at a time
    parse_row(line, ..)  a row of somebody's table, read leniently
    lines(path)          the numbered lines of a file, plain or .gz, none longer than a bound
    read_rows(path)      the rows of a file that fits in memory: lines, one list, or one object
    read_decoded(path)   the text of such a file, of CSV too

Bounds: bytes, also unpacked; nesting (MAX_DEPTH); digits of a number (Python's own limit of 4,300).
Encodings: UTF-8, and UTF-16 and UTF-32 where a file is read whole; a byte-order mark is allowed.

    strict      a name given twice, NaN, infinities and half surrogate pairs are refused
    lenient     the last of two names counts, NaN and infinities stay floats (tests of benchmarks
                hold them), half a surrogate pair becomes U+FFFD

Not here: what the values mean (each reader checks types and ranges), and JSON of our own making
that is read back by the same stage or over a wire of our own.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from codling.core.errors import CodlingError, SourceError
from codling.core.foreign_files import open_regular

MAX_BYTES = 256_000_000
"""Of a settings file: the largest tokenizer.json known has 40 MB."""
MAX_LINE_BYTES = 128_000_000
MAX_TABLE_BYTES = 500_000_000
"""Of a table that is read whole, unpacked."""
MAX_DEPTH = 200
_PIECE = 1 << 20
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

ErrorClass = type[CodlingError]


def read_object(
    path: Path, error: ErrorClass = SourceError, *, cure: str = "fetch it again"
) -> dict[str, Any]:
    """The object in a settings file, read strictly; `error` says what is wrong with the file."""
    value = read_value(path, error, cure=cure)
    if not isinstance(value, dict):
        raise error(f"{path} holds no JSON object; {cure}")
    return value


def read_value(path: Path, error: ErrorClass = SourceError, *, cure: str = "fetch it again") -> Any:  # noqa: ANN401 -- JSON
    """The value in a settings file, read strictly."""
    return parse(read_bytes(path, error), str(path), error, cure=cure)


def parse(
    data: bytes | bytearray | str,
    where: str,
    error: ErrorClass = SourceError,
    *,
    cure: str = "fetch it again",
) -> Any:  # noqa: ANN401 -- JSON
    """The value that `data` holds, read strictly; `where` names it in errors.

    >>> parse('{"a": [1, 2.5]}', "config.json")
    {'a': [1, 2.5]}
    """
    try:
        return _with_whole_stack(_parse_strictly, _text(data))
    except (ValueError, RecursionError) as wrong:
        raise error(f"{where} is not valid JSON ({_reason(wrong)}); {cure}") from None


def parse_row(
    line: bytes | str,
    where: str,
    error: ErrorClass = SourceError,
    *,
    cure: str = "correct or remove it",
) -> Any:  # noqa: ANN401 -- JSON
    """The value of a row, read leniently; `where` names file and line in errors.

    >>> parse_row(b'{"a": 1, "a": NaN}', "rows.jsonl line 3")
    {'a': nan}
    """
    try:
        return _with_whole_stack(_parse_leniently, _text(line).strip())
    except (ValueError, RecursionError) as wrong:
        raise error(f"{where} is not valid JSON ({_reason(wrong)}); {cure}") from None


def parse_lines(
    path: Path,
    error: ErrorClass = SourceError,
    *,
    decode: Callable[[bytes], str | None] | None = None,
    instead: Callable[[CodlingError], Any] | None = None,
) -> Iterator[tuple[int, Any]]:
    """The rows of JSON Lines with their numbers, one in memory at a time, read leniently.

    `decode` turns a line into text where it may be in another encoding than UTF-8. `instead` gives
    what takes the place of a line that is no JSON; without it such a line is an error.
    """
    for number, line in lines(path, error):
        text = decode(line) if decode else None
        try:
            row = parse_row(text or line, f"{path} line {number}", error)
        except error as wrong:
            if instead is None:
                raise
            row = instead(wrong)
        yield number, row


def lines(
    path: Path, error: ErrorClass = SourceError, *, max_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers from 1; a .gz is unpacked.

    A line of more than `max_bytes`, unpacked, is an error, met before it fills the memory.
    """
    with open_regular(path, error) as plain:
        file = gzip.GzipFile(fileobj=plain) if _is_packed(path, plain) else plain
        number = 0
        try:
            while line := file.readline(max_bytes + 1):
                number += 1
                if len(line) > max_bytes:
                    raise error(f"{path} line {number} has more than {max_bytes:,} bytes")
                if number == 1:
                    _refuse_wide(line, path, error)
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error) as wrong:
            raise error(f"{path} is damaged after line {number}: {_reason(wrong)}") from None


def read_rows(path: Path, error: ErrorClass = SourceError) -> list[Any]:
    """The rows of a table that fits in memory, read leniently, plain or .gz.

    The file holds one list of rows, one value, or a value per line.
    """
    text = read_decoded(path, error)
    try:
        if (whole := _parse_as_one(text)) is not None:
            return whole
    except ValueError as wrong:
        raise error(f"{path} is not valid JSON ({_reason(wrong)}); fetch it again") from None
    numbered = enumerate(text.split("\n"), 1)
    return [parse_row(row, f"{path} line {n}", error) for n, row in numbered if row.strip()]


def read_decoded(path: Path, error: ErrorClass = SourceError) -> str:
    """The text of a table that fits in memory, with its own line ends, plain or .gz, in UTF-8,
    UTF-16 or UTF-32."""
    data = read_bytes(path, error, max_bytes=MAX_TABLE_BYTES, unpack=True)
    try:
        return _text(data)
    except ValueError as wrong:
        raise error(f"{path} is not text ({_reason(wrong)}); save it as UTF-8") from None


def read_bytes(
    path: Path, error: ErrorClass = SourceError, *, max_bytes: int = MAX_BYTES, unpack: bool = False
) -> bytes:
    """The bytes of a regular file, with `unpack` what a .gz holds; never more than `max_bytes`."""
    found = bytearray()
    with open_regular(path, error) as plain:
        unpack = unpack and _is_packed(path, plain)
        file = gzip.GzipFile(fileobj=plain) if unpack else plain
        try:
            while piece := file.read(min(_PIECE, max_bytes + 1 - len(found))):
                found += piece
        except (EOFError, gzip.BadGzipFile, zlib.error) as wrong:
            raise error(f"{path} is damaged: {_reason(wrong)}") from None
    if len(found) > max_bytes:
        raise error(f"{path} has more than {max_bytes:,} bytes{' unpacked' if unpack else ''}")
    return bytes(found)


def _is_packed(path: Path, file: IO[bytes]) -> bool:
    """Whether a file just opened is a .gz, by its name or, since names get lost, by its start."""
    start = file.read(2)
    file.seek(0)
    return path.suffix == ".gz" or start == b"\x1f\x8b"


def _parse_strictly(text: str) -> Any:  # noqa: ANN401 -- JSON
    value = json.loads(
        text,
        object_pairs_hook=_refuse_duplicates,
        parse_constant=_refuse_constant,
        parse_float=_parse_finite,
    )
    return _check_value(text, value, replace=False)


def _parse_leniently(text: str) -> Any:  # noqa: ANN401 -- JSON
    return _check_value(text, json.loads(text), replace=True)


def _with_whole_stack(parser: Callable[[str], Any], text: str) -> Any:  # noqa: ANN401 -- JSON
    """What `parser` makes of a text, however deep the stack of its caller is.

    Python's limit of recursion counts the caller's frames too. A thread has a stack of its own, in
    which MAX_DEPTH levels always fit: what is too deep there is too deep.
    """
    try:
        return parser(text)
    except RecursionError:
        with ThreadPoolExecutor(1) as other_stack:
            return other_stack.submit(parser, text).result()


def _text(data: bytes | bytearray | str) -> str:
    """Text without a byte-order mark; ValueError if the bytes are not text."""
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    return data.decode(json.detect_encoding(data)).removeprefix("\ufeff")


def _parse_as_one(text: str) -> list[Any] | None:
    """The rows of a text that is one JSON value, or None if it is not one."""
    # The first line alone tells lines of JSON from one value without parsing a long text twice.
    first, _, rest = text.strip().partition("\n")
    try:
        value = _with_whole_stack(json.loads, first)
        if rest:
            return None
    except (ValueError, RecursionError):
        try:
            value = _with_whole_stack(json.loads, text) if rest else None
        except (ValueError, RecursionError):
            value = None
    if value is None:
        return None
    value = _check_value(text, value, replace=True)
    return value if isinstance(value, list) else [value]


def _check_value(text: str, value: Any, *, replace: bool) -> Any:  # noqa: ANN401 -- JSON
    """`value` if its nesting is bounded and its text is Unicode; ValueError says what is wrong."""
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return _make_unicode(value, replace=replace) if _may_hold_surrogates(text) else value


def _may_hold_surrogates(text: str) -> bool:
    # Two constant texts are found ten times as fast as the pattern, which few rows need.
    if ("\\ud" in text or "\\uD" in text) and _ESCAPED_SURROGATE.search(text):
        return True
    try:
        return not text.isascii() and not text.encode()
    except UnicodeEncodeError:
        return True


def _is_deeper(value: object, limit: int) -> bool:
    """Whether lists and objects lie more than `limit` deep, level by level."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        if not level:
            return False
        parts = (v.values() if isinstance(v, dict) else v for v in level)
        level = [each for part in parts for each in part if isinstance(each, (dict, list))]
    return bool(level)


def _make_unicode(value: Any, *, replace: bool) -> Any:  # noqa: ANN401 -- JSON
    """`value` with every half of a surrogate pair replaced, or ValueError."""
    if isinstance(value, str):
        if not (found := _SURROGATE.search(value)):
            return value
        if not replace:
            raise ValueError(f"half a surrogate pair, U+{ord(found[0]):04X}")
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {
            _make_unicode(k, replace=replace): _make_unicode(v, replace=replace)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_make_unicode(each, replace=replace) for each in value]
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice[:60]!r} appears twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if number - number != 0:
        raise ValueError(f"the number {digits[:30]} is too large")
    return number


def _refuse_wide(line: bytes, path: Path, error: ErrorClass) -> None:
    if not json.detect_encoding(line).startswith("utf-8"):
        raise error(f"{path} is not in UTF-8; save it as UTF-8")


def _reason(wrong: BaseException) -> str:
    """The reason on one short line."""
    if isinstance(wrong, RecursionError):
        return f"nested more than {MAX_DEPTH} deep"
    if isinstance(wrong, json.JSONDecodeError):
        line = f"line {wrong.lineno} " if "\n" in wrong.doc else ""
        return f"{wrong.msg} at {line}column {wrong.colno}"
    if isinstance(wrong, OSError) and wrong.strerror:
        return wrong.strerror
    return " ".join(str(wrong).split())[:160]
