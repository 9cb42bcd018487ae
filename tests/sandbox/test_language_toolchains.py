"""Every toolchain: a right answer passes, a wrong one fails, leaving early is not a pass; skips if
absent."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from codling.core.errors import ToolMissingError
from codling.sandbox.executor import Executor, Program
from codling.sandbox.toolchains import doctor, toolchains

# A function `twice` with a hole for its body, and a test, in the shape of MultiPL-E's programs.
BODIES = {
    "cpp": ("return 2 * x;", "return x;", "exit(0);"),
    "java": ("return 2 * x;", "return x;", "System.exit(0); return 0;"),
    "js": ("return 2 * x;", "return x;", "process.exit(0);"),
    "ts": ("return 2 * x;", "return x;", "eval('process.exit(0)'); return 0;"),
    "cs": ("return 2 * x;", "return x;", "Environment.Exit(0); return 0;"),
    "php": ("return 2 * $x;", "return $x;", "exit(0);"),
    "sh": ("echo $((2 * $1))", "echo $1", "kill -9 $$"),
    "go": ("return 2 * x", "return x", "os.Exit(0); return 0"),
    "rs": ("2 * x", "x", "std::process::exit(0)"),
    "rb": ("2 * x", "x", "exit!(0)"),
    "lua": ("return 2 * x", "return x", "os.exit(0)"),
    "pl": ("return 2 * $x;", "return $x;", "exit(0);"),
    "r": ("2 * x", "x", "quit(status = 0)"),
    "d": ("return 2 * x;", "return x;", "import core.stdc.stdlib; exit(0); return 0;"),
    "rkt": ("(* 2 x)", "x", "(exit 0)"),
    "jl": ("2 * x", "x", "exit(0)"),
}
PROGRAMS = {
    "cpp": """#include<assert.h>
#include<bits/stdc++.h>
long twice(long x) { BODY }
int main() {
    auto candidate = twice;
    assert(candidate(2) == 4);
}
""",
    "java": """import org.javatuples.*;
class Problem {
    public static long twice(long x) { BODY }
    public static void main(String[] args) {
    assert(twice(2l) == 4l);
    assert(Pair.with(1, 2).getValue0() == 1);
    }

}
""",
    "js": """function twice(x) { BODY }
const assert = require('node:assert');
assert.deepEqual(twice(2), 4);
""",
    "ts": """function twice(x: number): number { BODY }
declare var require: any;
const assert = require('node:assert');
assert.deepEqual(twice(2), 4);
""",
    "cs": """using System;
using System.Diagnostics;
class Problem {
    public static long Twice(long x) { BODY }
    public static void Main(string[] args) {
    Debug.Assert(Twice(2L) == 4L);
    }

}
""",
    "php": """<?php
function twice($x) { BODY }
if (twice(2) !== 4) { throw new Exception("Test failed!"); }
""",
    "sh": """twice() {
    BODY
}
set -e
run_test() {
    [[ $(twice 2) = "4" ]]
}
run_test
""",
    "go": """package twice_test
import ("testing"; "os"; "fmt")
func twice(x int) int { BODY }
func TestTwice(t *testing.T) {
    fmt.Fprint(os.Stderr, "")
    if twice(2) != 4 { t.Errorf("wrong") }
}
""",
    "rs": """fn twice(x: i64) -> i64 { BODY }
fn main() {
    assert_eq!(twice(2), 4);
}
""",
    "rb": """def twice(x)
  BODY
end
require 'test/unit'
class TestHumanEval < Test::Unit::TestCase
  def test_twice
    assert_equal(4, twice(2))
  end
end
""",
    "lua": """local function twice(x) BODY end
lu = require('luaunit')
function test_twice() lu.assertEquals(twice(2), 4) end
os.exit(lu.LuaUnit.run())
""",
    "pl": """sub twice { my($x) = @_; BODY }
use Test::Deep;
if(eq_deeply(twice(2), 4)) { print "ok!" } else { exit 1; }
""",
    "r": """twice <- function(x) { BODY }
stopifnot(isTRUE(all.equal(twice(2), 4)))
""",
    "d": """long twice(long x) { BODY }
unittest
{
    assert(twice(2L) == 4L);
}
void main(){}
""",
    "rkt": """#lang racket
(define (twice x) BODY)
(require rackunit)
(check-within (twice 2) 4 0.001)
""",
    "jl": "function twice(x) BODY end\nusing Test\n@test(twice(2) == 4)\n",
}
FAST = ("js", "ts", "php", "sh", "cpp")


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(1) as executor:
        try:
            executor.require("python")
        except ToolMissingError as error:
            pytest.skip(str(error))
        yield executor


def languages() -> list[object]:
    slow = pytest.mark.slow
    return [pytest.param(name, marks=() if name in FAST else slow) for name in PROGRAMS]


@pytest.mark.long
@pytest.mark.parametrize("language", languages())
def test_right_wrong_and_early_exits_are_told_apart(executor, language):
    try:
        executor.require(language)
    except ToolMissingError as error:
        pytest.skip(str(error))
    right, wrong, early = (PROGRAMS[language].replace("BODY", b) for b in BODIES[language])
    outcome = executor.run(Program(language=language, source=right, seconds=60.0))
    assert outcome.passed, outcome
    outcome = executor.run(Program(language=language, source=wrong))
    assert outcome.status in ("failed", "killed"), outcome
    outcome = executor.run(Program(language=language, source=early))
    early_ends = ("left early", "failed", "killed", "compile error", "tampering")
    assert outcome.status in early_ends, outcome


FIRST_USE = """
from codling.sandbox.executor import Executor, Program
with Executor(workers=1) as executor:
    print(executor.run(Program(language="python", source="x = 1")).status)
    executor.require("cpp")
    print(executor.run(Program(language="cpp", source="int main() { return 0; }")))
"""


@pytest.mark.slow
def test_boxes_that_ran_before_see_what_the_first_program_of_a_language_needs(executor, tmp_path):
    """On a machine where no C++ has run yet: its header and seal are made while boxes run."""
    try:
        executor.require("cpp")
    except ToolMissingError as error:
        pytest.skip(str(error))
    env = {**os.environ, "CODLING_CACHE": str(tmp_path / "new")}
    argv = [sys.executable, "-c", FIRST_USE]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.startswith("passed\nOutcome(status='passed'"), done.stdout


@pytest.mark.long
def test_a_source_that_does_not_compile_says_why(executor):
    try:
        executor.require("ts")
    except ToolMissingError as error:
        pytest.skip(str(error))
    outcome = executor.run(Program(language="ts", source="const x: number = 'a';"))
    assert outcome.status == "compile error"
    assert "not assignable" in outcome.detail


def test_an_exit_status_is_enough_for_the_compatible_verdict(executor):
    try:
        executor.require("php")
    except ToolMissingError as error:
        pytest.skip(str(error))
    program = Program(language="php", source="<?php exit(0);", strict=False)
    assert executor.run(program).passed


@pytest.mark.long
def test_the_doctor_names_every_language():
    table = doctor()
    assert all(name in table for name in toolchains())


def test_a_language_without_tools_is_an_error_with_the_cure(executor, monkeypatch):
    monkeypatch.setattr("codling.sandbox.toolchains.version", lambda _: None)
    with pytest.raises(ToolMissingError, match="apt-get install php-cli"):
        executor.require("php")
