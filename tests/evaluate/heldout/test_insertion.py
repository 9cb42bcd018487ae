from collections import Counter
from typing import Any

import pytest

from codling.evaluate.heldout.insertion import (
    NO_PROJECT_CODE,
    choose_lines,
    count_by_part,
    edit_similarity,
    questions,
    score_answers,
)

CONTENT = (
    "# pkg/a.py\n"
    "import os\n"
    "\n"
    "# a comment that is long enough\n"
    "def area(width, height):\n"
    "    return width * height\n"
    "# pkg/b.py\n"
    "print(area(2, 3))   \n"
    "x=1\n"
)
SAMPLE = {
    "repo": "pkg",
    "paths": ["a.py", "b.py"],
    "languages": ["python", "python"],
    "starts": [0, CONTENT.index("# pkg/b.py")],
    "content": CONTENT,
}


def test_questions_are_lines_of_code_of_the_right_length() -> None:
    asked = {q.truth: q for q in questions([SAMPLE], 10, 5, 50, seed=0)}
    assert set(asked) == {
        "import os",
        "def area(width, height):",
        "return width * height",
        "print(area(2, 3))",
    }
    inner = asked["return width * height"]
    assert inner.prefix.endswith("height):\n    ")
    assert inner.suffix == "\n"
    assert (inner.path, inner.line_number) == ("pkg/a.py", 5)
    other = asked["print(area(2, 3))"]
    assert other.prefix == CONTENT[: CONTENT.index("print")]
    assert other.suffix == "   \nx=1\n"
    assert other.line_number == 1


def test_questions_are_spread_over_files_before_a_file_is_asked_twice() -> None:
    for seed in range(5):
        assert len({q.path for q in questions([SAMPLE], 2, 5, 50, seed)}) == 2


def test_the_choice_is_a_function_of_the_seed() -> None:
    first, again = (questions([SAMPLE], 3, 5, 50, seed=1) for _ in range(2))
    assert first == again


def test_scores_count_exact_lines_and_similarity() -> None:
    asked = [q for q in questions([SAMPLE], 10, 5, 50, 0) if q.truth == "import os"]
    score = score_answers(asked * 2, ["import os  ", "import re"])
    assert score.n_lines_saved == 1
    assert score.exact_match == 0.5
    assert score.edit_similarity == (1 + 7 / 9) / 2
    assert score.chars_saved == 0.5


def test_edit_similarity_by_hand() -> None:
    assert edit_similarity("kitten", "sitting") == 1 - 3 / 7
    assert edit_similarity("", "") == 1
    assert edit_similarity("abc", "") == 0


def sample_of(
    repo: str, path: str, n_lines: int, language: str = "python", **more: str
) -> dict[str, Any]:
    content = f"# {path}\n" + "".join(f"value_{i} = {i}\n" for i in range(n_lines))
    return {
        "repo": repo,
        "paths": [path],
        "languages": [language],
        "starts": [0],
        "content": content,
        **more,
    }


def test_questions_are_about_code_alone_and_follow_its_bytes() -> None:
    samples = [sample_of("app", f"examples/e{i}.py", 20) for i in range(50)]
    samples += [sample_of("app", f"tests/test_{i}.py", 20) for i in range(50)]
    samples += [sample_of("app", "src/core/a.py", 300), sample_of("app", "src/small/b.py", 100)]
    samples += [sample_of("lib", "lib/c.py", 400)]
    asked = questions(samples, 100, 5, 50, seed=0)
    assert count_by_part(asked) == {"code": 100}
    by_repo = Counter(q.path.partition("/")[0] for q in asked)
    assert abs(by_repo["app"] - by_repo["lib"]) <= 2
    core = sum(q.path.startswith("app/src/core") for q in asked)
    assert 3 * by_repo["app"] // 4 - 2 <= core <= 3 * by_repo["app"] // 4 + 2


def test_where_there_is_little_code_no_other_part_fills_up() -> None:
    """A score of examples is none of code: fewer lines are asked."""
    samples = [sample_of("app", "a.py", 5), sample_of("app", "examples/e.py", 100)]
    choice = choose_lines(samples, 20, 5, 50, seed=0)
    assert count_by_part(choice.asked) == {"code": 5}
    assert "note" not in choice.report()


def test_without_any_code_the_files_beside_it_are_asked_and_the_report_says_so() -> None:
    choice = choose_lines([sample_of("app", "examples/e.py", 100)], 20, 5, 50, seed=0)
    assert count_by_part(choice.asked) == {"examples": 20}
    assert choice.report()["note"] == NO_PROJECT_CODE


def test_languages_have_their_share_of_the_whole_repository_not_of_what_is_held_out() -> None:
    samples = [
        sample_of("app", "src/a.py", 900, split="train"),
        sample_of("app", "src/b/b.py", 100, split="heldout"),
        sample_of("app", "src/b/install.sh", 100, "shell", split="heldout"),
        sample_of("app", "src/c.go", 100, "go", split="train"),
    ]
    choice = choose_lines(samples, 44, 5, 50, seed=0)
    assert Counter(q.language for q in choice.asked) == {"python": 40, "shell": 4}
    languages = choice.report()["languages"]
    assert list(languages) == ["python", "shell", "go"]
    assert languages["go"]["asked"] == 0
    assert languages["python"]["share_of_code"] == pytest.approx(10 / 12, abs=0.02)


