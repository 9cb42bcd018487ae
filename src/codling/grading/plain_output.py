"""What a function returned, as plain data: no object of an answer's own class reaches the tests.

Input: any value. Output: numbers, texts, lists, tuples, sets and dicts, none of a subclass. This
file's text is run inside the sandbox, for each program again, so it is short and imports nothing of
codling.

Not here: comparing outputs (output_rules.py).
"""

import numbers
import operator
from collections.abc import Callable
from typing import Any

Value = Any
"""Whatever a program returns."""
Output = dict[str, Value]
"""A "kind" (the name of the type) and a "value", or an "error"."""

_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_HOLDERS = (list, tuple)


def output(value: Value, as_sets: bool = False) -> Output:
    """A function's output as plain data: its value, and the name of its type.

    What is neither plain data nor a subclass of it becomes a value that equals nothing.
    """
    if as_sets:
        value = set(value)
    try:
        return {"kind": type(value).__name__, "value": _make_plain(value)}
    except (TypeError, RecursionError) as error:
        return {"kind": type(value).__name__, "value": ("no plain data", ..., str(error))}


def guard(function: Callable[..., Value]) -> Callable[..., Value]:
    """The function with outputs made plain data, so that tests compare what is there and not what
    an object of the answer's claims."""

    def call_plainly(*arguments: Value, **named: Value) -> Value:
        return restore_types(output(function(*arguments, **named))["value"])

    return call_plainly


def _make_plain(x: Value) -> Value:
    if x is None or isinstance(x, (bool, bytes)):
        return x
    scalars: tuple[Any, ...] = (int, float, complex, str)
    for kind in scalars:
        if isinstance(x, kind):
            return x if type(x) is kind else kind.__add__(x, kind())
    if isinstance(x, (list, tuple)) and type(x) in _HOLDERS and _SCALARS.issuperset(map(type, x)):
        return x
    holders: tuple[Any, ...] = (list, tuple, set, frozenset)
    for kind in holders:
        if isinstance(x, kind):
            return kind([_make_plain(item) for item in kind.__iter__(x)])
    if isinstance(x, dict):
        return {_make_plain(key): _make_plain(value) for key, value in dict.items(x)}
    return _plain_number(x)


def _plain_number(x: Value) -> Value:
    if isinstance(x, numbers.Rational):
        return (..., _plain_int(x.numerator), _plain_int(x.denominator))
    if type(x).__module__ == "decimal":
        over, under = x.as_integer_ratio()
        return (..., _plain_int(over), _plain_int(under))
    if type(x).__module__ == "numpy" and getattr(x, "shape", None) == ():
        return _make_plain(x.item())
    raise TypeError(f"{type(x).__name__} is not plain data")


def _plain_int(x: Value) -> int:
    """A plain int from anything that is an integer (numpy's are)."""
    return int.__add__(operator.index(x), 0)


def restore_types(x: Value) -> Value:
    """Plain data with the fractions restored that marshal cannot store."""
    if isinstance(x, (list, tuple)) and not _SCALARS.issuperset(map(type, x)):
        if len(x) == 3 and x[0] is ...:
            from fractions import Fraction

            return Fraction(x[1], x[2])
        return type(x)(restore_types(item) for item in x)
    return x
