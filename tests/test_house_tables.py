"""Rules of the house for tables and settings: data beside the code, each thing in one place."""

import ast

import pytest

from package_trees import called, trees

MAX_ENTRIES = 50


def test_long_tables_are_data_beside_the_code() -> None:
    found = {
        module
        for module, tree in trees().items()
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
        if len(getattr(node, "elts", getattr(node, "keys", ()))) > MAX_ENTRIES
    }
    assert found == set()


def test_every_table_is_read_in_one_place() -> None:
    read = [
        tuple(ast.unparse(argument) for argument in node.args)
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) == "packaged_table"
    ]
    assert [each for each in read if read.count(each) > 1] == []


ASKS_FOR_A_LANGUAGE = {
    "core/languages/table.py": "running text, which is no language of the table",
    "core/languages/hints.py": "a .h is in the language of its neighbours",
    "sandbox/executor.py": "the one language that needs no toolchain",
    "evaluate/tasks/fim_santacoder.py": "a setting, and two spellings of it",
}
"""Modules that compare a language with one that they name; elsewhere it is a row or a table."""


def asks_for_a_language(tree: ast.Module) -> bool:
    """Whether a module compares something called language with a string or a constant."""
    return any(
        any(getattr(each, "attr", getattr(each, "id", "")).endswith("language") for each in sides)
        and any(names_a_value(each) for each in sides)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for sides in [[node.left, *node.comparators]]
    )


def names_a_value(node: ast.expr) -> bool:
    """Whether an expression is a text or a list of some, or a constant like PROSE."""
    name = getattr(node, "attr", getattr(node, "id", ""))
    is_set = isinstance(node, ast.Tuple | ast.List | ast.Set)
    return (isinstance(node, ast.Constant) and bool(node.value)) or (
        name == "PROSE" or name.endswith("_LANGUAGE") or (is_set and any(node.elts))  # type: ignore[attr-defined]
    )


def test_what_differs_between_languages_stands_in_tables() -> None:
    found = {module for module, tree in trees().items() if asks_for_a_language(tree)}
    assert found == set(ASKS_FOR_A_LANGUAGE)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if file.language == 'python': pass", True),
        ("if language in ('json', 'yaml'): pass", True),
        ("if language in ROWS: pass", False),
        ("if language: pass", False),
    ],
)
def test_the_search_for_languages_knows_tables(source: str, found: bool) -> None:
    assert asks_for_a_language(ast.parse(source)) == found
