"""EvalPlus's rules: for every problem that it compares in a way of its own, what passes and what
does not; and answers that try to pass without being right."""

import marshal
import shutil
from fractions import Fraction

import pytest

from codling.evaluate.tasks.evalplus_checks import program
from codling.grading import output_rules
from codling.grading.isolated_tests import isolate_tests
from codling.grading.output_rules import is_right, output
from codling.sandbox.executor import Executor, Program


def counts(name, arguments, wanted, said, atol=0, dataset="mbpp"):
    as_sets = dataset == "mbpp" and name in output_rules.AS_SETS
    sides = output(wanted, as_sets), output(said, as_sets)
    return is_right(dataset, name, arguments, *sides, atol)[0]


SETS = [(name, [[1, 2], [2, 3]], (1, 2)) for name in output_rules.AS_SETS]
FOUND = [(name, ["ab"], True) for name in output_rules.FOUND_OR_NOT]


@pytest.mark.parametrize(("name", "arguments", "wanted"), SETS)
def test_outputs_compared_as_sets_may_have_any_order_but_no_other_members(name, arguments, wanted):
    assert counts(name, arguments, wanted, [2, 1, 1])
    assert counts(name, arguments, wanted, iter((2, 1)))
    for wrong in ([1], [1, 2, 3], [], "nonsense", [1, "2"], [(1, 2)]):
        assert not counts(name, arguments, wanted, wrong), wrong


@pytest.mark.parametrize(("name", "arguments", "wanted"), FOUND)
def test_of_a_match_only_counts_whether_there_is_one(name, arguments, wanted):
    assert counts(name, arguments, wanted, "a match")
    assert counts(name, arguments, None, None)
    assert counts(name, arguments, None, False)
    assert not counts(name, arguments, wanted, False)
    assert not counts(name, arguments, wanted, None)
    assert not counts(name, arguments, None, True)
    assert not counts(name, arguments, None, "nonsense")


@pytest.mark.parametrize(
    ("name", "arguments", "wanted", "good", "wrong"),
    [
        ("are_equivalent", [36, 57], False, [True, False, None], []),
        ("sum_div", [8], 7, [7, 0], [8, 1, None, "7", "nonsense"]),
        ("surface_Area", [3, 4], 33, [33, 35, 35.0], [34, 0, None, "35", [33]]),
        ("digit_distance_nums", [123, 25], 17, [17, 3], [5, 0, None, "3", [3]]),
        ("anything", [1], 17, [17, 17.0], [16, "17", None, [17], (17,)]),
        ("anything", [1], [1, 2], [[1, 2]], [(1, 2), [2, 1], {1, 2}, "12"]),
        ("anything", [1], {"a": [1]}, [{"a": [1]}], [{}, {"a": (1,)}, ["a"]]),
        ("anything", [1], True, [True, 1], [False, 2, "True", None]),
    ],
)
def test_other_readings_of_a_question_count_and_nothing_else(name, arguments, wanted, good, wrong):
    assert [x for x in good if not counts(name, arguments, wanted, x)] == []
    assert [x for x in wrong if counts(name, arguments, wanted, x)] == []


def test_any_zero_of_the_polynomial_is_right_and_nothing_else():
    cubic = [[-6, 11, -6, 1]]  # (x - 1)(x - 2)(x - 3)
    given = {"atol": 1e-4, "dataset": "humaneval"}
    assert all(counts("find_zero", cubic, 1.0, x, **given) for x in (1.0, 2, 3.0 + 1e-6))
    wrongs = (0.0, 4, None, "1.0", [1.0], 1 + 0j, float("nan"), float("inf"), "nonsense")
    assert not any(counts("find_zero", cubic, 1.0, x, **given) for x in wrongs)


@pytest.mark.parametrize(
    ("wanted", "said", "passes"),
    [
        (0.3, 0.1 + 0.2, True),
        (0.3, 0.30001, False),
        (1.0, 1, True),  # equal, so the type is never asked for
        (2.0000001, 2, False),  # near, but of another type
        ([0.3, 1.0], [0.1 + 0.2, 1.0], True),
        ([0.3, 1.0], (0.1 + 0.2, 1.0), False),
        ([0.3, 1.0], [0.1 + 0.2], False),
        ([0.3], [[0.1 + 0.2]], False),
        ([[0.3]], [[0.1 + 0.2]], False),  # only one level of floats sets the tolerance
        (float("nan"), float("nan"), False),
        (float("inf"), float("inf"), True),
        (float("inf"), 1e308, False),
        (0.3, "0.3", False),
    ],
)
def test_floats_are_compared_within_a_millionth(wanted, said, passes):
    assert counts("anything", [1], wanted, said) is passes


def test_a_float_reference_sets_the_tolerance_for_the_inputs_after_it():
    _, tolerance = is_right("mbpp", "f", [], output(0.5), output(0.5), 0)
    assert tolerance == 1e-6
    wanted, said = output([[0.3]]), output([[0.1 + 0.2]])
    assert is_right("mbpp", "f", [], wanted, said, tolerance) == (True, 1e-6)


