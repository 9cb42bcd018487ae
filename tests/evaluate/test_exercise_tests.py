"""Tests of exercises in Go and JavaScript run on edited files, without Jest and modules."""

from typing import Any

import pytest

from codling.evaluate.exercise_tests import common_js
from codling.evaluate.exercise_tests import test_program as make_program
from codling.evaluate.exercises import EditExercise
from codling.evaluate.task import Verdict
from codling.sandbox.executor import Executor, Program

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


def test_a_language_without_its_tools_is_not_run():
    made = EditExercise(
        name="x", language="rust", instructions="", stubs={}, tests={}, example={}, others={}
    )
    found = make_program(made, {"src/lib.rs": ""}, 1.0, strict=True)
    assert isinstance(found, Verdict)
    assert (found.skipped, found.detail) == (True, "no cargo in the sandbox")


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
