"""Tests of exercises run on edited files, without Jest, modules, cargo and Gradle."""

from typing import Any

import pytest

from codling.evaluate.compiled_tests import java_tests, rust_tests
from codling.evaluate.edit_formats import apply_pieces, apply_whole
from codling.evaluate.exercise_tests import common_js
from codling.evaluate.exercise_tests import test_program as make_program
from codling.evaluate.exercises import EditExercise
from codling.evaluate.task import Verdict
from codling.sandbox.executor import Executor, Program
from codling.sandbox.toolchains import version

GO_TEST = """//go:build !extra
package leap

import (
    "reflect"
    "testing"
)

func TestLeap(t *testing.T) {
    if !reflect.DeepEqual(IsLeap(2000), true) || IsLeap(1900) {
        t.Fatal("wrong")
    }
}
"""
GO_ANSWER = """package leap

import "strconv"
import "errors"

var ErrNo = errors.New("no")

func IsLeap(year int) bool {
    return year%4 == 0 && (year%100 != 0 || strconv.Itoa(year)[1:] == "000")
}
"""
JS_TEST = """import { Bank, total as sum } from './bank';
import defaultName from './bank';

describe('Bank', () => {
  let bank;
  beforeEach(() => { bank = new Bank(); });
  test('adds', () => {
    bank.add(2);
    expect(bank.all).toEqual([{ value: 2, left: undefined }]);
    expect(bank.all).not.toStrictEqual([{ value: 2, other: undefined }]);
    expect(sum([0.1, 0.2])).toBeCloseTo(0.3);
  });
  xtest('starts anew', () => expect(bank.all).toEqual([]));
  xtest('refuses', () => expect(() => bank.add(-1)).toThrow(new Error('below zero')));
  xtest('waits', async () => expect(await bank.later(1)).toBe(1));
  xtest('rejects', () => expect(bank.later(0)).rejects.toThrow('none'));
  xtest('has a name', () => expect(defaultName).toBe('bank'));
});
"""
JS_ANSWER = """export class Bank {
  constructor() { this.all = []; }
  add(value) {
    if (value < 0) throw new Error('below zero');
    this.all.push({ value });
  }
  async later(value) {
    await null;
    if (!value) throw new Error('none');
    return value;
  }
}
export const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
export default 'bank';
"""
RUST_TEST = """#[cfg(feature = "extra")]
use none::*;
use x::half;

#[test]
#[ignore]
fn halves() {
    assert_eq!(half(4), 2);
}

mod more {
    use x::*;

    #[test]
    #[should_panic(expected = "below")]
    fn refuses() {
        half(-1);
    }

    #[cfg(feature = "extra")]
    #[test]
    fn is_left_out() {
        none();
    }
}

#[test]
fn answers() -> Result<(), String> {
    x::same(1).map(|_| ())
}
"""
RUST_ANSWER = """#![allow(dead_code)]
pub fn half(n: i32) -> i32 {
    if n < 0 { panic!("below zero"); }
    n / 2
}
pub fn same(n: i32) -> Result<i32, String> { Ok(n) }
// end
"""
JAVA_TEST = """import static org.assertj.core.api.Assertions.*;
import org.junit.jupiter.api.*;

class HalfTest {
    @Test
    void halves() { assertThat(new Half().of(4)).isEqualTo(2); }

    @Disabled("Remove to run test")
    @Test
    void refuses() {
        assertThatThrownBy(() -> new Half().of(-1)).isInstanceOf(IllegalArgumentException.class);
    }
}
"""
JAVA_ANSWER = """public class Half {
    public int of(int n) {
        if (n < 0) throw new IllegalArgumentException();
        return n / 2;
    }
}
"""


def run(language: str, file: str, tests: tuple[str, str], answer: str) -> Any:
    made = EditExercise(
        name="x", language=language, instructions="", stubs={file: ""},
        tests={tests[0]: tests[1]}, example={}, others={},
    )  # fmt: skip
    program = make_program(made, {file: answer}, 60.0, strict=True)
    assert isinstance(program, Program)
    with Executor(1) as executor:
        return executor.run(program)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        ("{ value }", "{ value: 1 }", "Bank > adds"),
        ("below zero", "under zero", "Bank > refuses"),
        ("return value;", "return 2;", "Bank > waits"),
        ("'none'", "'nothing at all'", "Bank > rejects: "),
        ("export default 'bank'", "export default 'b'", "Bank > has a name"),
    ],
)
def test_javascripts_tests_run_without_jest(old, new, said):
    found = run("javascript", "bank.js", ("bank.spec.js", JS_TEST), JS_ANSWER.replace(old, new))
    assert (found.status == "passed") == (not said), found
    assert said in found.stderr + found.detail


