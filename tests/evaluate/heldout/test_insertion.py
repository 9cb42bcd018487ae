from collections import Counter
from typing import Any

from codling.evaluate.heldout.insertion import (
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


def sample_of(repo: str, path: str, n_lines: int) -> dict[str, Any]:
    content = f"# {path}\n" + "".join(f"value_{i} = {i}\n" for i in range(n_lines))
    return {
        "repo": repo,
        "paths": [path],
        "languages": ["python"],
        "starts": [0],
        "content": content,
    }


def test_questions_are_mostly_about_code_and_follow_its_bytes() -> None:
    samples = [sample_of("app", f"examples/e{i}.py", 20) for i in range(50)]
    samples += [sample_of("app", f"tests/test_{i}.py", 20) for i in range(50)]
    samples += [sample_of("app", "src/core/a.py", 300), sample_of("app", "src/small/b.py", 100)]
    samples += [sample_of("lib", "lib/c.py", 400)]
    asked = questions(samples, 100, 5, 50, seed=0)
    counts = count_by_part(asked)
    assert sum(counts.values()) == 100
    assert 90 <= counts["code"] <= 92
    by_repo = Counter(q.path.partition("/")[0] for q in asked if q.part == "code")
    assert abs(by_repo["app"] - by_repo["lib"]) <= 2
    core = sum(q.path.startswith("app/src/core") for q in asked)
    assert 3 * by_repo["app"] // 4 - 2 <= core <= 3 * by_repo["app"] // 4 + 2


def test_where_there_is_little_code_the_other_parts_fill_up() -> None:
    samples = [sample_of("app", "a.py", 5), sample_of("app", "examples/e.py", 100)]
    assert count_by_part(questions(samples, 20, 5, 50, seed=0)) == {"examples": 15, "code": 5}
