"""Answers of chat models in many shapes: the right ones pass, the same ones with a wrong factor
fail."""

import shutil

import pytest

from codling.core.errors import ToolMissingError
from codling.grading.chat_code import chat_program
from codling.grading.python_code import python_answer
from codling.sandbox.executor import Executor, Program
from evaluate.chat_shapes import SHAPES
from evaluate.chat_shapes_python import PYTHON_PROMPT, PYTHON_SHAPES, PYTHON_TESTS

COMPILED = ("java", "cs", "cpp", "ts", "go", "rs")


@pytest.fixture(scope="module")
def executor():
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Executor(2) as made:
        yield made


def outcomes(executor, language, factor, strict=True):
    prompt, tests, shapes = SHAPES[language]
    programs = {}
    for shape, answer in shapes.items():
        code = chat_program(prompt, answer.replace("@@", factor), language, tests)
        programs[shape] = Program(language=language, source=f"{code}\n{tests}", strict=strict)
    try:
        executor.require(language)
    except ToolMissingError as error:
        pytest.skip(str(error))
    found = {list(programs)[i]: o for i, o in executor.map(programs.values())}
    return {shape: f"{o.status} {o.detail}".strip() for shape, o in found.items()}


LANGUAGES = [
    pytest.param(name, marks=pytest.mark.slow if name in COMPILED else ()) for name in SHAPES
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_right_answers_pass_in_every_shape(executor, language):
    assert set(outcomes(executor, language, "2").values()) == {"passed"}


@pytest.mark.parametrize("language", ["js", "ts", "cs"])
@pytest.mark.slow
def test_right_answers_pass_by_deepseeks_verdicts_too(executor, language):
    assert set(outcomes(executor, language, "2", strict=False).values()) == {"passed"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_wrong_answers_fail_in_every_shape(executor, language):
    assert "passed" not in outcomes(executor, language, "3").values()


def python_passes(shape, factor):
    code = python_answer(PYTHON_SHAPES[shape].replace("@@", factor), PYTHON_PROMPT, "twice")
    try:
        exec(code + "\n" + PYTHON_TESTS, {"__name__": "answer"})
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("shape", PYTHON_SHAPES)
def test_python_answers_pass_when_right_and_fail_when_wrong(shape):
    assert python_passes(shape, "2")
    assert not python_passes(shape, "3")


def test_there_are_more_than_sixty_shapes():
    assert sum(len(shapes) for _, _, shapes in SHAPES.values()) + len(PYTHON_SHAPES) > 60
