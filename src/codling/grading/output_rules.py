"""EvalPlus's comparison of outputs: the reference's on many inputs against the answer's.

Input: two Python sources and argument lists. Output: nothing, or an AssertionError that names the
first wrong output. This file's text is run inside the sandbox (isolated_tests.rules_source), so it
imports nothing of codling but plain_output.py.

The answer runs in a process of its own, which never holds the reference or its outputs and sends
back plain data, so that neither reading frames nor objects with an `__eq__` of their own help it.
Rules as in EvalPlus 0.3.1 (arXiv:2305.01210), with two differences: nested outputs must have the
same shape where numpy would broadcast, and a zero of a polynomial is checked on the arguments
as they were given.

Not here: the data and the sandboxed program (tasks/).
"""

import copy
import io
import marshal
import math
import numbers
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

from codling.grading.plain_output import Output, Value, output, restore_types

AS_SETS = ("similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly",
           "larg_nnum", "intersection_array", "find_dissimilar", "Diff")  # fmt: skip
"""Functions of MBPP+ whose outputs are compared as sets."""
_ENDED: Output = {"error": "the answer's process ended"}
FOUND_OR_NOT = ("check_str", "text_match_three", "text_starta_endb")
"""Functions of MBPP+ whose outputs only count as None or not None."""


def judge_outputs(  # noqa: PLR0913 - what a program hands over
    source: str,
    reference: str,
    answer: str,
    name: str,
    input_lists: list[list[list[Any]]],
    dataset: str,
    atol: float,
) -> None:
    """Run both on each list of argument lists and compare; AssertionError at the first that is
    wrong.

    `source` is this file's text, which the answer's process runs; `dataset` is "mbpp" or
    "humaneval"; every list of `input_lists` begins again with the tolerance `atol`.
    """
    as_sets = dataset == "mbpp" and name in AS_SETS
    inputs = [arguments for some in input_lists for arguments in some]
    said = _outputs_of(_start_answer(source, (answer, name, inputs, as_sets)))
    function = _function(reference, "reference", name)
    at = 0
    for some in input_lists:
        tolerance = atol
        for arguments in some:
            wanted = output(function(*copy.deepcopy(arguments)), as_sets)
            got = next(said, _ENDED)
            good, tolerance = is_right(dataset, name, arguments, wanted, got, tolerance)
            assert good, f"input {at}: expected {_shorten(wanted)}, got {_shorten(got)}"
            at += 1


def call_answer(source: str, answer: str, name: str) -> str:
    """What the answer's function `name` returns without arguments, as a text; AssertionError with
    its failure if it does not return one."""
    found = next(_outputs_of(_start_answer(source, (answer, name, [[]], False))), _ENDED)
    assert isinstance(found.get("value"), str), _shorten(found)
    return str(found["value"])


def _shorten(said: Output) -> str:
    try:
        return str(said.get("error") or str(said["value"])[:80])
    except ValueError:  # an integer of too many digits
        return "a huge number"


def is_right(  # noqa: PLR0913 - the shape of EvalPlus's loop
    dataset: str,
    name: str,
    arguments: list[Any],
    wanted: Output,
    said: Output,
    tolerance: float,
) -> tuple[bool, float]:
    """Whether the output `said` counts as `wanted`, and the tolerance from here on: a reference
    that gives floats sets it for what follows, too.

    >>> is_right("mbpp", "f", [], output(0.3), output(0.1 + 0.2), 0)
    (True, 1e-06)
    >>> is_right("mbpp", "f", [], output([1, 2]), output([2, 1]), 0)
    (False, 0)
    """
    if "error" in said:
        return False, tolerance
    if dataset == "humaneval" and name == "find_zero":
        return _is_zero(arguments[0], said, tolerance), tolerance
    good = _by_own_rule(dataset, name, arguments, wanted, said, tolerance)
    if tolerance == 0 and _floats(wanted["value"]):
        tolerance = 1e-6
    if not good and tolerance:
        good = wanted["kind"] == said["kind"] and _close(said["value"], wanted["value"], tolerance)
    return good, tolerance


def _by_own_rule(  # noqa: PLR0913 - one return per rule
    dataset: str,
    name: str,
    arguments: list[Any],
    wanted: Output,
    said: Output,
    tolerance: float,
) -> bool:
    """Equality, or what else counts for a function that EvalPlus treats by name."""
    value, target = said["value"], wanted["value"]
    if dataset != "mbpp":
        return bool(value == target)
    if name in FOUND_OR_NOT:
        found = wanted["kind"] != "NoneType"
        return bool(
            value == found if said["kind"] == "bool" else found == (said["kind"] != "NoneType")
        )
    if name == "are_equivalent":
        return True
    if name == "sum_div":
        return bool(value == target or value == 0)
    if name == "surface_Area":
        near = _number(value) and abs(value - _surface(*arguments)) <= tolerance
        return bool(near or value == target)
    if name == "digit_distance_nums":
        return bool(value == target or value == _digit_distance(*arguments))
    return bool(value == target)


