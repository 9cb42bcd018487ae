"""Published rows as exercises, told apart one by one by their keys.

    MBPP          text (or prompt), code, test_list; the train rows 601 to 974
    HumanEval     prompt, entry_point, test, canonical_solution
    LeetCode      prompt, prompt_sft, test with my_solution
    GSM8K         question, answer that ends in "#### 72"
    MATH          problem, solution with a \\boxed{}, or answer
    our own       prompt with tests or an answer (exercise.py)

Input: a row, and whether it is asked as a text to be continued or as a chat. Output: an Exercise,
or None for a row that is left out. Every test is one assertion with what it needs; a third of them
is hidden.

Not here: whether the tests tell a right answer from an empty one (tasks.py).
"""

import ast
import builtins
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from codling.core.errors import SourceError
from codling.grading.extract import PYTHON_STOPS, extract_boxed
from codling.posttrain.tasks.exercise import Exercise, read_exercise

Asking = Literal["base", "chat"]
MBPP_TRAIN = range(601, 975)
"""The train rows by task_id, of the 974 (arXiv:2108.07732)."""
_COMPLETE = (
    "Complete the following Python function. Leave the given code unchanged and reply with the "
    "whole function in one code block.\n```python\n{}\n```"
)
_REASON = "{}\nReason step by step, and give the final answer in \\boxed{{}}."
_PYTHON_IMPORTS = (
    "import math, re, sys, copy, itertools, collections, heapq, functools, string, bisect\n"
    "from typing import *\nfrom collections import *\nfrom math import *\nfrom bisect import *\n"
    "from heapq import *\nfrom functools import *\nfrom itertools import *\n"
)
"""What LeetCode's answers may take for granted (evaluate/tasks/leetcode.py)."""


