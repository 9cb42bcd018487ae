"""Edits, holes and lines: how answers of code benchmarks are cut, applied and compared."""

import json
from dataclasses import replace

import pytest

from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.edit_formats import apply_pieces, apply_whole, replace_piece
from codling.evaluate.task import Problem, Turn
from codling.evaluate.tasks import find_task
from codling.grading.hole_syntax import cut_to_syntax, same_tokens
from codling.grading.line_match import f1, similarity

FILES = {"a.py": "def f():\n    return 1\n", "b.py": "x = 1\n"}
PIECE = "a.py\n```\n<<<<<<< SEARCH\n    return 1\n=======\n    return 2\n>>>>>>> REPLACE\n```"


def test_whole_files_are_taken_by_the_name_before_them():
    edited = apply_whole("Sure.\n**b.py**\n```python\nx = 2\n```\nDone.", FILES)
    assert edited == {**FILES, "b.py": "x = 2\n"}
    assert apply_whole("```\nx = 2\n```", FILES) is None
    assert apply_whole("nothing", FILES) is None


def test_pieces_are_replaced_where_they_stand():
    assert apply_pieces(PIECE, FILES) == {**FILES, "a.py": "def f():\n    return 2\n"}
    assert apply_pieces(PIECE.replace("return 1", "return 7"), FILES) is None
    assert apply_pieces("no piece", FILES) is None
    assert replace_piece("if a:\n    b\n", "b\n", "c\n") == "if a:\n    c\n"
    assert replace_piece("", "", "new\n") == "new\n"


def test_aider_asks_once_more_with_the_failure():
    data = {
        "name": "f", "language": "python", "instructions": "Do.", "stubs": {"a.py": "x = 1\n"},
        "tests": {"a_test.py": ""}, "example": {}, "others": {}, "form": "whole",
    }  # fmt: skip
    problem, config = Problem(id="f", data=data), BenchmarkConfig(benchmark="aider-edit")
    task = find_task("aider-edit")
    failed = Turn(text="a.py ...", answer="a.py ...", output="AssertionError: 1 != 2")
    asked = task.follow_up(problem, [failed], config)
    assert asked is not None
    assert asked.messages is not None
    assert [m["role"] for m in asked.messages] == ["user", "assistant", "user"]
    assert "AssertionError: 1 != 2" in asked.messages[2]["content"]
    assert task.follow_up(problem, [failed, failed], config) is None
    assert task.follow_up(problem, [replace(failed, passed=True)], config) is None


@pytest.mark.parametrize(
    ("code", "kind", "language", "kept"),
    [
        ("x = 1\n    y = 2\nz = 3\n", "block", "python", "x = 1\n    y = 2"),
        ('puts("}");\n} else {', "block", "cpp", 'puts("}");\n'),
        ("i < n; i++) {", "control", "java", "i < n"),
        ("x > 0:\n    y", "control", "python", "x > 0:"),
        ("f(a, g(b)).h()", "api", "python", "f(a, g(b))"),
    ],
)
def test_what_fills_a_hole_ends_with_its_syntax(code, kind, language, kept):
    assert cut_to_syntax(code, kind, language) == kept


def test_calls_are_compared_by_tokens():
    assert same_tokens("f( a,b )", "f(a, b);")
    assert not same_tokens("f(a, b)", "f(b, a)")


def test_similarity_and_f1_are_those_of_repository_benchmarks():
    assert similarity("return x", "return y") == 0.875
    assert f1(["a", "a", "b"], ["a", "c"]) == pytest.approx(0.4)


def test_repobench_scores_lines_of_both_languages(tmp_path):
    folder = tmp_path / "data" / "repobench" / "java"
    folder.mkdir(parents=True)
    row = {
        "repo_name": "o/r", "file_path": "A.java", "import_statement": "import b.B;",
        "cropped_code": "class A {", "next_line": "    int x = B.f();", "level": "2k",
        "context": [{"path": "B.java", "snippet": "class B {}"}],
    }  # fmt: skip
    (folder / "in_file.jsonl").write_text(2 * (json.dumps(row) + "\n"))
    config = BenchmarkConfig(
        benchmark="repobench", language="java", data_dir=tmp_path / "data", out_dir=tmp_path / "o",
        samples=tmp_path / "answers.jsonl", raw=True,
    )  # fmt: skip
    said = ["// a comment\nint x = B.f();\nint y;", "int x = B.g();"]
    rows = [{"id": f"in_file/{i}", "response": f"```java\n{x}\n```"} for i, x in enumerate(said)]
    assert config.samples is not None
    config.samples.write_text("".join(json.dumps(each) + "\n" for each in rows))
    scores = json.loads((evaluate(config).path / "report.json").read_text())["scores"]
    assert scores["exact match"]["value"] == 0.5
    assert scores["edit similarity"]["value"] == pytest.approx((1 + 26 / 28) / 2, abs=1e-6)
    task = find_task("repobench")
    problem = task.load(config.data_dir, config)[0]
    assert task.prompt(problem, replace(config, style="base")).text == (
        "// Repo Name: o/r\n// Path: B.java\nclass B {}\n\n"
        "// Path: A.java\nimport b.B;\nclass A {\n"
    )


def test_crosscodeeval_cuts_to_the_first_statement(tmp_path):
    folder = tmp_path / "data" / "crosscodeeval" / "java"
    folder.mkdir(parents=True)
    row = {"prompt": "x = ", "groundtruth": "f(a);", "crossfile_context": {"text": "// f\n"}}
    (folder / "line_completion.jsonl").write_text(json.dumps(row) + "\n")
    config = BenchmarkConfig(benchmark="c", language="java", data_dir=tmp_path / "data")
    task = find_task("crosscodeeval")
    (problem,) = task.load(config.data_dir, config)
    assert task.prompt(problem, config).text == "// f\nx = "
    assert task.extract(problem, "f(a); g();", "base") == "f(a);"
    assert task.extract(problem, "f(\n  a);\n", "base") == "f(\n  a);"
    assert task.check(problem, "f(a);", config).passed
    half = task.check(problem, "f(b);", config).judgments[0]
    assert (half["exact match"], half["identifiers F1"]) == (False, 0.5)