def test_a_tolerance_of_the_data_reaches_into_nested_lists():
    assert counts("f", [], [[1.0, 2.0]], [[1.00005, 2.0]], atol=1e-4)
    assert not counts("f", [], [[1.0, 2.0]], [[1.0]], atol=1e-4)
    assert not counts("f", [], [["a"]], [["b"]], atol=1e-4)


DATA = {
    "entry_point": "twice",
    "base_input": [[1], [2]],
    "plus_input": [[[1.5, "a"]], [True]],
    "atol": 0,
}
TWICE = "def twice(x):\n    return x * 2\n"
CHEATS = {
    "empty": "",
    "nothing": "def twice(x):\n    return None\n",
    "a constant": "def twice(x):\n    return 2\n",
    "equal to everything": "class E:\n    def __eq__(self, other): return True\n"
    "    def __hash__(self): return 1\n\ndef twice(x):\n    return E()\n",
    "a list that is equal to everything": "class E(list):\n"
    "    def __eq__(self, other): return True\n\ndef twice(x):\n    return E()\n",
    "an int that is equal to everything": "class E(int):\n"
    "    def __eq__(self, other): return True\n\ndef twice(x):\n    return E(7)\n",
    "its type is equal to everything": "class M(type):\n"
    "    def __eq__(cls, other): return True\n    def __hash__(cls): return 1\n"
    "class E(metaclass=M):\n    pass\n\ndef twice(x):\n    return E()\n",
    "reads the caller": "import sys\n\ndef twice(x):\n    frame = sys._getframe(1)\n"
    "    while frame:\n        for k in ('expected', 'wanted', 'reference', 'function'):\n"
    "            v = frame.f_locals.get(k) or frame.f_globals.get(k)\n"
    "            if callable(v) and v is not twice: return v(x)\n        frame = frame.f_back\n",
    "leaves early": "import os\n\ndef twice(x):\n    os._exit(0)\n",
    "leaves at once": "import sys\nsys.exit(0)\n",
    "replaces what is used": "import builtins, marshal, os, json, copy\n"
    "builtins.isinstance = lambda *a: True\nbuiltins.all = lambda *a: True\n"
    "copy.deepcopy = marshal.dumps = json.loads = lambda *a: None\n"
    "def twice(x):\n    return None\n",
    "writes rows of its own": "import os, marshal\n"
    "row = marshal.dumps({'kind': 'int', 'value': 2})\n"
    "for fd in range(3, 20):\n    try: os.write(fd, (len(row).to_bytes(8, 'big') + row) * 4)\n"
    "    except OSError: pass\nos._exit(0)\n",
    "catches the assertions": "import sys\nsys.excepthook = lambda *a: None\n"
    "AssertionError = Exception\n\ndef twice(x):\n    raise SystemExit(0)\n",
    "right once": "def twice(x, seen=[]):\n    seen.append(x)\n    return x * 2 if len(seen) < 4"
    " else 0\n",
    "exhausts": "def twice(x):\n    return (y for y in [x])\n",
    "claims a fraction": "def twice(x):\n    return (..., 0, 0)\n",
}


@pytest.fixture(scope="module")
def executor():
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Executor(1) as made:
        yield made


def judged(executor, answer):
    source = program(DATA, answer, TWICE, "mbpp")
    return executor.run(Program(language="python", source=source, seconds=60.0))


def test_a_right_answer_passes_whatever_it_prints(executor):
    answer = "print('ready' * 10)\n\n\ndef twice(x):\n    print(x)\n    return x + x\n"
    assert judged(executor, answer).status == "passed"


@pytest.mark.parametrize("kind", CHEATS)
def test_an_answer_that_is_not_right_fails(executor, kind):
    assert judged(executor, CHEATS[kind]).status not in ("passed", "lost"), kind


def test_the_first_wrong_output_is_named(executor):
    said = judged(executor, "def twice(x):\n    return x + 1\n").detail
    assert said == "AssertionError: input 1: expected 4, got 3"


def test_numbers_that_say_they_are_whole_arrive_as_python_s_own():
    numpy = pytest.importorskip("numpy")
    plain = output([numpy.int64(5), Fraction(1, 2)])["value"]
    assert marshal.loads(marshal.dumps(plain)) == [(..., 5, 1), (..., 1, 2)]
    assert {type(part) for row in plain for part in row[1:]} == {int}

    class Claims:
        __module__ = "decimal"

        def as_integer_ratio(self):
            return self, self

    assert "no plain data" in output(Claims())["value"]


def test_a_program_whose_tests_stand_apart_carries_no_more_than_it_needs() -> None:
    program = isolate_tests("def f():\n    return 1\n", "def check(f):\n    assert f() == 1\n", "f")
    assert len(program) < 5000  # each of its lines is compiled again for every answer
    assert "subprocess" not in program
    exec(program, {"__name__": "__main__"})
