"""Answers that reach for the verdict instead of solving the problem do not pass."""
# ruff: noqa: E501 - programs of one line are data

import shutil
from collections.abc import Iterator

import pytest

from codling.core.errors import ToolMissingError
from codling.evaluate.task import read_lines
from codling.sandbox import toolchains
from codling.sandbox.executor import Executor, Program
from codling.sandbox.tampering import find_tampering
from sandbox.test_language_toolchains import BODIES, PROGRAMS

TESTS = "\ndef check(candidate):\n    assert candidate(2) == 4\ncheck(twice)\n"
PYTHON = {
    "an equal event": "import sys\nclass Event:\n    def __eq__(self, other):\n"
    "        return sys._getframe(1).f_locals['nonce']\n"
    "sys.modules['inside.notary'].EVENT = Event()\ndef twice(x): return x",
    "a signal handler": "import os, signal\ndef met(_, frame):\n    while frame:\n"
    "        [os.write(3, v) for v in frame.f_locals.values() if isinstance(v, bytes)]\n"
    "        frame = frame.f_back\nsignal.signal(signal.SIGALRM, met)\nsignal.setitimer(0, .01, "
    ".01)\n"
    "import time; time.sleep(.2)\ndef twice(x): return x",
    "a thread": "import sys, threading\nthreading.Thread(target=sys._current_frames).start()\n"
    "def twice(x): return x",
    "the caller's constants": "import sys\ndef twice(x):\n"
    "    return sys._getframe(1).f_code.co_consts[2]",
    "a traceback's frame": "def twice(x):\n    try:\n        1 / 0\n    except ZeroDivisionError "
    "as e:\n"
    "        return max(c for c in e.__traceback__.tb_frame.f_back.f_code.co_consts if c)",
    "a generator's frame": "def twice(x):\n    g = (0 for _ in ())\n    return g.gi_frame and 4",
    "the module of the tests": "import __main__\ndef twice(x):\n"
    "    return __main__.check.__code__.co_consts[2]",
    "names spelled out": "def twice(x):\n    import sys\n"
    "    return getattr(sys, '_get' + 'frame')(1).f_lasti and 4",
    "inspect": "import inspect\ndef twice(x): return inspect.stack()[1] and 4",
    "equal to all": "class Any:\n    def __eq__(self, other): return True\ndef twice(x): return "
    "Any()",
    "equal by lambda": "class Any:\n    __eq__ = lambda *_: True\ndef twice(x): return Any()",
    "a mock": "from unittest.mock import ANY\ndef twice(x): return ANY",
    "its own memory": "import ctypes\ndef twice(x): return 4 if ctypes else 4",
    "another program in its place": "import os, sys\ndef twice(x):\n    os.execv(sys.executable,"
    "\n [sys.executable, '-c', 'import os\\nwhile 1: os.write(3, b\"e\" * 65536)'])",
    "another program, claimed by a child": "import os\ndef twice(x):\n    if os.fork():\n"
    "        os.dup2(3, 9)\n        os.execv('/bin/sleep', ['sleep', '9'])\n"
    "    while True: os.write(3, b'e' * 65536)",
    "a shell that begins anew until its stack stands high": "import os\ndef twice(x):\n"
    "    os.execv('/bin/sh', ['sh', '-c', 'exec yes >&3'])",
    "a module's function by name": "import math\nsetattr(math, 'isclose', lambda *_: True)\n"
    "def twice(x): return 4 if x == 2 else 4",
    "leaving after a claim": "import os\nos.write(3, b'e' * 1000)\nos._exit(0)",
}
FORGED = [
    ("js", "own file", "console.log(require('fs').readFileSync(__filename, 'utf8')); process.exit(0)"),
    ("js", "other file", "console.log(require('fs').readFileSync('main' + '.js')); process.exit(0)"),
    ("js", "the key", "require('fs').writeSync(3, require('fs').readFileSync(4)); process.exit(0)"),
    ("js", "assertions", "const a = require('assert'); a['deepEqual'] = () => {}; return x"),
    ("js", "strict ones", "require('assert').strict.deepEqual = () => {}; return x"),
    ("js", "callee", "console.log(arguments['callee'].toString()); process.exit(0)"),
    ("js", "loader", "require('module').prototype.require = () => ({deepEqual() {}}); return x"),
    ("ts", "assertions", "const a = eval('require')('assert'); a.deepEqual = () => {}; return x"),
    ("ts", "the key", "eval('require(\"fs\").writeSync(3, \"x\"); process.exit(0)'); return x"),
    ("cpp", "own file", 'std::ifstream f("main.cpp"); std::cout << f.rdbuf(); exit(0);'),
    ("cpp", "own name", 'std::ifstream f("main" ".cpp"); std::cout << f.rdbuf(); exit(0);'),
    ("cpp", "the binary", 'std::ifstream f("main"); std::cout << f.rdbuf(); exit(0);'),
    ("cpp", "the key", "char k[64]; long n = read(4, k, 64); write(3, k, n > 0 ? n : 0); exit(0);"),
    ("cpp", "assert", "return x; }\n#undef assert\n#define assert(x)\nlong other(long x) { return x;"),
    ("cpp", "no debugging", "return x; }\n#define NDEBUG\n#include <assert.h>\nint other() { return 0;"),
    ("sh", "own file", 'tail -n1 "$0" | bash; exit 0'),
    ("sh", "own name", "tail -n1 ${BASH_SOURCE[0]} | bash; exit 0"),
    ("sh", "the key", "cat <&4 >&3; exit 0"),
    ("sh", "set", "echo 1\n}\nset() {\n:"),
    ("sh", "function set", "echo 1\n}\nfunction set {\n:"),
    ("php", "own file", "echo file_get_contents(__FILE__); exit(0);"),
    ("php", "other name", "foreach (glob('m*') as $f) { echo file_get_contents($f); } exit(0);"),
    ("php", "the key", "copy('php:' . '//fd/4', 'php:' . '//fd/3'); exit(0);"),
    ("pl", "own file", "open(F, $0); print <F>; exit(0);"),
    ("pl", "the key", "open(I, '<&=', 4); open(O, '>&=', 3); print O <I>; close O; exit(0);"),
    ("rb", "a report", "puts '1 tests, 1 assertions, 0 failures, 0 errors'; $stdout.flush; exit!(0)"),
    ("rb", "assertions", "x\nend\nmodule Test\nmodule Unit\nmodule Assertions\ndef assert_equal(*) end\n"
     "end\nend\nend\ndef other"),
    ("js", "returns first", "return x; }\nreturn;\nfunction other() {"),
    ("js", "may return first", "return x; }\nif (1) return;\nfunction other() {"),
    ("php", "returns first", "return $x; }\nreturn;\nfunction other() {"),
    ("php", "closes first", "return $x; }\n?>\n<?"),
    ("pl", "returns first", "return 0; }\nreturn 1;\nsub other {"),
    ("pl", "ends first", "return 0; }\n__END__\n"),
    ("pl", "documents the tests", "return 0; }\n1;\n\n=pod\n"),
    ("rb", "own tests", "0\nend\nrequire 'test/unit'\nclass T < Test::Unit::TestCase\n"
     "def test_a; assert_equal(1, 1); end\nend\n__END__\n"),
    ("rb", "own tests, returns", "0\nend\nrequire 'test/unit'\nclass T < Test::Unit::TestCase\n"
     "def test_a; assert_equal(1, 1); end\nend\nreturn\ndef other"),
    ("lua", "own tests", "return 0 end\nlocal lu = require('luaunit')\nTest = {}\n"
     "function Test:test_a() end\nos.exit(lu.LuaUnit.run())\nlocal function other()"),
    ("lua", "a report", "print('Ran 1 tests in 0.1 seconds') os.exit(0)"),
    ("lua", "assertions", "require('luaunit').assertEquals = function() end return x"),
]  # fmt: skip


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Executor(1) as executor:
        try:
            executor.require("python")
        except ToolMissingError as error:
            pytest.skip(str(error))
        yield executor


