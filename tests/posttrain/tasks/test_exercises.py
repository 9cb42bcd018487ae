"""Rows with tests: every published shape is read, and a repository gives what its tests tell."""

import json
import shutil
from pathlib import Path

import pytest

from codling.core.errors import ConfigError, SourceError
from codling.posttrain.tasks.exercise import read_exercise, read_exercises, to_row
from codling.posttrain.tasks.families import families, make_exercises
from codling.posttrain.tasks.published import read_published, split_checks
from codling.posttrain.tasks.repository import find_tests, read_repository
from codling.posttrain.tasks.tasks import TasksConfig, tasks

MBPP = {
    "task_id": 700,
    "text": "Write a function to double a number.",
    "code": "def double(x):\r\n  return 2 * x",
    "test_setup_code": "",
    "test_list": [f"assert double({i}) == {2 * i}" for i in (1, 2, 3)],
    "challenge_test_list": [],
}
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "N = 4\ndef check(candidate):\n    y = 8\n    assert candidate(N) == y\n"
    "    assert candidate(1) == 2\n",
}
LEETCODE = {
    "task_id": "double",
    "prompt": '"""\nDouble.\n"""\nclass Solution:\n    def double(self, x: int) -> int:\n        ',
    "prompt_sft": "Please complete class Solution",
    "test": '\nmy_solution = Solution()\n\ntest_input = { "x": 1 }\n'
    'assert my_solution.double(**test_input) == 2\n\ntest_input = { "x": 2 }\n'
    "assert my_solution.double(**test_input) == 4\n",
}
GSM8K = {"question": "1+1?", "answer": "It is <<1+1=2>>2.\n#### 1,002"}
MATH = {"problem": "Half of 1?", "solution": r"It is $\boxed{\frac{1}{2}}$."}


def test_the_last_third_of_the_tests_is_hidden() -> None:
    made = read_published(MBPP, "row", "base", 0.34)
    assert made is not None
    assert (made.id, made.entry_point) == ("mbpp/700", "double")
    assert made.tests == ("assert double(1) == 2", "assert double(2) == 4")
    assert made.hidden_tests == ("assert double(3) == 6",)
    assert "double(3)" not in str(made.prompt)


def test_rows_of_mbpp_that_the_benchmark_asks_are_left_out() -> None:
    assert read_published(MBPP | {"task_id": 11}, "row", "base", 0.3) is None
    assert read_published(MBPP | {"task_id": 11}, "row", "base", 0.3, all_rows=True) is not None


def test_assertions_of_check_become_tests_with_what_they_need() -> None:
    setup, tests = split_checks(HUMANEVAL["test"], "double")
    assert setup == "N = 4"
    assert tests == ["y = 8\nassert double(N) == y", "assert double(1) == 2"]


def test_methods_of_solution_are_called_as_functions() -> None:
    made = read_published(LEETCODE, "row", "chat", 0.5)
    assert made is not None
    assert made.entry_point == "double"
    assert made.tests == ("test_input = {'x': 1}\nassert double(**test_input) == 2",)
    assert made.hidden_tests == ("test_input = {'x': 2}\nassert double(**test_input) == 4",)


def test_mathematics_has_an_answer_in_place_of_tests() -> None:
    made = [read_published(row, "row", "chat", 0.3) for row in (GSM8K, MATH)]
    assert [each and each.answer for each in made] == ["1002", r"\frac{1}{2}"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([], "row is no object"),
        ({"text": "x"}, "prompt is neither"),
        ({"prompt": "x"}, "neither tests nor an answer"),
        ({"prompt": "x", "tests": ["assert f()"]}, "entry_point"),
        ({"prompt": "x", "tests": "assert f()"}, "tests is not a list of texts"),
        (HUMANEVAL | {"test": "def check(:"}, "cannot be read as prompt"),
        (MATH | {"solution": "none"}, "boxed"),
    ],
)
def test_a_bad_row_is_one_line(row: object, fault: str) -> None:
    with pytest.raises(SourceError, match=fault):
        read_published(row, "row", "base", 0.3)