def read_published(
    row: object, where: str, asking: Asking, hidden_share: float, *, all_rows: bool = False
) -> Exercise | None:
    """The exercise of a row; None for a row of MBPP outside its train split, unless `all_rows`.

    SourceError if the row has none of the shapes, or its tests do not parse.
    """
    if not isinstance(row, Mapping):
        raise SourceError(f"{where} is no object")
    if "test_list" in row and not all_rows and row.get("task_id") not in MBPP_TRAIN:
        return None
    for keys, read in _SHAPES:
        if all(key in row for key in keys):
            try:
                return read(row, asking, hidden_share)
            except (SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise SourceError(f"{where} cannot be read as {'+'.join(keys)}: {error}") from None
    return read_exercise(row, where)


def hide_some(tests: Sequence[str], share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tests that decide rewards and the hidden ones, which are the last `share` of them, at
    least one of two.

    >>> hide_some(["a", "b", "c"], 0.34)
    (('a', 'b'), ('c',))
    """
    n_hidden = min(len(tests) - 1, max(1, int(len(tests) * share))) if share else 0
    return tuple(tests[: len(tests) - n_hidden]), tuple(tests[len(tests) - n_hidden :])


def ask_function(header: str, asking: Asking) -> dict[str, Any]:
    """The prompt for a function that `header` begins, in either way of asking.

    A text to be continued ends before the line break: tokenizers join it with the indentation that
    follows, and a model that finds it alone ends the function there.
    """
    if asking == "chat":
        content = _COMPLETE.format(header.strip())
        return {"prompt": ({"role": "user", "content": content},), "begin": header}
    text = header.rstrip()
    return {"prompt": text, "begin": text, "stop": PYTHON_STOPS}


def split_checks(source: str, name: str) -> tuple[str, list[str]]:
    """What a test file sets up, and its tests one by one, which call `name`.

    The statements of a function `check(candidate)` that are assertions become tests of their own,
    each with the statements before it that are none. SyntaxError if the file does not parse.
    """
    tree = ast.parse(source)
    checks = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    if not checks:
        return _split_statements(tree.body)
    (argument,) = checks[-1].args.args
    setup = [n for n in tree.body if n not in checks and not _calls_check(n)]
    body = [_Renamer(argument.arg, name).visit(node) for node in checks[-1].body]
    more, tests = _split_statements(body)
    return ast.unparse(ast.Module(setup, [])), [f"{more}\n{test}".strip() for test in tests]


def _split_statements(body: Sequence[ast.stmt]) -> tuple[str, list[str]]:
    """The statements that come before the first assertion, and each assertion with those between
    it and the one before."""
    setup: list[str] = []
    waiting: list[str] = []
    tests: list[str] = []
    for node in body:
        waiting.append(ast.unparse(node))
        if any(isinstance(each, ast.Assert) for each in ast.walk(node)):
            tests.append("\n".join(waiting))
            waiting = []
        elif not tests and isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef):
            setup.append(waiting.pop())
    return "\n".join(setup), tests


class _Renamer(ast.NodeTransformer):
    """Replaces a name by another."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """The name, or the new one."""
        return ast.Name(self._new, node.ctx) if node.id == self._old else node


def _calls_check(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "check"


def _read_mbpp(row: Mapping[str, Any], asking: Asking, hidden_share: float) -> Exercise:
    tests = [*row["test_list"]]
    task = str(row.get("text") or row["prompt"])
    name = called_name(tests[0])
    shown, hidden = hide_some(tests, hidden_share)
    text = (
        f"You are an expert Python programmer, and here is your task: {task} "
        f"Your code should pass this test:\n\n{tests[0]}\n"
    )
    asked: dict[str, Any] = {"prompt": text + "[BEGIN]\n", "stop": ("[DONE]", "\n```")}
    if asking == "chat":
        closing = "Reply with the Python code in one code block."
        asked = {"prompt": ({"role": "user", "content": f"{text}\n{closing}"},)}
    return Exercise(
        id=f"mbpp/{row['task_id']}",
        entry_point=name,
        tests=shown,
        hidden_tests=(*hidden, *row.get("challenge_test_list", ())),
        setup=row.get("test_setup_code") or "\n".join(row.get("test_imports", ())),
        solution=row["code"].replace("\r", ""),
        **asked,
    )


def _read_humaneval(row: Mapping[str, Any], asking: Asking, hidden_share: float) -> Exercise:
    setup, tests = split_checks(row["test"], row["entry_point"])
    shown, hidden = hide_some(tests, hidden_share)
    return Exercise(
        id=str(row["task_id"]),
        entry_point=row["entry_point"],
        tests=shown,
        hidden_tests=hidden,
        # Some tests use the helpers that the prompt defines.
        setup=f"{row['prompt']}    pass\n{setup}",
        solution=row["prompt"] + row["canonical_solution"],
        **ask_function(row["prompt"], asking),
    )


def _read_leetcode(row: Mapping[str, Any], asking: Asking, hidden_share: float) -> Exercise:
    source = re.sub(r"(?m)^\s*my_solution\s*=.*$", "", row["test"])
    (name,) = set(re.findall(r"\bmy_solution\.(\w+)\(", source))
    setup, tests = split_checks(source.replace("my_solution.", ""), name)
    shown, hidden = hide_some(tests, hidden_share)
    asked: dict[str, Any] = {"prompt": row["prompt"].rstrip(), "begin": row["prompt"].rstrip()}
    if asking == "chat":
        asked = {"prompt": ({"role": "user", "content": row["prompt_sft"]},)}
        asked["begin"] = row["prompt"]
    return Exercise(
        id=f"leetcode/{row['task_id']}",
        entry_point=name,
        tests=shown,
        hidden_tests=hidden,
        setup=f"{_PYTHON_IMPORTS}{setup}",
        stop=("\n```", "\nclass ", "\nif __name__", "\nprint(", "\n# Test", "\ndef "),
        **asked,
    )


def _read_gsm8k(row: Mapping[str, Any], asking: Asking, _: float) -> Exercise:
    return _ask_mathematics(row["question"], str(row["answer"]), asking)


def _read_math(row: Mapping[str, Any], asking: Asking, _: float) -> Exercise:
    answer = row.get("answer") or extract_boxed(row["solution"])
    if not answer:
        raise ValueError("its solution has no \\boxed{}")
    return _ask_mathematics(row["problem"], str(answer), asking)


def _ask_mathematics(question: str, answer: str, asking: Asking) -> Exercise:
    prompt: Any = f"Question: {question}\nAnswer: Let's think step by step."
    if asking == "chat":
        prompt = ({"role": "user", "content": _REASON.format(question)},)
    return Exercise(
        id=question,
        prompt=prompt,
        stop=("\nQuestion:",),
        answer=answer.rpartition("####")[2].strip().replace(",", "")
        if "####" in answer
        else answer,
    )


def called_name(test: str) -> str:
    """The function that an assertion calls: the first that is not one of Python's own.

    >>> called_name("assert sorted(small(1)) == [1]")
    'small'
    """
    calls = re.findall(r"\b(\w+)\(", test)
    return next((name for name in calls if name not in vars(builtins)), "")


_SHAPES: tuple[
    tuple[tuple[str, ...], Callable[[Mapping[str, Any], Asking, float], Exercise]], ...
] = (
    (("code", "test_list"), _read_mbpp),
    (("prompt", "prompt_sft", "test"), _read_leetcode),
    (("prompt", "entry_point", "test", "canonical_solution"), _read_humaneval),
    (("question", "answer"), _read_gsm8k),
    (("problem", "solution"), _read_math),
)
