"""From a chat answer about a Python function to the program that it stands for.

Input: the answer, and what the prompt gives. Output: a whole program, with the prompt's header and
without what only demonstrates the function (prints, assertions, a main part).

Not here: other languages (chat_code.py) and DeepSeek-Coder's rule (deepseek_rules.py).
"""

import ast
import re
import textwrap
import warnings

from codling.grading.fences import find_blocks, strip_thoughts

_STARTS = re.compile(r"(?:def|class|import|from|async def|@\w)")


def python_answer(answer: str, prompt: str, name: str) -> str:
    """The program for "complete this function": the prompt's header (imports and helpers, which
    answers leave out), then the code; or the prompt and a body."""
    code = python_block(answer, name)
    if not _defines(code, name):
        return prompt.rstrip() + "\n" + _indent_body(code)
    start = re.search(rf"^def {re.escape(name)}\b", prompt, re.M)
    header = prompt[: start.start()] if start else ""
    return _move_future_first(f"{header}\n{strip_demonstrations(code, name)}")


def python_program(answer: str, name: str = "") -> str:
    """The program of an answer that needs no header."""
    return strip_demonstrations(python_block(answer, name), name)


def python_block(answer: str, name: str = "") -> str:
    """The code of an answer: the last block that defines `name`, with the helpers that other
    blocks define; else the first in Python; else the code between the prose."""
    text = strip_thoughts(answer).replace("\r\n", "\n").replace("\u00a0", " ")
    found = [b for b in find_blocks(text) if b.code.strip()]
    fitting = [b for b in found if b.is_in("python")] or [b for b in found if not b.language]
    fitting = [b for i, b in enumerate(fitting) if not b.repeats_one_of(fitting[:i])]
    if not fitting:
        return found[0].code if found else _skip_prose(text)
    defining = [b for b in fitting if _defines(b.code, name)]
    if not defining:
        return fitting[0].code
    chosen = defining[-1].code
    helpers = [b.code for b in fitting if b not in defining and _helps(b.code, chosen)]
    return "\n\n".join([*helpers, chosen])


def is_python(text: str) -> bool:
    """Whether Python's parser takes it.

    >>> is_python("x = 1"), is_python("x = ("), is_python("x = '\\0'")
    (True, False, False)
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a NUL, a lone surrogate
        return False
    return True


def strip_demonstrations(code: str, name: str) -> str:
    """Code without the statements that only try it out; as it is where it does not parse.

    >>> strip_demonstrations("def f(x):\\n    return x\\n\\nprint(f(1))\\n", "f")
    'def f(x):\\n    return x\\n'
    """
    code = textwrap.dedent(code)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code.partition("\nif __name__")[0]
    lines = code.split("\n")
    for node in tree.body:
        if _only_shows(node, name):
            for i in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[i] = ""
    kept = "\n".join(lines).rstrip() + "\n"
    return kept + _alias(tree, name)


def _defines(code: str, name: str) -> bool:
    return bool(name) and bool(
        re.search(rf"^[ \t]*(?:async def|def|class) {re.escape(name)}\b", code, re.M)
    )


def _helps(code: str, chosen: str) -> bool:
    names = re.findall(r"^(?:def|class)\s+(\w+)", code, re.M)
    names += re.findall(r"^(?:import|from\s+\S+\s+import)\s+(\w+)", code, re.M)
    return any(re.search(rf"\b{n}\b", chosen) and not _defines(chosen, n) for n in names)


def _indent_body(code: str) -> str:
    """A body at the indentation of a function."""
    lines = code.strip("\n").split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first[:1] in (" ", "\t"):
        return "\n".join(lines)
    return textwrap.indent("\n".join(lines), "    ")


def _skip_prose(text: str) -> str:
    """An answer without fences, from its first top-level line of code to the last line with which
    that still parses."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if _STARTS.match(line)), None)
    if first is None:
        return text
    for end in range(len(lines), first, -1):
        try:
            ast.parse("\n".join(lines[first:end]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return "\n".join(lines[first:end])
    return "\n".join(lines[first:])


def _only_shows(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.If) and "__name__" in ast.dump(node.test):
        return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name.startswith("test_") or node.name == "check"
    shown = {name, "print", "input", "exit", "quit", "main", "sys.exit", "unittest.main"}
    shown |= {"doctest.testmod", "pytest.main", "check", "test"}
    calls = (c for c in ast.walk(node) if isinstance(c, ast.Call))
    return any(ast.unparse(call.func) in shown for call in calls) or _tests(node)


def _tests(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).startswith("test_")


def _alias(tree: ast.Module, name: str) -> str:
    """A line that names the method of a class Solution, where there is no such function."""
    if not name or any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
            if name in methods and "__init__" not in methods:
                return f"\n\n{name} = {node.name}().{name}\n"
    return ""


def _move_future_first(code: str) -> str:
    """Move `from __future__` imports to the top, where Python wants them."""
    found = re.findall(r"^from __future__ import [^\n]+\n", code, re.M)
    if not found:
        return code
    return "".join(found) + re.sub(r"^from __future__ import [^\n]+\n", "", code, flags=re.M)