OWN = {"prompt": "def f():\n", "entry_point": "f", "tests": ["assert f()"]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"tests": ["assert ("]}, "tests is no Python"),
        ({"tests": ["assert f() == '\x00'"]}, "tests is no Python"),
        ({"hidden_tests": ["assert '\ud800'"]}, "hidden_tests is no Python"),
        ({"tests": [" "]}, "tests are blank"),
        ({"entry_point": "not an id!"}, "entry_point is no Python"),
        ({"answer": ""}, "answer is empty"),
        ({"answer": float("nan")}, "answer is empty"),
        ({"module": {"path": "../x.py", "before": "", "after": ""}}, "no path inside"),
        (
            {"module": {"path": "x.py", "before": "", "after": "", "files": {"/a/../y": ""}}},
            "no path inside",
        ),
    ],
)
def test_a_row_that_no_answer_can_pass_is_one_line(change: dict[str, object], fault: str) -> None:
    assert read_exercise(OWN, "here").entry_point == "f"
    with pytest.raises(SourceError, match=f"^here: .*{fault}"):
        read_exercise(OWN | change, "here")


def test_rows_are_read_as_they_were_written() -> None:
    for row in (MBPP, HUMANEVAL, LEETCODE, GSM8K):
        made = read_published(row, "row", "chat", 0.3)
        assert made is not None
        assert read_exercise(json.loads(json.dumps(to_row(made))), "here") == made


def test_made_up_families_differ_and_are_held_out_together() -> None:
    made = list(make_exercises(150, 3, "base"))
    assert len({each.id for each in made}) == len(made) == 150
    assert {each.group for each in made} == set(families())
    assert made == list(make_exercises(150, 3, "base"))


def repository(folder: Path) -> Path:
    files = {
        "src/shop/__init__.py": "",
        "src/shop/rates.py": "RATE = 3\n",
        "src/shop/prices.py": "from shop.rates import RATE\n\n\ndef price(n):\n"
        '    """The price of n."""\n    return n * RATE\n\n\n'
        "def nothing(n):\n    return None\n\n\ndef lonely(n):\n    return n\n",
        "tests/test_prices.py": "import unittest\nfrom shop.prices import nothing, price\n"
        "def test_price():\n    assert price(2) == 6\n"
        "def test_other():\n    assert price(0) == 0\n"
        "def test_nothing():\n    nothing(1)\n"
        "def test_with(tmp_path):\n    assert price(1) == 3\n"
        "class Prices(unittest.TestCase):\n    def test_three(self):\n"
        "        self.assertEqual(price(3), 9)\n",
        "tests/test_broken.py": "def (\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_functions_that_unit_tests_name_are_exercises(tmp_path: Path) -> None:
    found = {each.entry_point: each for each in read_repository(repository(tmp_path), "base", 0.34)}
    assert set(found) == {"price", "nothing"}
    price = found["price"]
    assert price.tests == ("test_price()", "test_other()")
    assert price.hidden_tests == ("Prices('test_three').debug()",)
    assert price.module is not None
    assert price.module.path == "shop/prices.py"
    assert "return n * RATE" not in json.dumps(to_row(price)["module"])
    assert not [name for name in price.module.files if "test" in name]
    assert str(price.prompt).endswith('    """The price of n."""')


def test_tests_with_parameters_are_no_tests_that_can_run() -> None:
    names = [each.name for each in find_tests("def test_a(x): pass\nasync def test_b(): pass\n")]
    assert names == []


@pytest.mark.long
def test_only_tests_that_tell_a_right_answer_from_an_empty_one_are_kept(tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    rows = tmp_path / "rows.jsonl"
    wrong = MBPP | {"task_id": 701, "code": "def double(x): return 3 * x"}
    none = MBPP | {"task_id": 702, "test_list": ["assert double(1) is None"] * 3}
    rows.write_text("".join(json.dumps(row) + "\n" for row in (MBPP, wrong, none, GSM8K)))
    config = TasksConfig(
        sources=(rows, repository(tmp_path / "repository")),
        out_dir=tmp_path / "out",
        made_up=3,
        workers=1,
    )
    made = tasks(config)
    found = {each.id: each for each in read_exercises(made.path)}
    assert set(found) >= {"mbpp/700", "1+1?", "shop/prices.py:price"}
    assert not set(found) & {"mbpp/701", "mbpp/702", "shop/prices.py:nothing"}
    assert made.counts["tasks"] == len(found) == 6


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sources is empty"):
        TasksConfig()
    with pytest.raises(SourceError, match="no file or folder"):
        tasks(TasksConfig(sources=(tmp_path / "absent",), out_dir=tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="has no unit tests in Python"):
        tasks(TasksConfig(sources=(tmp_path / "empty",), out_dir=tmp_path / "out"))
