"""What is cut out of answers, and which mathematical answers are equal."""

import pytest

from codling.evaluate.extract import boxed, cut_at, fenced, last_number, python_answer
from codling.evaluate.math_equal import equal

PROMPT = 'import math\n\ndef area(r):\n    """The area."""\n'


def test_a_base_model_is_cut_at_the_next_top_level_statement():
    assert cut_at("    return 1\n\nprint(f())", ("\ndef", "\nprint")) == "    return 1\n"


def test_the_first_code_block_counts_even_unclosed():
    assert fenced("a\n```py\nx = 1\n```\n```\ny\n```") == "x = 1"
    assert fenced("```\nx = 1\ny = 2") == "x = 1\ny = 2"
    assert fenced("no block") == "no block"


def test_a_chat_answer_keeps_the_prompts_imports():
    block = "def area(r):\n    return math.pi * r * r\n\nif __name__ == '__main__':\n    1"
    answer = f"Here:\n```python\n{block}\n```"
    code = python_answer(answer, PROMPT, "area")
    scope = {}
    exec(code, scope)
    assert round(scope["area"](1), 2) == 3.14
    assert "__main__" not in code


def test_an_answer_with_only_the_body_continues_the_prompt():
    scope = {}
    exec(python_answer("```python\n    return math.pi\n```", PROMPT, "area"), scope)
    assert round(scope["area"](1), 2) == 3.14


def test_boxes_and_numbers_are_found():
    assert boxed(r"so \boxed{1} and \boxed{\frac{a}{b}}.") == r"\frac{a}{b}"
    assert boxed("none") is None
    assert last_number("first 3, then -1,250.5.") == "-1250.5"


@pytest.mark.parametrize(
    ("got", "target"),
    [
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac12", "0.5"),
        ("1,200", "1200.0"),
        (r"50\%", "0.5"),
        ("x = 3", "3"),
        (r"\text{Monday}", "Monday"),
        ("(1, 2)", "( 1,2.0 )"),
        ("12 cm", "12"),
        (r"90^\circ", "90"),
    ],
)
def test_equal_answers_in_different_spellings(got, target):
    assert equal(got, target)


@pytest.mark.parametrize(
    ("got", "target"), [("3", "4"), ("(1,2)", "(2,1)"), ("", "0"), ("x", "3"), ("0.5", "0.6")]
)
def test_unequal_answers(got, target):
    pytest.importorskip("sympy")
    assert not equal(got, target)


def test_expressions_are_compared_by_sympy():
    pytest.importorskip("sympy")
    assert equal(r"2\sqrt{3}", r"\sqrt{12}")
    assert equal("x^2+2x+1", "(x+1)^2")
    assert not equal("x^2", "x^3")
