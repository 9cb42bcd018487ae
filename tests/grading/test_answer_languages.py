"""grading/languages.toml: its rows are checked, and every language of the sandbox has one."""

import re
from typing import Any

import pytest

from codling.grading.languages import AnswerLanguage, language_of, languages, read_languages
from codling.sandbox.toolchains import toolchains

PATTERNS = (
    *("defines", "name", "parameters", "method", "imports", "dropped", "main", "declares", "shows"),
    *("opened", "stripped", "wrap_if"),
)


def test_every_language_that_is_run_has_a_row() -> None:
    own = {name for name, each in toolchains().items() if not each.of}
    assert set(languages()) == {"python", *own}
    assert {each.of for each in toolchains().values()} - {""} <= own


def test_no_two_languages_share_a_name_in_fences() -> None:
    names = [name for each in languages().values() for name in each.aliases]
    assert len(names) == len(set(names))


def test_every_pattern_is_a_regular_expression() -> None:
    for each in languages().values():
        for column in PATTERNS:
            re.compile(getattr(each, column), re.M)


def test_a_row_that_is_like_another_takes_its_columns() -> None:
    table = {
        "a": {"aliases": ["a"], "shows": "x", "exports": True},
        "b": {"aliases": ["b"], "like": "a", "exports": False},
    }
    found = read_languages(table)["b"]
    assert found == AnswerLanguage(key="b", aliases=("b",), shows="x", exports=False)


def test_a_language_without_a_row_is_read_as_c_like_code() -> None:
    assert language_of("zig").defines == r"\bNAME\b"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"aliases": ["x"], "mian": "x"}, "no column is called mian"),
        ({"aliases": ["x"], "like": "y"}, "there is no language y to be like"),
        ({"aliases": ["x"], "form": "tree"}, "form is none of plain, top, class, shell"),
    ],
)
def test_a_bad_row_of_the_languages_is_named(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=f"^languages.toml, x: {fault}$"):
        read_languages({"x": row})
