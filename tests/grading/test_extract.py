"""What is cut out of answers, and which mathematical answers are equal."""

from typing import Any

import pytest

from codling.grading.deepseek_rules import deepseek_block, deepseek_program
from codling.grading.extract import (
    cut_at,
    extract_block,
    extract_boxed,
    extract_stated,
    last_number,
)
from codling.grading.fences import find_blocks, strip_thoughts
from codling.grading.python_code import python_answer

PROMPT = 'import math\n\ndef area(r):\n    """The area."""\n'


def test_a_base_model_is_cut_at_the_next_top_level_statement():
    assert cut_at("    return 1\n\nprint(f())", ("\ndef", "\nprint")) == "    return 1\n"


def test_the_first_code_block_counts_even_unclosed():
    assert extract_block("a\n```py\nx = 1\n```\n```\ny\n```") == "x = 1"
    assert extract_block("```\nx = 1\ny = 2") == "x = 1\ny = 2"
    assert extract_block("no block") == "no block"


def test_a_chat_answer_keeps_the_prompts_imports():
    block = "def area(r):\n    return math.pi * r * r\n\nif __name__ == '__main__':\n    1"
    answer = f"Here:\n```python\n{block}\n```"
    code = python_answer(answer, PROMPT, "area")
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert round(scope["area"](1), 2) == 3.14
    assert "__main__" not in code


def test_an_answer_with_only_the_body_continues_the_prompt():
    scope: dict[str, Any] = {}
    exec(python_answer("```python\n    return math.pi\n```", PROMPT, "area"), scope)
    assert round(scope["area"](1), 2) == 3.14


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nx\n```", [("python", "x")]),
        ("~~~\nx\n```\ny\n~~~", [("", "x\n```\ny")]),
        ("`````js\nx\n```\ny\n`````\n```\nz\n```", [("js", "x\n```\ny"), ("", "z")]),
        ("- a:\n  ```py\n  if x:\n    y\n  ```", [("py", "if x:\n  y")]),
        ("1. ```c++\n   x\n   ```", [("c++", "x")]),
        ("> ```sh\n> x\n> ```", [("sh", "x")]),
        ("```js\nconst a = `b`;\nconst c = ``;\n```", [("js", "const a = `b`;\nconst c = ``;")]),
        ("```python title=a.py\nx\n```", [("python", "x")]),
        ("```{.python}\nx\n```", [("python", "x")]),
        ("```java\nx", [("java", "x")]),
        ("```java\nx```\nDone.", [("java", "x")]),
        ("say ```x = 1``` there", [("", "x = 1")]),
        (
            '```\n"""\n    ```\n    a\n    ```\n"""\n```',
            [("", '"""\n    ```\n    a\n    ```\n"""')],
        ),
        ("no code", []),
    ],
)
def test_blocks_are_found_as_markdown_has_them(text, found):
    assert [(b.language, b.code) for b in find_blocks(text)] == found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think>b", "b"),
        ("<think>a\n</think>\nb <think>c</think>", "\nb "),
        ("a</think>b", "b"),
        ("<think>never ends", ""),
        ("x = '<think>'", "x = '<think>'"),
        ("<reasoning>a</reasoning>b", "b"),
    ],
)
def test_thoughts_are_no_answer(text, left):
    assert strip_thoughts(text) == left


def test_the_block_in_the_right_language_counts():
    text = "```bash\npip install x\n```\n```json\n{}\n```\n```python\nx = 1\n```"
    assert extract_block(text) == "x = 1"
    assert extract_block(text, "sh") == "pip install x"
    assert extract_block("```json\n{}\n```\n```\nx = 1\n```") == "x = 1"


CPP = "#include<vector>\n// doubles\nlong twice(long n) {\n"


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        (
            "```cpp\nlong add(long a) {\n    return a;\n}\nlong twice(long n) {\n    return 1;\n}\n"
            "int main() { }\n```",
            "#include<vector>\n// doubles\nlong twice(long n) {\n    return 1;\n",
        ),
        (
            "```CPP\nlong Twice(long n) {\n  1;\n}\n```",
            "#include<vector>\n// doubles\nlong Twice(long n) {\n  1;\n",
        ),
        ("```c++\nx\n```", f"{CPP}\n```c++\nx\n```"),
        (
            "```cpp\nlong twice(long k) {\n  2;\n}\n```",
            "#include<vector>\n// doubles\nlong twice(long k) {\n  2;\n",
        ),
    ],
)
def test_deepseeks_rule_is_as_published(answer, program):
    assert deepseek_program(CPP, answer, "cpp", "cpp") == program


def test_deepseeks_rule_puts_the_brace_back_and_keeps_python_as_it_is():
    js = deepseek_program(
        "//x\nfunction f(n){\n",
        "```JavaScript\nfunction f(n){\n  1\n}\nf()\n```",
        "js",
        "javascript",
    )
    assert js == "//x\nfunction f(n){\n  1\n}\n"
    answer = "```python\ndef area(r):\n    return 1\n```"
    assert deepseek_program(PROMPT, answer, "python", "python") == (
        "import math\ndef area(r):\n    return 1\n\n"
    )
    assert deepseek_block("a ```python\nx\n``` b") == "x\n"
    assert deepseek_block("a") == "a"


def test_boxes_and_numbers_are_found():
    assert extract_boxed(r"so \boxed{1} and \boxed{\frac{a}{b}}.") == r"\frac{a}{b}"
    assert extract_boxed("none") is None
    assert last_number("first 3, then -1,250.5.") == "-1250.5"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 18.", "18"),
        ("The answer is 18, which is what she makes.", "18"),
        ("The answer is **18**.", "18"),
        ("**The answer is:** 18", "18"),
        ("Final answer: \\( 18 \\)", "\\( 18 \\)"),
        ("The answer is $\\frac{1}{2}$ because", "\\frac{1}{2}"),
        ("The answer is $5 per day.", "$5 per day"),
        ("the answer to the question is 1,200 dollars", "1,200 dollars"),
        ("The answer is 3.5. Bye.", "3.5"),
        ("The answer is 3. No: the answer is 4 (four).", "4"),
        ("The answer is (1, 2).", "(1, 2)"),
        ("She has 3 left.\n#### 3", "3"),
        ("The answer is therefore 18.", "18"),
        ("The answer is approximately 3.14", "3.14"),
        ("The answer is $18 per day, or $540 per month.", "$18 per day"),
        ("The answer is 18!", "18"),
        ("The answer is 18 dollars, and she is happy.", "18 dollars"),
        ("The answer is 2, 3 and 5.", "2, 3 and 5"),
        ("The answer is 5 + 13 = 18.", "18"),
        ("The answer is y = 2x + 3.", "y = 2x + 3"),
        ("The answer is 18\N{EM DASH}every day.", "18"),
        ("the answer is $\\$18$", "\\$18"),
        ("nothing of the kind", None),
    ],
)
def test_the_value_is_taken_out_of_its_sentence(text, answer):
    said = extract_stated(text)
    assert said == (answer.removeprefix("\\( ").removesuffix(" \\)") if answer else None)
