"""Machine code that numba keeps is made anew when what it was made from changes.

numba keeps what it has compiled until the file of the compiled function changes, and looks neither
at compiled functions nor at constants that come from other files. So a file that takes such things
names their digest in its docstring: who changes them must change it, and thereby the file.
"""

import ast
import hashlib
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SRC = Path(__file__).parents[2] / "src"
COMPILED = sorted(
    str(path.relative_to(SRC).with_suffix("")).replace("/", ".")
    for path in SRC.rglob("*.py")
    if "cache=True" in path.read_text()
)


def others_of(module: ModuleType) -> dict[str, str]:
    """What the compiled functions of a module take from other files, by name."""
    found: dict[str, str] = {}
    waiting = [each for each in vars(module).values() if hasattr(each, "py_func")]
    seen: set[int] = set()
    while waiting:
        function = waiting.pop().py_func
        if id(function) in seen:
            continue
        seen.add(id(function))
        place = f"{function.__module__}.{function.__qualname__}"
        if function.__module__ != module.__name__:
            found[place] = inspect.getsource(function)
        for name in sorted(names_in(function.__code__)):
            value = function.__globals__.get(name)
            if hasattr(value, "py_func"):
                waiting.append(value)
            elif (text := constant_text(value)) and not stands_here(function, name, module):
                found[f"{place}: {name}"] = text
    return found


def names_in(code: Any) -> set[str]:
    """Names that a function reads from its module, with those of the functions inside it."""
    inner = (each for each in code.co_consts if inspect.iscode(each))
    return set(code.co_names).union(*(names_in(each) for each in inner))


def constant_text(value: object) -> str:
    """A constant that compiling makes part of the code, as text; empty for anything else."""
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, tuple):  # one that was made of a set has another order each time
        return repr(sorted(map(repr, value)))
    return repr(value) if isinstance(value, bool | int | float | str | bytes) else ""


def stands_here(function: Any, name: str, module: ModuleType) -> bool:
    """Whether a constant is written out in the file of the module itself."""
    if function.__module__ != module.__name__:
        return False
    source = inspect.getsource(module)
    for line in source.splitlines():
        targets, equals, value = line.partition(" = ")
        if equals and name in targets.replace(",", " ").split():
            return not any(word in value for word in borrowed_names(source))
    return True


def borrowed_names(source: str) -> set[str]:
    """Names that a file imports from this package."""
    return {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("codling")
        for alias in node.names
    }


def digest(others: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(others.items())).encode()).hexdigest()[:16]


@pytest.mark.long
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_file_names_the_state_of_what_it_takes_from_others(name: str) -> None:
    module = importlib.import_module(name)
    if others := others_of(module):
        line = f"Digest of what is compiled in from other files: {digest(others)}."
        assert line in (module.__doc__ or ""), (
            f"{name} compiles in {', '.join(sorted(others))}; end its docstring with `{line}`, so "
            "that numba compiles it anew"
        )


def test_a_changed_constant_or_callee_changes_the_digest() -> None:
    module = importlib.import_module("codling.corpus.marks_kernel")
    others = others_of(module)
    assert any("may_assign" in name for name in others)
    assert any("_EMAIL" in name for name in others)
    for name in others:
        assert digest({**others, name: others[name] + " "}) != digest(others)
