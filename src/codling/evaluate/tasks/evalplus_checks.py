"""EvalPlus's comparison of outputs, as a program: the reference's outputs on many inputs against
the answer's.

Input: the reference solution, the answer, inputs. Output: the source of a program that passes if
all outputs agree: exactly, or within `atol` for floats, as sets where EvalPlus compares sets.
Both run in the same sandboxed program, the reference first, on deep copies.

Not here: the data (humaneval_plus.py, mbpp_plus.py). Source: arXiv:2305.01210.
"""

import json
from collections.abc import Mapping
from typing import Any

_CHECK = """
def same(expected, got, atol=ATOL):
    import math, numbers
    def floats(x):
        return isinstance(x, float) or isinstance(x, (list, tuple)) and x and all(map(floats, x))
    def close(a, b):
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(map(close, a, b))
        if not isinstance(a, numbers.Number) or not isinstance(b, numbers.Number):
            return a == b
        return a == b or a != a and b != b or abs(a - b) <= tolerance + 1e-7 * abs(b)
    if expected == got:
        return True
    tolerance = atol or (1e-6 if floats(expected) else 0)
    return bool(tolerance) and type(expected) == type(got) and close(got, expected)

def _codling_check(reference, answer, inputs, compare):
    import copy
    for number, arguments in enumerate(inputs):
        expected = reference(*copy.deepcopy(arguments))
        got = answer(*copy.deepcopy(arguments))
        good = compare(arguments, expected, got)
        assert good, f"input {number}: expected {str(expected)[:80]}, got {str(got)[:80]}"
"""


def program(
    data: Mapping[str, Any],
    answer: str,
    reference: str,
    *,
    compare: str = "None",
    prepare: str = "",
) -> str:
    """The program's source.

    `compare` is an expression for a function (arguments, expected, got) -> bool; `prepare` is
    code run before it, where `inputs` (a list of argument lists) may be changed.
    """
    name = data["entry_point"]
    inputs = json.dumps([*data["base_input"], *(data["plus_input"] or [])])
    return f"""
import json as _json, sys as _sys
_sys.set_int_max_str_digits(100000) if hasattr(_sys, "set_int_max_str_digits") else None
inputs = _json.loads({inputs!r})
{prepare}
def _reference():
    scope = {{"__name__": "reference"}}
    exec({reference!r}, scope)
    return scope[{name!r}], scope
def _answer():
    scope = {{"__name__": "answer"}}
    exec({answer!r}, scope)
    return scope[{name!r}]
{_CHECK.replace("ATOL", repr(data["atol"] or 0))}
reference, _scope = _reference()
_compare = {compare} or (lambda arguments, expected, got: same(expected, got))
_codling_check(reference, _answer(), inputs, _compare)
"""
