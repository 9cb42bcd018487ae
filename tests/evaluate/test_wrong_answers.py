"""Wrong and cheating answers of every benchmark fail: a table with small data of their own."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import ToolMissingError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Problem, Verdict
from codling.evaluate.tasks import TASKS, find_task
from codling.sandbox.executor import Executor
from codling.sandbox.interpreter import Interpreter

TWICE = "def twice(x):\n    return x * 2\n"
WRONG = {
    "empty": "",
    "another name": "def double(x):\n    return x * 2\n",
    "nothing": "def twice(x):\n    return None\n",
    "a constant": "def twice(x):\n    return 4\n",
    "as text": "def twice(x):\n    return str(x * 2)\n",
    "prints it": "def twice(x):\n    print(x * 2)\nprint(4)\nprint(6)\n",
    "endless": "def twice(x):\n    while True: pass\n",
    "leaves with 0": "import os\nos._exit(0)\n",
    "leaves with 0 when called": "import os\n\ndef twice(x):\n    os._exit(0)\n",
    "asks to leave": "def twice(x):\n    raise SystemExit(0)\n",
    "leaves at the end": "import atexit, os\natexit.register(os._exit, 0)\n"
    "def twice(x):\n    return 0\n",
    "kills itself": "import os\n\ndef twice(x):\n    os.kill(os.getpid(), 9)\n",
    "replaces the checker": "def check(candidate):\n    pass\n\ndef twice(x):\n    return 0\n",
    "no errors shown": "import sys\nsys.excepthook = lambda *a: None\nAssertionError = None\n"
    "def twice(x):\n    return 0\n",
    "other errors": "import builtins\nbuiltins.AssertionError = Warning\n"
    "def twice(x):\n    return 0\n",
    "a fork that passes": "import os\nif os.fork():\n    os._exit(0)\n"
    "def twice(x):\n    return 0\n",
    "does not parse": "def twice(x) return x * 2\n",
    "raises": "def twice(x):\n    raise AssertionError\n",
}
CHEATS = {
    "equal to everything": "class E:\n    def __eq__(self, o): return True\n"
    "def twice(x):\n    return E()\n",
    "an int that is equal to everything": "class E(int):\n    def __eq__(self, o): return True\n"
    "def twice(x):\n    return E(9)\n",
}
CHEATS |= {
    "a timer that waits for the tests": "import signal\ndef met(*_):\n    g = globals()\n"
    "    if 'check' in g: g['check'] = lambda c: None\nsignal.signal(signal.SIGALRM, met)\n"
    "signal.setitimer(0, 1e-3, 1e-4)\ndef twice(x):\n    return 0\n",
    "a function called exec": "class E:\n    def __eq__(self, o): return 1\n"
    "def exec(s, r): r['guard'] = lambda f: lambda *a: E()\ndef twice(x):\n    return 0\n",
    "functions that the tests use": "def abs(x): return 0\ndef isinstance(*a): return 1\n"
    "def globals(): return {}\ndef twice(x):\n    return 5\n",
    "a decimal of its own": "class E:\n    __module__ = 'decimal'\n"
    "    def __eq__(self, o): return 1\n"
    "    def as_integer_ratio(self): return self, self\ndef twice(x):\n    return E()\n",
}
CHECK = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 6\n"
PLUS = {"entry_point": "twice", "base_input": [[2]], "plus_input": [[3], ["a"]], "atol": 0}
CLASS = {
    k: f"{v}\nclass Solution:\n    def twice(self, x): return twice(x)\n" for k, v in WRONG.items()
}
JS = {"test": "const assert = require('node:assert');\nassert.deepEqual(twice(2), 4);\n"}
STDIN_WRONG = {
    "empty": "",
    "other": "print(int(input()) + 2)",
    "a constant": "print(4)",
    "both": "print(4)\nprint(6)",
    "nothing": "int(input())",
    "raises": "raise AssertionError",
    "early": "import os\nos._exit(0)",
    "asks": "raise SystemExit(0)",
    "right, then fails": "print(int(input()) * 2)\nraise SystemExit(3)",
    "endless": "while True: pass",
    "reads around": "import glob\nprint(*(open(p).read() for p in glob.glob('*')))",
    "does not parse": "print(",
}
PAIRS = [("2\n", ["4"]), ("3\n", ["6"])]
UNITTEST = """import unittest
class TestCases(unittest.TestCase):
    def test_two(self): self.assertEqual(twice(2), 4)
    def test_three(self): self.assertEqual(twice(3), 6)