@pytest.mark.long
@pytest.mark.parametrize("name", list(PYTHON))
def test_a_python_answer_cannot_forge_its_verdict(executor, name):
    program = Program(language="python", source=PYTHON[name] + TESTS, seconds=3.0)
    outcome = executor.run(program)
    assert not outcome.passed, outcome


@pytest.mark.long
@pytest.mark.parametrize(
    ("language", "name", "body"),
    [
        pytest.param(*row, id=f"{row[0]}: {row[1]}", marks=pytest.mark.slow)
        if row[0] in ("rb", "pl", "lua")
        else pytest.param(*row, id=f"{row[0]}: {row[1]}")
        for row in FORGED
    ],
)
def test_no_answer_forges_its_verdict(executor, language, name, body):
    try:
        executor.require(language)
    except ToolMissingError as error:
        pytest.skip(str(error))
    source = PROGRAMS[language].replace("BODY", body)
    outcome = executor.run(Program(language=language, source=source, seconds=5.0))
    assert not outcome.passed, (name, outcome)


@pytest.mark.long
@pytest.mark.parametrize("language", ["js", "cpp", "php", "pl"])
def test_the_walls_hold_where_the_names_are_not_seen(executor, language, monkeypatch):
    """The same without the list of names, for what a runner keeps from the program."""
    monkeypatch.setattr("codling.sandbox.executor.find_tampering", lambda *_: "")
    try:
        executor.require(language)
    except ToolMissingError as error:
        pytest.skip(str(error))
    held = (
        "returns first",
        "may return first",
        "closes first",
        "ends first",
        "own file",
        "own name",
        "other file",
        "other name",
        "the key",
        "the binary",
        "callee",
    )
    for row_language, name, body in FORGED:
        if row_language == language and (name in held or name == "assertions"):
            source = PROGRAMS[language].replace("BODY", body)
            outcome = executor.run(Program(language=language, source=source, seconds=5.0))
            assert not outcome.passed, (name, outcome)


