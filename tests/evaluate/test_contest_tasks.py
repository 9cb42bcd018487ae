"""Contest problems: stdin and calls, as LiveCodeBench, APPS and USACO publish them; outputs that
are right, wrong, late, and outputs that the program cannot read."""

import base64
import json
import pickle
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import ConfigError, SourceError
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.contest import run_on_stdin
from codling.evaluate.contest_files import published_cases
from codling.evaluate.task import Problem
from codling.evaluate.tasks import find_task
from codling.sandbox.cases import RunCase, is_expected
from codling.sandbox.executor import Executor

ADD = "a, b = map(int, input().split())\nprint(a + b)"
TWICE = "class Solution:\n    def twice(self, xs, k):\n        return tuple(x * k for x in xs)"


@pytest.fixture(scope="module")
def executor():
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Executor(1) as opened:
        yield opened


@pytest.mark.parametrize(
    ("said", "expected", "near", "right"),
    [
        ("1 2 \n\n", "1 2", 0.0, True),
        ("1.50", "1.5", 0.0, True),
        ("0.33", "0.3301", 0.0, False),
        ("0.33", "0.3301", 1e-2, True),
        ("YES", "yes", 0.0, False),
        ("1\n2", "1 2", 0.0, False),
        ("", "1", 0.0, False),
        ("1 2 3", "1 2", 1.0, False),
    ],
)
def test_outputs_are_compared_line_by_line_and_numbers_by_value(said, expected, near, right):
    assert is_expected(said, RunCase(stdin="", expected=(expected,), near=near)) is right


def test_results_of_calls_are_compared_as_values():
    case = RunCase(stdin="", expected=("[1, 2.0]",), form="json")
    assert is_expected("debug\n[1.0, 2]", case)
    assert not is_expected("[2, 1]", case)
    assert not is_expected("", case)


def test_a_program_runs_on_every_case_and_never_sees_what_is_expected(executor):
    pairs = [("1 2", ["3"]), ("4 5", ["8", "9"])]
    assert executor.run(run_on_stdin(ADD, pairs, 20.0)).passed
    wrong = executor.run(run_on_stdin("print(3)", pairs, 20.0))
    assert (wrong.status, wrong.detail) == ("failed", "wrong output for case 2 of 2: 3")
    left = executor.run(run_on_stdin("print(3)\nraise SystemExit(1)", pairs, 20.0))
    assert left.status == "failed"


@pytest.mark.slow
def test_compiled_programs_are_compiled_once(executor):
    source = "int main() { long a, b; std::cin >> a >> b; std::cout << a + b; }"
    pairs = [(f"{i} 1", [str(i + 1)]) for i in range(5)]
    assert executor.run(run_on_stdin(source, pairs, 20.0, "cpp")).passed
    assert executor.run(run_on_stdin("int main() {", pairs, 20.0, "cpp")).status == "compile error"
    assert executor.run(run_on_stdin("int main() {}", pairs, 20.0, "cpp")).status == "failed"


def packed(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def lcb_row(name: str, **more: Any) -> dict[str, Any]:
    row = {
        "question_id": name,
        "question_content": "Add.",
        "starter_code": "",
        "difficulty": "easy",
    }
    return row | {"contest_date": "2023-10-05T00:00:00", "platform": "atcoder"} | more


def test_livecodebenchs_packed_tests_are_read_without_unpickling_classes():
    tests = [{"input": "1 2", "output": "3", "testtype": "stdin"}]
    row = lcb_row("a", public_test_cases=json.dumps(tests), private_test_cases=packed(tests * 2))
    assert published_cases(row)["cases"] == [("1 2", "3")] * 3
    evil = base64.b64encode(zlib.compress(pickle.dumps(Path("/")))).decode()
    with pytest.raises(SourceError, match="cannot be unpacked"):
        published_cases(lcb_row("b", private_test_cases=evil))


def test_livecodebench_runs_programs_and_methods_in_a_window_of_dates(tmp_path, executor):
    del executor
    folder = tmp_path / "data" / "livecodebench"
    folder.mkdir(parents=True)
    add = [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}]
    call = [{"input": "[1, 2]\n3", "output": "[3, 6]"}]
    starter = "class Solution:\n    def twice(self, xs: List[int], k: int):\n        "
    rows = [
        lcb_row("add", public_test_cases=json.dumps(add), private_test_cases=packed(add)),
        lcb_row("call", public_test_cases=json.dumps(call), starter_code=starter,
                metadata=json.dumps({"func_name": "twice"})),
        lcb_row("late", public_test_cases=json.dumps(add), contest_date="2024-04-02T00:00:00"),
    ]  # fmt: skip
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = {
        "add": f"Not this:\n```python\nprint(0)\n```\nbut\n```python\n{ADD}\n```",
        "call": TWICE,
    }
    texts = [{"question_id": name, "code_list": [text]} for name, text in said.items()]
    answers = tmp_path / "answers.jsonl"
    lines = [{"id": row["question_id"], "response": row["code_list"][0]} for row in texts]
    lines[1]["response"] = f"```python\n{TWICE}\n```"
    answers.write_text("".join(json.dumps(row) + "\n" for row in lines))
    config = BenchmarkConfig(
        benchmark="livecodebench", data_dir=tmp_path / "data", out_dir=tmp_path / "out",
        samples=answers, raw=True, workers=1, subset="2023-09-01..2024-04-01", timeout=20.0,
    )  # fmt: skip
    assert evaluate(config).counts["outcomes"] == {"passed": 2}
    for window in ("2023", "2024-13-01..2024-14-01", "2024-02-01..2024-01-01"):
        with pytest.raises(ConfigError, match=r"2023-09-01\.\."):
            evaluate(replace(config, subset=window))


