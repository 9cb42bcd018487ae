"""A user's own functions as exercises: those that the repository's unit tests call.

Input: a folder with Python code and tests (test_*.py or *_test.py: functions without parameters,
and unittest's classes). Output: Exercises whose tests are not yet known to pass: each function of a
module's top level that a test names, with a prompt up to the end of its docstring. The tests' file
is never among the files that an answer sees.

Not here: running the tests (tasks.py). Methods, other languages, and tests that need pytest's
fixtures or files that are no Python are left out.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_files import read_text
from codling.posttrain.tasks.exercise import Exercise, RepositoryModule
from codling.posttrain.tasks.published import Asking, ask_function, hide_some

_MAX_FILE_BYTES = 1_000_000
_MAX_SEEN_BYTES = 400_000
"""Of a repository's other modules, which every program gets: beyond it only the own package's."""
_MAX_CONTEXT = 2_000
"""Characters of a module that a prompt shows before the function."""
_ROOTS = ("src", "lib", "python")
_SKIPPED = frozenset((".git", ".venv", "venv", "node_modules", "build", "dist", "__pycache__"))


@dataclass(frozen=True)
class UnitTest:
    """One test: the statement that runs it, what it names, and its file's source."""

    name: str
    call: str
    names: frozenset[str]
    source: str


def read_repository(folder: Path, asking: Asking, hidden_share: float) -> Iterator[Exercise]:
    """The functions that tests name, each with the tests that name it.

    SourceError if the folder has no tests in Python.
    """
    texts = dict(_python_files(folder))
    tests = [test for path, text in texts.items() if _is_test(path) for test in find_tests(text)]
    if not tests:
        raise SourceError(
            f"{folder} has no unit tests in Python (test_*.py with functions or TestCase classes)"
        )
    modules = {_module_path(path): text for path, text in texts.items() if not _is_test(path)}
    for path, text in modules.items():
        for node in _functions(text):
            naming = [test for test in tests if node.name in test.names]
            if naming:
                others = _files_beside(path, modules)
                yield from _exercises(path, text, node, naming, others, asking, hidden_share)


def find_tests(source: str) -> list[UnitTest]:
    """The tests of a file: functions test_* without parameters, and methods of TestCases."""
    tree = _parse(source)
    found = []
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef) and _is_plain_test(node):
            found.append(UnitTest(node.name, f"{node.name}()", _names_in(node), source))
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(b) for b in node.bases):
            # What setUp and helpers of the class name counts for each of its tests.
            shared = [n for n in node.body if not getattr(n, "name", "").startswith("test")]
            beside = frozenset[str]().union(*map(_names_in, shared))
            for each in node.body:
                if isinstance(each, ast.FunctionDef) and each.name.startswith("test"):
                    call = f"{node.name}({each.name!r}).debug()"
                    names = _names_in(each) | beside
                    found.append(UnitTest(f"{node.name}.{each.name}", call, names, source))
    return found


def _exercises(  # noqa: PLR0913 -- a function's place, and what is asked about it
    path: str,
    text: str,
    node: ast.FunctionDef,
    tests: list[UnitTest],
    files: Mapping[str, str],
    asking: Asking,
    hidden_share: float,
) -> Iterator[Exercise]:
    """One exercise per file of tests: two files' setups need not go together."""
    lines = text.splitlines(keepends=True)
    start = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
    before, after = "".join(lines[:start]), "".join(lines[node.end_lineno :])
    header = "".join(lines[start : _body_start(node)])
    module = RepositoryModule(path=path, before=before, after=after, files=files)
    shown = before[-_MAX_CONTEXT:]
    asked = ask_function(header, asking)
    if asking == "base":
        cut = shown[shown.find("\n") + 1 :] if len(shown) < len(before) else shown
        asked = {**asked, "prompt": f"{cut}{asked['prompt']}"}
    for number, source in enumerate(dict.fromkeys(test.source for test in tests)):
        calls = [test.call for test in tests if test.source == source]
        visible, hidden = hide_some(calls, hidden_share if len(calls) > 1 else 0.0)
        yield Exercise(
            id=f"{path}:{node.name}" + (f":{number}" if number else ""),
            entry_point=node.name,
            tests=visible,
            hidden_tests=hidden,
            setup=source,
            group=f"{path}:{node.name}",
            solution="".join(lines[start : node.end_lineno]),
            module=module,
            **asked,
        )


def _python_files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in files_below(folder):
        name = path.relative_to(folder)
        is_own = not path.is_symlink() and not _SKIPPED & set(name.parts)
        if path.suffix == ".py" and is_own:
            try:
                text = read_text(path, SourceError, max_bytes=_MAX_FILE_BYTES)
            except SourceError:
                continue  # not UTF-8, or larger than a module is
            yield name.as_posix(), text


def _is_test(path: str) -> bool:
    *folders, name = path.split("/")
    named = name.startswith("test_") or name.removesuffix(".py").endswith("_test")
    return named or name == "conftest.py" or bool({"tests", "test"} & set(folders))


def _module_path(path: str) -> str:
    """Where a module lies below the folder that is imported from."""
    first, _, rest = path.partition("/")
    return rest if first in _ROOTS and rest else path


def _files_beside(path: str, modules: Mapping[str, str]) -> dict[str, str]:
    """The other modules of the repository, or where these are many of the own package."""
    others = {name: text for name, text in modules.items() if name != path}
    if sum(map(len, others.values())) > _MAX_SEEN_BYTES:
        package = path.partition("/")[0]
        others = {name: text for name, text in others.items() if name.startswith(f"{package}/")}
    return others


def _functions(text: str) -> Iterator[ast.FunctionDef]:
    tree = _parse(text)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("test"):
            yield node


def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_plain_test(node: ast.FunctionDef) -> bool:
    takes = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return node.name.startswith("test") and not takes


def _names_in(node: ast.AST) -> frozenset[str]:
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return frozenset(names | {e.attr for e in ast.walk(node) if isinstance(e, ast.Attribute)})


def _body_start(node: ast.FunctionDef) -> int:
    """The line after the signature and the docstring, counted from 0."""
    first = node.body[0]
    has_docstring = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    if has_docstring:
        return first.end_lineno or first.lineno
    return first.lineno - 1 if first.lineno > node.lineno else node.lineno