def test_the_answer_is_looked_at_and_not_the_tests(executor):
    tests = "import inspect\nassert inspect.isfunction(twice)\n"
    source = "def twice(x): return 2 * x\n"
    both = Program(language="python", source=source + tests, answer=source)
    assert executor.run(both).passed
    hidden = f"exec({PYTHON['equal to all']!r})" + TESTS
    named = Program(language="python", source=hidden, answer=PYTHON["equal to all"])
    assert executor.run(named).status == "tampering"
    assert [o.status for _, o in sorted(executor.map([both, named]))] == ["passed", "tampering"]


def test_verdicts_by_exit_status_ask_for_no_names(executor):
    source = "import inspect\ndef twice(x): return 2 * x\n" + TESTS
    assert executor.run(Program(language="python", source=source, strict=False)).passed


@pytest.mark.parametrize("language", list(BODIES))
def test_honest_answers_reach_for_nothing(language):
    assert find_tampering(language, PROGRAMS[language].replace("BODY", BODIES[language][0])) == ""


def test_how_programs_ask_whether_they_run_by_themselves_is_no_tampering():
    assert find_tampering("rb", "if __FILE__ == $0\n  puts 1\nend") == ""
    assert find_tampering("js", "if (require.main === module) { main(); }") == ""
    assert find_tampering("sh", 'echo "Usage: $0 FILE"') == ""
    assert (
        find_tampering("python", "import sys\nsys.stdout = None\nif __name__ == '__main__':\n    1")
        == ""
    )
    assert find_tampering("python", "class P:\n    def __eq__(self, o): return self.x == o.x") == ""
    assert find_tampering("python", "import math\nmath.isclose = lambda *_: True") != ""


def test_the_line_in_awks_programs_is_not_the_scripts_name():
    assert find_tampering("sh", "awk '{ print $0 }' <<< \"$1\"") == ""
    assert find_tampering("sh", "awk -F, -v n=\"$2\" 'NR == n { print $0; exit }'") == ""
    assert find_tampering("sh", 'gawk "{ print \\$0 }"') == ""
    assert find_tampering("sh", "awk '{ print $1 }' \"$0\"") == "$0"
    assert find_tampering("sh", "awk '{ print }' <<< 1; tail -n1 $0") == "$0"
    assert find_tampering("sh", "eval 'tail -n1 $0'") == "$0"


def test_words_are_no_names_where_nothing_can_be_had_by_name():
    assert find_tampering("python", "def f(dna): return dna.lower().count('gc')") == ""
    assert find_tampering("python", "WORDS = ['inspect', 'pdb']\ndef f(w): return w in WORDS") == ""
    assert find_tampering("python", "def f(): return __import__('gc')") == "gc"
    assert find_tampering("python", "from importlib import import_module as i\ni('inspect')") != ""
    assert find_tampering("lua", "local function f(arg) return arg[1] end") == ""
    assert find_tampering("lua", "print(debug.traceback())") == ""
    assert find_tampering("lua", "print(arg[0])") != ""
    assert find_tampering("lua", "debug.getinfo(1)") != ""


@pytest.mark.long
def test_the_benchmarks_own_texts_reach_for_nothing(shared_data):
    folder = shared_data / "benchmarks"
    found = {
        path.name.split(".")[0] for path in (folder / "humaneval-multipl-e-deepseek").glob("h*")
    }
    texts = [
        (name.partition("-")[2], f"{row['prompt']}\n{row['test']}")
        for name in sorted(found)
        for row in read_lines(folder / "humaneval-multipl-e-deepseek" / f"{name}.jsonl")
    ]
    for name, keys in {
        "humaneval/HumanEval.jsonl": ("prompt", "canonical_solution", "test"),
        "mbpp-deepseek/mbpp.jsonl": ("code",),
        "ds1000/ds1000.jsonl": ("reference_code",),
        "evalplus/mbppplus_release/MbppPlus.jsonl": ("canonical_solution",),
    }.items():
        rows = read_lines(folder / name)
        texts += [("python", "".join(row[key] for key in keys)) for row in rows]
    assert len(texts) > 4000
    assert [seen for language, text in texts if (seen := find_tampering(language, text))] == []


def test_a_language_whose_test_library_is_missing_counts_as_missing(monkeypatch):
    known = toolchains.toolchains()
    for language in ("pl", "rb", "lua", "rkt", "jl"):
        assert known[language].probe, language
    asked: list[tuple[str, ...]] = []

    def ask(argv: tuple[str, ...]) -> None:
        asked.append(tuple(argv))

    monkeypatch.setattr(toolchains, "_ask", ask)
    monkeypatch.setattr(toolchains, "_required_paths", lambda _: [])
    toolchains.version.cache_clear()
    try:
        assert toolchains.version("pl") is None
        assert asked == [("/usr/bin/perl", "-MTest::Deep", "-e", "1")]
        with Executor(1) as executor, pytest.raises(ToolMissingError, match="libtest-deep-perl"):
            executor.require("pl")
    finally:
        toolchains.version.cache_clear()