def test_the_published_windows_have_the_published_numbers_of_problems(shared_data):
    task = find_task("livecodebench")
    config = BenchmarkConfig(benchmark="livecodebench", data_dir=shared_data / "benchmarks")
    for window, n in (("2023-09-01..2024-04-01", 276), ("2023-12-01..2024-06-01", 234), ("", 1055)):
        assert len(task.load(config.data_dir, replace(config, subset=window))) == n


def test_apps_runs_both_forms_and_its_own_solutions(tmp_path, executor):
    del executor
    rows = [
        {"problem_id": 0, "question": "Add.", "difficulty": "introductory", "starter_code": "",
         "input_output": json.dumps({"inputs": ["1 2\n", ["3 4"]], "outputs": ["3\n", ["7"]]}),
         "solutions": json.dumps([ADD])},
        {"problem_id": 1, "question": "Twice.", "difficulty": "interview",
         "starter_code": "def twice(x):",
         "input_output": json.dumps({"fn_name": "twice", "inputs": [[2]], "outputs": [[4]]}),
         "solutions": json.dumps(["def twice(x):\n    return 2 * x"])},
    ]  # fmt: skip
    folder = tmp_path / "data" / "apps"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = BenchmarkConfig(
        benchmark="apps", data_dir=tmp_path / "data", out_dir=tmp_path / "out", canonical=True,
        workers=1, timeout=20.0,
    )  # fmt: skip
    assert evaluate(config).counts["outcomes"] == {"passed": 2}
    task = find_task("apps")
    easy = replace(config, subset="introductory")
    assert [p.id for p in task.load(config.data_dir, easy)] == ["0"]
    prompt = task.prompt(task.load(config.data_dir, config)[1], config).text
    assert prompt == "\nQUESTION:\nTwice.\ndef twice(x):\nUse Call-Based format\nANSWER:\n"


def test_usaco_reads_its_tests_from_files(tmp_path, executor):
    del executor
    folder = tmp_path / "data" / "usaco"
    (folder / "tests" / "7_bronze").mkdir(parents=True)
    solution = f"Then:\n```python\n{ADD}\n```"
    row = {
        "description": "Add.",
        "problem_level": "bronze",
        "runtime_limit": 2,
        "solution": solution,
    }
    (folder / "usaco_subset307_dict.json").write_text(json.dumps({"7_bronze": row}))
    for i in range(1, 3):
        (folder / "tests" / "7_bronze" / f"{i}.in").write_text(f"{i} 1\n")
        (folder / "tests" / "7_bronze" / f"{i}.out").write_text(f"{i + 1}\n")
    config = BenchmarkConfig(
        benchmark="usaco", data_dir=tmp_path / "data", out_dir=tmp_path / "out", canonical=True,
        workers=1, timeout=20.0,
    )  # fmt: skip
    assert evaluate(config).counts["outcomes"] == {"passed": 1}


def test_safim_renames_the_class_that_has_main_whatever_comments_say():
    java = """/* Name of the class has to be "Main". */
// class other { void main() }
class Codhef { public static void main(String[] a) { {{completion}} } }"""
    data = {"kind": "block", "lang": "java", "eval_prompt": java, "unit_tests": []}
    config = BenchmarkConfig(benchmark="safim")
    program = find_task("safim").check(Problem(id="1", data=data), "f();", config)
    assert "class Problem {" in program.source
    assert "Codhef" not in program.source
    assert "class has to be" in program.source


def test_calls_that_results_reveal_are_read_as_python_shows_them(shared_data):
    config = BenchmarkConfig(benchmark="livecodebench", data_dir=shared_data / "benchmarks")
    problems = find_task("livecodebench").load(config.data_dir, config)
    cases = {problem.id: problem.data["cases"] for problem in problems}
    assert cases["2777"] == [("[1, 2, 3, 4, 5]", "[-3, -1, 1, 3, 5]")]
    assert cases["2757"] == [('"1"\n"12"\n1\n8', "11")]
    assert cases["3382"] == [("[1, 4, 3, 3, 2]", "6")]  # the other one's list holds inf