"""
CASES = {
    "humaneval": (
        {"prompt": "", "test": CHECK, "entry_point": "twice"},
        TWICE,
        {**WRONG, **CHEATS},
    ),
    "humaneval-plus": (
        {**PLUS, "prompt": "", "canonical_solution": TWICE},
        TWICE,
        {**WRONG, **CHEATS},
    ),
    "mbpp": (
        {"test_setup_code": "", "test_list": ["assert twice(2) == 4", "assert twice(3) == 6"]},
        TWICE,
        WRONG,
    ),
    "mbpp-plus": (
        {**PLUS, "task_id": "Mbpp/0", "canonical_solution": TWICE},
        TWICE,
        {**WRONG, **CHEATS},
    ),
    "humaneval-infilling": (
        {"prompt": "def twice(x):\n", "suffix": "", "test": CHECK, "entry_point": "twice"},
        "    return x * 2\n",
        {
            "empty": "",
            "other": "    return x\n",
            "early": "    import os; os._exit(0)\n",
            "asks": "    raise SystemExit(0)\n",
            "another function": "    pass\ndef g(): pass\n",
        },
    ),
    "fim-santacoder": (
        {"canonical_solution": "    return x * 2"},
        "return x * 2",
        {"empty": "", "other": "return 2 * x", "more": "return x * 2; pass", "part": "return x"},
    ),
    "ds1000": (
        {
            "code_context": "def test_execution(code):\n    scope = {}\n    exec(code, scope)\n"
            "    assert scope['result'] == 6\n"
        },
        "result = 6",
        {
            "empty": "",
            "other": "result = 5",
            "none": "pass",
            "early": "import os; os._exit(0)",
            "asks": "raise SystemExit(0)",
            "prints": "print(6)",
        },
    ),
    "cruxeval": (
        {"code": "def f(x):\n    return x * 2", "input": "3", "output": "6", "subset": "output"},
        "6",
        {
            "empty": "",
            "other": "7",
            "the call": "f(3)",
            "text": "'6'",
            "list": "[6]",
            "early": "__import__('os')._exit(0)",
            "both": "6 or 7",
            "the call with a blank": "f( 3)",
            "the call in a call": "int(f(3))",
            "an object": "type('E', (), {'__eq__': lambda s, o: True})()",
            "assigns": "(x := 6)",
            "always equal": "__import__('unittest.mock').mock.ANY",
            "two values": "6 if f else 7",
            "comment": "# 6",
        },
    ),
    "cruxeval input": (
        {"code": "def f(x):\n    return x * 2", "input": "3", "output": "6", "subset": "input"},
        "3",
        {
            "empty": "",
            "other": "4",
            "two calls": "0) or (6",
            "two": "3, 4",
            "comment": "3 #",
            "an object": "type('E', (), {'__mul__': lambda s, o: 6})()",
            "early": "__import__('os')._exit(0)",
            "assigns": "(f := lambda x: 6)",
        },
    ),
    "leetcode": (
        {"test": "assert Solution().twice(2) == 4\nassert Solution().twice(3) == 6\n"},
        f"{TWICE}\nclass Solution:\n    def twice(self, x): return twice(x)\n",
        {k: v for k, v in CLASS.items() if k not in ("another name",)},
    ),
    "pal-math": (
        {"question": "How many?", "answer": "18"},
        "def solution():\n    return 18.0\n",
        {
            "empty": "",
            "other": "def solution():\n    return 19\n",
            "a hundred times": "def solution():\n    return 1800\n",
            "nothing": "def solution():\n    pass\n",
            "prints": "print(18)\n",
            "early": "import os; os._exit(0)\n",
            "a text of another kind": "def solution():\n    return [18, 19]\n",
            "reads its caller": "import sys\n\ndef solution():\n"
            "    return sys._getframe(2).f_locals['target']\n",
        },
    ),
    "cot-math": (
        {"question": "How many?", "answer": "18"},
        "18.0",
        {
            "empty": "",
            "other": "19",
            "a hundred times": "1800",
            "a share": "0.18",
            "minus": "-18",
            "near": "18.5",
        },
    ),
    "livecodebench": (
        {"starter_code": "", "cases": [("2\n", "4"), ("3\n", "6")]},
        "print(int(input()) * 2)",
        STDIN_WRONG,
    ),
    "livecodebench called": (
        {
            "starter_code": "class Solution:\n    def twice(self, x):\n        ",
            "cases": [("2", "4"), ("3", "6")],
        },
        f"{TWICE}\nclass Solution:\n    def twice(self, x): return twice(x)\n",
        {k: v for k, v in CLASS.items() if k != "another name"},
    ),
    "apps": (
        {"input_output": {"inputs": ["2\n", "3\n"], "outputs": ["4\n", "6\n"]}},
        "print(int(input()) * 2)",
        STDIN_WRONG,
    ),
    "usaco": ({"cases": PAIRS}, "print(int(input()) * 2)", STDIN_WRONG),
    "safim": (
        {
            "kind": "block",
            "lang": "python",
            "eval_prompt": "x = int(input())\n{{completion}}\nprint(y)\n",
            "unit_tests": [{"input": given, "output": right} for given, right in PAIRS],
        },
        "y = x * 2",
        {
            "empty": "",
            "other": "y = x + 2",
            "a constant": "y = 4",
            "early": "import os; os._exit(0)",
            "asks": "raise SystemExit(0)",
            "endless": "while True: pass",
        },
    ),
    "safim call": (
        {"kind": "api", "lang": "python", "ground_truth": "load(path, 2)"},
        "load( path,2 )",
        {"empty": "", "other": "load(path, 3)", "part": "load(path", "more": "load(path, 2) or 1"},
    ),
    "humaneval-x": (
        {"prompt": "", "declaration": "", "test": f"{CHECK}check(twice)\n"},
        TWICE,
        {**WRONG, **CHEATS},
    ),
    "humaneval-fix": (
        {"language": "python", "test": f"{CHECK}check(twice)\n"},
        TWICE,
        {**WRONG, **CHEATS},
    ),
    "bigcodebench-hard": (
        {"libs": "[]", "test": UNITTEST},
        TWICE,
        {
            **WRONG,
            "replaces the runner": "import unittest\nclass R:\n    testsRun = 1\n"
            "    def wasSuccessful(self): return True\n"
            "unittest.TextTestRunner.run = lambda *a: R()\ndef twice(x):\n    return 0\n",
            "replaces a comparison": "import unittest\n"
            "unittest.TestCase.assertEqual = lambda *a: None\ndef twice(x):\n    return 0\n",
        },
    ),
    "mmlu": ({"answer": "A"}, "A", {"empty": "", "other": "B", "all": "ABCD", "small": "a "}),
    "bbh": ({"target": "(A)"}, "(A)", {"empty": "", "other": "(B)", "all": "(A) (B) (C)"}),
    "needle": (
        {"number": "12345"},
        "It is 12,345.",
        {
            "empty": "",
            "other": "12346",
            "longer": "123456",
            "in another": "9123450",
            "many": "11111 12345",
            "the question": "The number is",
        },
    ),
    "multipl-e": (
        JS,
        "function twice(x){\n  return x * 2;\n}\n",
        {
            "empty": "",
            "nothing": "function twice(x){}\n",
            "other": "function twice(x){return x}\n",
            "early": "process.exit(0)\n",
            "early when called": "function twice(x){process.exit(0)}\n",
            "prints": "console.log(4)\n",
            "throws": "function twice(x){throw 4}\n",
            "catches": "process.on('uncaughtException', () => {})\nfunction twice(x){return 1}\n",
        },
    ),
}
"""By benchmark: data of a problem, a right answer, wrong answers by kind."""
GROUPS = {"multipl-e": "js", "cot-math": "gsm8k", "fim-santacoder": "py", "humaneval-x": "python"}
CHOICES = ("agieval", "arc-challenge", "arc-easy", "ceval", "cluewsc", "cmmlu")
SAID = ("aime", "crosscodeeval", "math-500", "math-odyssey", "nq-open", "repobench", "triviaqa")
JUDGED = ("alignbench", "alpaca-eval", "arena-hard", "mt-bench")
ELSEWHERE = {*CHOICES, *SAID, *JUDGED, "aider-edit", "aider-polyglot", "defects4j", "swe-bench"}
"""Nothing of an answer runs (test_knowledge_tasks, test_judged_benchmarks, test_code_tasks), the
official harness runs it, or an exercise is a whole folder (test_all_benchmarks)."""


@pytest.fixture(scope="module")
def executor():
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Executor(2) as made:
        yield made


def statuses(executor, name, answers):
    task = find_task(name.split(" ")[0])
    data: Any = CASES[name][0]
    problem = Problem(id="0", data=data, group=GROUPS.get(name, ""))
    config = BenchmarkConfig(benchmark=task.name, out_dir=Path("unused"), timeout=60.0)
    brief = replace(config, timeout=1.0)  # some wrong answers never end
    checks = {
        kind: task.check(problem, answer, config if kind == "the right one" else brief)
        for kind, answer in answers.items()
    }
    found = {
        k: "passed" if c.passed else "failed" for k, c in checks.items() if isinstance(c, Verdict)
    }
    programs = {k: c for k, c in checks.items() if k not in found}
    if programs:
        try:
            executor.require(next(iter(programs.values())).language)
        except ToolMissingError as error:
            pytest.skip(str(error))
    for at, outcome in executor.map(programs.values()):
        found[list(programs)[at]] = outcome.status
    return found


@pytest.fixture(autouse=True)
def needs(request, monkeypatch):
    if "pal-math" in request.node.name:
        pytest.importorskip("sympy")
        monkeypatch.setattr(Interpreter, "has", lambda *_: True)


def test_every_benchmark_is_in_the_table():
    assert {name.split(" ")[0] for name in CASES} | ELSEWHERE == set(TASKS)
    assert not {name.split(" ")[0] for name in CASES} & ELSEWHERE


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_wrong_and_cheating_answers_fail_and_the_right_one_passes(executor, name):
    _, right, wrong = CASES[name]
    found = statuses(executor, name, {**wrong, "the right one": right})
    assert [kind for kind, status in found.items() if status == "passed"] == ["the right one"]


def test_an_output_of_cruxeval_may_be_any_expression_that_gives_it(executor):
    code = "def f(x):\n    return 'a' + str(x)"
    data = {"code": code, "input": "1", "output": "'a1'", "subset": "output"}
    config = BenchmarkConfig(benchmark="cruxeval", out_dir=Path("unused"), timeout=60.0)
    answers = ["'a1'", '"a1"', "'a' + str(1)", "''.join(['a', '1'])", "'b1'", "'a' + str(2)"]
    problem = Problem(id="0", data=data, group="")
    task = find_task("cruxeval")
    checks = [task.check(problem, answer, config) for answer in answers]
    outcomes = dict(executor.map(checks))
    assert [outcomes[i].passed for i in range(6)] == [True] * 4 + [False] * 2