@pytest.mark.slow
def test_gos_files_are_tested_as_one():
    assert run("go", "leap.go", ("leap_test.go", GO_TEST), GO_ANSWER).status == "passed"
    wrong = GO_ANSWER.replace('"000"', '"900"')
    assert run("go", "leap.go", ("leap_test.go", GO_TEST), wrong).status == "failed"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        pytest.param("n < 0", "n < -9", "test refuses failed", marks=pytest.mark.slow),
        pytest.param("n / 2", "n / 3", "test halves failed", marks=pytest.mark.slow),
        pytest.param("Ok(n)", 'Err("x".into())', "test answers failed", marks=pytest.mark.slow),
        pytest.param("// end", "#[ctor] fn x() {}", "ctor", marks=pytest.mark.slow),
    ],
)
def test_rusts_tests_run_without_cargo(old, new, said):
    found = run("rust", "src/lib.rs", ("tests/x.rs", RUST_TEST), RUST_ANSWER.replace(old, new))
    assert (found.status == "passed") == (not said), found
    assert said in found.stderr + found.detail


@pytest.mark.slow
def test_javas_tests_run_without_gradle():
    if version("java-junit") is None:
        pytest.skip("needs: apt-get install openjdk-17-jdk-headless junit5 libassertj-core-java")
    files = ("src/main/java/Half.java", ("src/test/java/HalfTest.java", JAVA_TEST))
    assert run("java", *files, JAVA_ANSWER).status == "passed"
    wrong = run("java", *files, JAVA_ANSWER.replace("throw", "if (n < -9) throw"))
    assert wrong.status == "failed"
    assert "refuses()" in wrong.stderr
    left = JAVA_ANSWER.replace("return n / 2", "System.exit(0); return 1")
    assert run("java", *files, left).status == "left early"


def exercise(language: str, **files: Any) -> EditExercise:
    empty: dict[str, Any] = {"stubs": {}, "tests": {}, "example": {}, "others": {}}
    return EditExercise(name="x", language=language, instructions="", **(empty | files))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (exercise("cobol"), "not a language here"),
        (exercise("java"), "needs: apt-get install openjdk-17-jdk-headless junit5"),
        (
            exercise("java", others={"build.gradle": '  implementation "org.json:json:2019"'}),
            "needs libraries that are not here: org.json:json:2019",
        ),
        (
            exercise("rust", stubs={"Cargo.toml": '[dependencies]\nrand = "0.8"\n'}),
            "needs libraries that are not here: rand",
        ),
    ],
)
def test_what_cannot_run_here_is_not_run_and_says_what_is_missing(monkeypatch, made, why):
    monkeypatch.setattr("codling.evaluate.exercise_tests.version", lambda _: None)
    found = make_program(made, {}, 1.0, strict=True)
    assert isinstance(found, Verdict)
    assert found.skipped
    assert found.detail.startswith(why)


def test_an_answer_may_bring_new_files_but_not_those_that_run_the_tests():
    files = {"src/main/java/A.java": ""}
    said = "src/main/java/B.java\n```\nclass B {}\n```\nsrc/main/java/../C.java\n```\nx\n```"
    assert apply_whole(said, files | {"README": ""}) == {
        "src/main/java/A.java": "", "README": "", "src/main/java/B.java": "class B {}\n",
    }  # fmt: skip
    piece = "src/main/java/B.java\n```\n<<<<<<< SEARCH\n=======\nclass B {}\n>>>>>>> REPLACE\n```"
    assert (apply_pieces(piece, files) or {})["src/main/java/B.java"].strip() == "class B {}"
    assert apply_whole("B.java\n```\nclass B {}\n```", files | {"README": ""}) is None
    made = java_tests({"RunTests.java": "x", "sources.txt": "x", "ATest.java": "y"}, ["ATest"])
    assert made["files"] == {"ATest.java": "y", "sources.txt": "ATest.java"}
    assert "main.rs" not in rust_tests("a", {"main.rs": "x", "lib.rs": ""}, {})["files"]


@pytest.mark.parametrize(
    ("module", "common"),
    [
        ("import './a.js'", "require('./a.js');"),
        ("import * as a from './a';", "const a = require('./a');"),
        ("export {\n  a,\n  b as c,\n};", "\nexports.a = a;\nexports.c = b;"),
        ("export * from './a';", "Object.assign(exports, require('./a'));"),
        ("export async function f() {}", "async function f() {}\nexports.f = f;"),
        ("const text = 'we export it';", "const text = 'we export it';"),
    ],
)
def test_modules_in_the_form_of_commonjs(module, common):
    assert common_js(module) == f"'use strict';\n{common}\n"