def test_many_small_folders_are_not_passed_over_for_one_large() -> None:
    samples = [sample_of("app", f"src/many/d{i}/a.py", 10) for i in range(100)]
    samples += [sample_of("app", "src/large/a.py", 1000)]
    asked = questions(samples, 20, 5, 50, seed=0)
    many = [q.path for q in asked if "/many/" in q.path]
    assert 9 <= len(many) <= 11
    assert len(set(many)) == len(many)


def test_the_report_says_what_was_left_out_and_why() -> None:
    samples = [
        sample_of("app", "src/a.py", 9),
        sample_of("app", ".devcontainer/install.sh", 9, "shell"),
        sample_of("app", "services/.devcontainer/more.sh", 9, "shell"),
        sample_of("app", "pkg/testdata/input.go", 9, "go"),
        sample_of("app", "docs/conf.py", 9),
        sample_of("app", "examples/one.py", 9),
        sample_of("app", "src/api/user_pb2.py", 9),
        sample_of("app", "README.md", 9, "markdown"),
    ]
    head = "# src/made.py\n# Code generated by a tool. DO NOT EDIT.\nvalue = 1\n"
    samples.append(sample_of("app", "src/made.py", 0) | {"content": head})
    report = choose_lines(samples, 99, 5, 50, seed=0).report()
    assert report == {
        "languages": {"python": {"asked": 9, "share_of_code": 1.0}},
        "folders": {"app/src": 9},
        "left_out": {
            "files": {
                "docs": {"n": 1, "example": "app/docs/conf.py"},
                "examples": {"n": 1, "example": "app/examples/one.py"},
                "no-code": {"n": 1, "example": "app/README.md"},
                "scripts": {"n": 2, "example": "app/.devcontainer/install.sh"},
                "tests": {"n": 1, "example": "app/pkg/testdata/input.go"},
                "vendored-or-generated": {"n": 2, "example": "app/src/api/user_pb2.py"},
            },
            "lines": {},
        },
    }


def test_lines_inside_docstrings_and_block_comments_are_no_code() -> None:
    content = (
        '# a.py\ndef area():\n    """Sum.\n\n    Prose in a docstring.\n    """\n    return 1\n'
    )
    sample = sample_of("app", "a.py", 0) | {"content": content}
    choice = choose_lines([sample], 10, 5, 50, seed=0)
    assert {q.truth for q in choice.asked} == {"def area():", "return 1"}
    assert choice.report()["left_out"]["lines"] == {"comment": 3}


LONG_STRINGS = {
    "go": ("var x = `\nset -l a b\n`\nuse(x, 'y')\n", "a.go"),
    "python": ('x = """\nset -l a b\n"""\nuse(x, "y")\n', "a.py"),
    "typescript": ("const x = html`\nset -l a b\n`\nuse(x, 'y')\n", "a.ts"),
    "java": ('String x = """\nset -l a b\n""";\nuse(x, "y");\n', "a.java"),
    "c-sharp": ('var x = @"\nset -l a b\n";\nuse(x, "y");\n', "a.cs"),
    "rust": ('let x = r#"\nset -l a b\n"#;\nuse(x, "y");\n', "a.rs"),
    "cpp": ('auto x = R"(\nset -l a b\n)";\nuse(x, "y");\n', "a.cpp"),
    "shell": ("cat <<'EOF'\nset -l a b\nEOF\nuse x y\n", "run/a.sh"),
    "ruby": ("x = <<~SQL\nset -l a b\nSQL\nuse(x << y)\n", "a.rb"),
    "php": ("$x = <<<EOT\nset -l a b\nEOT;\nuse($x, 'y');\n", "a.php"),
}


@pytest.mark.parametrize("language", LONG_STRINGS)
def test_a_script_inside_of_a_string_is_no_code(language: str) -> None:
    text, path = LONG_STRINGS[language]
    head = f"# {path}\n"
    sample = {"repo": "pkg", "paths": [path], "languages": [language], "starts": [0],
              "content": head + text}  # fmt: skip
    choice = choose_lines([sample], 9, 5, 50, seed=0)
    asked = [q.truth for q in choice.asked]
    assert "set -l a b" not in asked
    assert any("use" in line for line in asked)
    assert choice.report()["left_out"]["lines"]["string"] == 1


def test_a_quote_in_a_comment_or_a_string_opens_no_long_string() -> None:
    content = "// a.go\nx := '`' // it`s\ny := \"`\"\nreturn x + y\n/* ` */\nreturn done\n"
    sample = {"repo": "pkg", "paths": ["a.go"], "languages": ["go"], "starts": [0],
              "content": content}  # fmt: skip
    asked = [q.truth for q in questions([sample], 9, 5, 50, seed=0)]
    assert sorted(asked) == ["return done", "return x + y", "x := '`' // it`s", 'y := "`"']