def _is_zero(coefficients: list[float], said: Output, tolerance: float) -> bool:
    """HumanEval/32 has many right answers: any zero of the polynomial."""
    x = said["value"]
    if isinstance(x, complex) or not _number(x):
        return False
    try:
        value: float = sum(c * math.pow(x, i) for i, c in enumerate(coefficients))
    except (OverflowError, ValueError):
        return False
    return abs(value) <= tolerance


def _surface(base: float, height: float) -> int:
    """The surface of a pyramid whose height stands on its base (MBPP/581, second reading)."""
    return round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))


def _digit_distance(one: int, two: int) -> int:
    """The sum of differences of digits, both padded to one length (MBPP/558, second reading)."""
    width = max(len(str(one)), len(str(two)))
    pairs = zip(str(one).zfill(width), str(two).zfill(width))  # noqa: B905 - equal by padding
    return sum(abs(int(a) - int(b)) for a, b in pairs)


def _number(x: Value) -> bool:
    return isinstance(x, numbers.Number)


def _floats(x: Value) -> bool:
    if isinstance(x, (list, tuple)) and x:
        return all(isinstance(item, float) for item in x)
    return isinstance(x, float)


def _close(got: Value, wanted: Value, atol: float) -> bool:
    """numpy.allclose with rtol 1e-7, for numbers in lists and tuples of one shape."""
    if isinstance(wanted, (list, tuple)):
        same = isinstance(got, (list, tuple)) and len(got) == len(wanted)
        return same and all(_close(a, b, atol) for a, b in zip(got, wanted))  # noqa: B905
    if not _number(got) or not _number(wanted):
        return False
    try:
        return got == wanted or bool(abs(got - wanted) <= atol + 1e-7 * abs(wanted) < math.inf)
    except OverflowError:
        return False


def _function(code: str, module: str, name: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {"__name__": module}
    exec(compile(code, f"{module}.py", "exec"), scope)
    function: Callable[..., Any] = scope[name]
    return function


def _start_answer(source: str, told: tuple[Value, ...]) -> subprocess.Popen[bytes]:
    """A new interpreter that gets only what the answer needs, and works while the reference
    does."""
    start = f"import sys; sys.path[:] = {sys.path!r}; exec({source!r}); _serve()"
    argv = [sys.executable, "-P", "-s", "-S", "-c", start]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    try:
        process.stdin.write(marshal.dumps(told))
        process.stdin.close()
    except BrokenPipeError:  # it has ended already, and has written nothing
        pass
    return process


def _outputs_of(process: subprocess.Popen[bytes]) -> Iterator[Output]:
    """The outputs of the answer's process one by one, as soon as it has them: some are so large
    that two of them fill the memory. The process ends with the last that is asked for."""
    assert process.stdout is not None
    try:
        while len(size := process.stdout.read(8)) == 8:
            try:
                row = marshal.loads(_read(process.stdout, int.from_bytes(size, "big")))
                row = {k: restore_types(row[k]) for k in ("kind", "value", "error") if k in row}
            except (EOFError, ValueError, TypeError, KeyError, ZeroDivisionError):
                row = {}
            yield row if "error" in row or len(row) == 2 else {"error": "no output"}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _read(stream: IO[bytes], size: int) -> bytearray:
    """Up to `size` bytes; no memory is taken for what the other side only claims to send."""
    said = bytearray()
    while size > 0 and (part := stream.read(min(size, 1 << 20))):
        said += part
        size -= len(part)
    return said


def _serve() -> None:
    """The answer's process: one row of plain data per input, written to what was stdout."""
    answer, name, inputs, as_sets = marshal.loads(sys.stdin.buffer.read())
    sys.set_int_max_str_digits(100_000)
    pipe = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(null, "w"), encoding="utf-8")
    kept = {"dumps": marshal.dumps, "write": os.write, "view": memoryview}
    try:
        function = _function(answer, "answer", name)
        for arguments in inputs:
            _send(pipe, kept, partial(_output_of, function, arguments, as_sets))
    except BaseException as error:  # noqa: BLE001 - a program may raise anything
        failure = f"{type(error).__name__}: {str(error)[:200]}"
        _send(pipe, kept, lambda: {"error": failure})


def _output_of(function: Callable[..., Any], arguments: list[Any], as_sets: bool) -> Output:
    return output(function(*arguments), as_sets)


def _send(pipe: int, kept: dict[str, Any], make: Callable[[], Output]) -> None:
    try:
        data = kept["dumps"](make())
    except BaseException as error:  # noqa: BLE001 - a program may raise anything
        data = kept["dumps"]({"error": f"{type(error).__name__}: {str(error)[:200]}"})
    for part in (len(data).to_bytes(8, "big"), data):
        rest = kept["view"](part)
        while rest:
            rest = rest[kept["write"](pipe, rest) :]
