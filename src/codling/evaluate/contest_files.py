"""The published forms of contest problems' tests.

Input: rows of LiveCodeBench (tests as JSON, or packed) and of APPS. Output: pairs of input and
expected output. The packed form is a pickle of one text: it is read by a reader that knows no
classes, so nothing in it can be run.

Not here: running answers (contest.py).
"""

import ast
import base64
import binascii
import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_row
from codling.evaluate.contest import as_lines

_TEXT = re.compile(r"->\s*str\b")
_MOST = 400_000_000
"""Bytes of one problem's tests, unpacked, at most."""


def published_cases(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cases of a row of LiveCodeBench, and the function that they call."""
    where = f"LiveCodeBench {row.get('question_id')}"
    tests = [
        *_tests(row.get("public_test_cases"), where),
        *_tests(row.get("private_test_cases"), where),
    ]
    found: dict[str, Any] = {"cases": [(test["input"], test["output"]) for test in tests]}
    meta = row.get("metadata")
    meta = parse_row(meta, where) if isinstance(meta, str) and meta else meta or {}
    return found | ({"function": meta["func_name"]} if meta.get("func_name") else {})


def revealed_case(stdin: str, expected: str, starter_code: str) -> tuple[str, str] | None:
    """A case that published results reveal, as `published_cases` has it. Those of functions show
    the arguments as a Python list and the result as Python prints it; None if they cannot be read
    (infinity).

    >>> revealed_case("['ab', 2]", "True", "def f(self, s: str, n: int) -> bool:")
    ('"ab"\\n2', 'true')
    >>> revealed_case("['7']", "6", "def f(self, s: str) -> str:")
    ('"7"', '"6"')
    >>> revealed_case("1 2\\n", "3", "")
    ('1 2\\n', '3')
    """
    if not starter_code:
        return stdin, expected
    try:
        arguments = ast.literal_eval(stdin)
        result = expected if _TEXT.search(starter_code) else ast.literal_eval(expected)
    except (ValueError, SyntaxError):
        return None
    return as_lines(arguments), json.dumps(result)


def method_name(starter_code: str) -> str:
    """The last function that starter code defines.

    >>> method_name("class Solution:\\n    def twoSum(self, nums):\\n        ")
    'twoSum'
    """
    names = re.findall(r"def\s+(\w+)\s*\(", starter_code)
    if not names:
        raise SourceError(f"starter code defines no function: {starter_code[:60]!r}")
    return str(names[-1])


def _tests(value: object, where: str) -> list[dict[str, str]]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        text = value if value.lstrip().startswith("[") else _unpack(value, where)
        value = parse_row(text, where)
    if not isinstance(value, list):
        raise SourceError(f"{where} has tests that are no list")
    return value


class _Plain(pickle.Unpickler):
    """Reads texts and refuses everything else that a pickle may name."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - of the class above
        raise pickle.UnpicklingError(f"{module}.{name} is no text")


def _unpack(text: str, where: str) -> str:
    try:
        reader = zlib.decompressobj()
        data = reader.decompress(base64.b64decode(text, validate=True), _MOST)
        value = _Plain(io.BytesIO(data)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise SourceError(f"{where} has tests that cannot be unpacked ({error})") from None
    if not isinstance(value, str):
        raise SourceError(f"{where} has packed tests that are no text")
    return value
