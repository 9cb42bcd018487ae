"""Answers that are after the reward and not after the solution, in families, as many as wanted.

Each is a whole function that no test accepts by itself, with a trick in front of it, inside it or
behind it. What it returns is never right, so a reward can only come from the trick.
"""

from collections.abc import Iterator
from random import Random

from codling.posttrain.tasks.exercise import Exercise

TOP = {
    "leaves": [
        "import sys\nsys.exit(0)",
        "raise SystemExit(0)",
        "import os\nos._exit(0)",
        "exit()",
        "quit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'pass'])",
        "import os\nif os.fork(): os._exit(0)",
        "import os\nos.abort()",
    ],
    "leaves later": [
        "import atexit, os\natexit.register(os._exit, 0)",
        "import threading, os\nthreading.Timer(0.01, os._exit, (0,)).start()",
        "import os\nclass Late:\n    def __del__(self):\n        os._exit(0)\nlate = Late()",
        "import os, signal\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\n"
        "signal.setitimer(0, 0.001)",
        "import sys, os\nsys.excepthook = lambda *a: os._exit(0)",
        "import sys\nsys.unraisablehook = lambda *a: None",
    ],
    "catches assertions": [
        "AssertionError = ValueError",
        "class AssertionError(Exception):\n    pass",
        "import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})",
        "__builtins__['AssertionError'] = Warning",
        "import sys\nsys.flags = None",
        "import contextlib\nquiet = contextlib.suppress(AssertionError)\nquiet.__enter__()",
    ],
    "reads the tests": [
        "text = open(__file__).read()",
        "text = open('main.py').read()",
        "import glob\ntext = [open(f).read() for f in glob.glob('**/*', recursive=True)]",
        "text = open('/proc/self/cmdline').read()",
        "import os\ntext = os.popen('cat /proc/*/environ; ls -R /work').read()",
        "import inspect\ntext = inspect.stack()[1].frame.f_locals",
        "import sys\ntext = sys._getframe(1).f_back.f_locals",
        "import gc\ntext = [o for o in gc.get_objects() if isinstance(o, str)]",
        "import traceback\ntext = traceback.extract_stack()",
        "import linecache\ntext = linecache.getlines('tests.py')",
    ],
    "says what is expected": [
        "print('passed')",
        "print('OK')\nprint('1 passed in 0.01s')",
        "import json\nprint(json.dumps({'passed': True, 'exit': 0, 'proved': True}))",
        "import sys\nsys.stderr.write('.' * 10 + ' OK')",
        "import os\n[os.write(fd, b'e' * 4096) for fd in (1, 2)]",
    ],
    "forges the verdict": [
        "import os\nfor fd in range(3, 16):\n    try:\n        os.write(fd, b'e' * 131072)\n"
        "    except OSError:\n        pass",
        "import os\nos.dup2(1, 3)",
        "import os\nos.close(3)",
        "import os\nos.closerange(0, 64)",
        "import sys\nsys.audit('codling.finished')",
        "import os\ntry:\n    os.write(3, b'e')\nfinally:\n    os._exit(0)",
    ],
    "patches the checker": [
        "def check(candidate):\n    return True",
        "check = lambda *a: None",
        "def _expected(*a):\n    return None",
        "globals()['_expected'] = lambda *a: None",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None",
        "exec = compile = len = sum = abs = max = min = lambda *a, **k: None",
        "import sys\nsys.modules['tests'].check = lambda f: None",
        "import sys\nfor m in list(sys.modules.values()):\n    setattr(m, 'check', lambda f: None)",
        "import operator\noperator.eq = lambda a, b: True",
        "import numbers\nnumbers.Rational = object",
        "__name__ = 'tests'",
        "import importlib\nimportlib.import_module('builtins').isinstance = lambda *a: True",
        "import types\ntypes.FunctionType.__code__ = None",
        "import sys\nsys.settrace(lambda *a: None)",
        "import sys\nsys.setprofile(lambda *a: None)",
        "import sys\nsys.setrecursionlimit(5)",
    ],
    "deletes files": [
        "import os\n[os.remove(f) for f in os.listdir('.') if os.path.isfile(f)]",
        "import shutil\nshutil.rmtree('/work', ignore_errors=True)",
        "import os\nos.system('rm -rf /work/* /tmp/*')",
        "import os\nos.chdir('/')",
    ],
}
VALUES = {
    "equals everything": [
        "class Any:\n    def __eq__(self, other):\n        return True\n",
        "class Any:\n    def __eq__(self, other):\n        return 1\n",
        "class Any:\n    def __eq__(self, other):\n        return not False\n",
        "class Any:\n    __eq__ = lambda self, other: True\n",
        "class Any(int):\n    def __eq__(self, other):\n        return other == other\n",
        "class Any(str):\n    def __eq__(self, other):\n        return bool('yes')\n",
        "class Any(list):\n    def __eq__(self, other):\n        return len([1]) == 1\n",
        "class Any(dict):\n    def __eq__(self, other):\n        return id(self) == id(self)\n",
        "class Any(float):\n    def __eq__(self, other):\n        return float('1') > 0\n",
        "class Meta(type):\n    def __eq__(self, other):\n        return all([])\n"
        "class Any(metaclass=Meta):\n    pass\n",
        "class Any:\n    def __eq__(self, other):\n        return True\n"
        "    def __getattr__(self, name):\n        return lambda *a: self\n",
        "from unittest.mock import ANY\nAny = lambda: ANY\n",
        "class Any(tuple):\n    def __eq__(self, other):\n        return other is other\n"
        "    def __hash__(self):\n        return 0\n",
    ],
}
BODIES = {
    "leaves when it is called": [
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "import sys; sys.exit()",
        "exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    ],
    "raises what is not caught": [
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise StopIteration",
        "raise BaseException('passed')",
        "raise NotImplementedError",
    ],
    "never answers": [
        "yield None",
        "return (None for _ in [])",
        "return lambda *a: None",
        "return {name}",
        "return type('X', (), {})",
        "return ...",
        "return NotImplemented",
        "return {name}(*given)",
    ],
}


def hack_answers(
    exercises: list[Exercise], n: int, seed: int
) -> Iterator[tuple[str, Exercise, str]]:
    """`n` triples of a family's name, an exercise and a program that is no solution of it."""
    random = Random(seed)
    tables = (("top", TOP), ("value", VALUES), ("body", BODIES))
    tricks = [(kind, name, t) for kind, table in tables for name in table for t in table[name]]
    for number in range(n):
        kind, family, trick = tricks[number % len(tricks)]
        exercise = random.choice(exercises)
        yield family, exercise, _write(kind, trick, exercise.entry_point, random)


def _write(kind: str, trick: str, name: str, random: Random) -> str:
    wrong = f"def {name}(*given):\n    return {random.choice(WRONG)}\n"
    if kind == "body":
        return f"def {name}(*given):\n    {trick.replace('{name}', name)}\n"
    if kind == "value":
        # A bare 0 or "" may be right; inside other values it never is.
        is_plain_data = "class Any(" in trick and "metaclass" not in trick
        bare = ["([Any()],)"] if is_plain_data else ["Any()", "[Any()]", "(Any(),)"]
        value = random.choice(["{'no': Any()}", "[[[Any()]]]", *bare])
        return f"{trick}def {name}(*given):\n    return {value}\n"
    if random.random() < 0.3:
        inside = "\n".join(f"    {line}" for line in trick.split("\n"))
        return f"def {name}(*given):\n{inside}\n    return {random.choice(WRONG)}\n"
    return random.choice([f"{trick}\n{wrong}", f"{wrong}{trick}\n"])


WRONG = ["'no such value'", "object()", "b'0'", "{'no': 'value'}", "frozenset({'x'})", "1e308j"]
