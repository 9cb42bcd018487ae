"""Judgments with doubles, gaps and nonsense: what counts, and what is told in one line."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from codling.core.errors import SourceError
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign_samples import read_samples
from codling.evaluate.judging.align import score_align
from codling.evaluate.judging.alpaca import _preference, instructions, score_alpaca
from codling.evaluate.judging.arena import score_arena
from codling.evaluate.judging.harness_reports import score_attempts, score_resolved
from codling.evaluate.judging.mt_pair import score_pairs
from codling.evaluate.judging.mt_single import score_single
from codling.evaluate.tasks import find_task

GRADED = {"question_id": 81, "model": "m", "judge": ["gpt-4", "single"], "score": 8, "turn": 1}


@pytest.mark.parametrize("gap", [None, math.nan, "", -1])
def test_a_row_without_a_grade_does_not_count(gap):
    found = score_single([GRADED, GRADED | {"score": gap}], 0)["m"]["score"]
    assert (found["value"], found["n"]) == (8.0, 1)


def test_alignbench_leaves_out_nan_and_counts_no_grade_as_minus_one():
    rows = [{"question_id": 1, "score": score} for score in (8, math.nan, -1)]
    assert score_align(rows, {"1": "数学计算"}, 0)["model"]["total"]["value"] == 3.5


def test_a_grade_that_is_no_number_is_told_with_its_question():
    with pytest.raises(SourceError, match=r"judgment of '81' has the score 'good', which is no"):
        score_single([GRADED | {"score": "good"}], 0)


PAIR = {"model_1": "m", "model_2": "n", "g1_winner": "tie", "g2_winner": "model_1"}
GAMES = {"question_id": "q", "model": "m", "games": [{"score": "A>B"}, {"score": "A=B"}]}
ODD: tuple[Any, ...] = (
    None,
    "",
    5,
    math.inf,
    10**400,
    [],
    ["x"],
    {"a": 1},
    True,
    "\ud800",
    "x" * 5000,
)


@pytest.mark.parametrize("value", ODD)
def test_odd_values_anywhere_in_a_row_are_one_short_line_or_count(value):
    scorers: list[tuple[dict[str, Any], Any]] = [
        (GRADED, lambda row: score_single([row], 0)),
        (PAIR, lambda row: score_pairs([row], 0)),
        (GAMES, lambda row: score_arena([row], {})),
        (
            {"resolved_ids": ["a"], "total_instances": 3},
            lambda row: score_resolved([row], "m", lambda: "abc"),
        ),
    ]
    said: list[str] = []
    for plain, score in scorers:
        for name in plain:
            for row in (plain | {name: value}, {k: v for k, v in plain.items() if k != name}):
                try:
                    score(row)
                except SourceError as error:
                    said.append(str(error))
    assert said
    assert all("\n" not in line and len(line) < 200 for line in said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"g1_winner": "A"},
            "has 'A' and 'model_1' for winners; they are model_1, model_2, tie or",
        ),
        ({"model_2": None}, "has the model_2 None, which is no name"),
    ],
)
def test_a_pair_that_cannot_be_scored_says_why(change, message):
    with pytest.raises(SourceError, match=message):
        score_pairs([PAIR | change], 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preference": "x"}, "preference 'x', which is no number"),
        ({"preference": 7}, "preference 7; they are 1 to 2"),
        ({"preference": math.nan}, "no annotation has a preference"),
        ({"output_1": None}, "no text output_1"),
        ({"instruction": "zz"}, "no instruction of the data"),
    ],
)
def test_an_annotation_that_cannot_be_scored_says_why(shared_data, change, message):
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    row = {
        "instruction": instructions(folder)[0], "output_1": "a", "output_2": "b",
        "generator_2": "m", "preference": 1.5,
    }  # fmt: skip
    with pytest.raises(SourceError, match=message):
        score_alpaca([row | change], folder, 0)


def test_doubles_and_strange_questions_count_and_are_told(shared_data, tmp_path):
    rows = [GRADED, GRADED | {"score": 2}, GRADED | {"question_id": 99999}]
    (tmp_path / "j.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = BenchmarkConfig(
        benchmark="mt-bench", data_dir=shared_data / "benchmarks", out_dir=tmp_path / "out",
        judgments=tmp_path / "j.jsonl",
    )  # fmt: skip
    page = (evaluate(config).path / "report.md").read_text()
    assert "1 rows judge the same as another row; all count" in page
    assert "1 questions of the judgments are none of the benchmark's; they count" in page
    (tmp_path / "j.jsonl").write_text(json.dumps(GRADED) + "\n")
    clean = evaluate(replace(config, out_dir=tmp_path / "clean"))
    assert "judge the same" not in (clean.path / "report.md").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"question_id": ...},
        {"choices": "x"},
        {"choices": {"a": 1}},
        {"choices": [{"turns": []}]},
        {"choices": [{"turns": [5]}]},
        {"choices": [{"turns": [{"content": 5}]}]},
    ],
)
@pytest.mark.parametrize("name", ["mt-bench", "arena-hard"])
def test_an_answer_of_another_form_is_one_line(shared_data, tmp_path, name, change):
    row = {"question_id": 81, "choices": [{"turns": ["x", "y"]}]} | change
    row = {key: value for key, value in row.items() if value is not ...}
    (tmp_path / "answers.jsonl").write_text(json.dumps(row) + "\n")
    config = BenchmarkConfig(
        benchmark=name, data_dir=shared_data / "benchmarks", samples=tmp_path / "answers.jsonl"
    )
    task = find_task(name)
    with pytest.raises(SourceError, match=f"a row that is no answer to {name} as published"):
        read_samples(task, task.load(config.data_dir, config), config)


def test_an_answer_that_is_null_says_nothing(shared_data, tmp_path):
    row = {"question_id": 81, "choices": [{"turns": [None, "y"]}]}
    (tmp_path / "answers.jsonl").write_text(json.dumps(row) + "\n")
    config = BenchmarkConfig(
        benchmark="mt-bench", data_dir=shared_data / "benchmarks",
        samples=tmp_path / "answers.jsonl",
    )  # fmt: skip
    task = find_task("mt-bench")
    (sample,), _ = read_samples(task, task.load(config.data_dir, config), config)
    assert [turn.text for turn in sample.turns] == ["", "y"]


@pytest.mark.parametrize("total", [0.5, -3, 1e308, 0, 2])
def test_a_total_that_is_no_count_or_too_small_is_one_line(total):
    row = {"resolved_ids": ["a__b-1", "a__b-2", "a__b-3"], "total_instances": total}
    with pytest.raises(SourceError, match=r"total_instances|3 instances of 2"):
        score_resolved([row], "m", lambda: "abcd")


@pytest.mark.parametrize("row", [{"x-1": {"resolved": "false"}}, {"resolved_ids": [["a"], None]}])
def test_what_is_no_verdict_and_no_id_does_not_count_as_resolved(row):
    with pytest.raises(SourceError):
        score_resolved([row], "m", lambda: ["x-1"])


@pytest.mark.parametrize("tries", [["false"], [[False]], [0, 3]])
def test_outcomes_of_tries_are_true_or_false(tries):
    with pytest.raises(SourceError, match="true or false"):
        score_attempts([{"tests_outcomes": tries}], BenchmarkConfig(benchmark="aider-edit"))


@pytest.mark.parametrize("score", [-5, 1e308, True])
def test_a_grade_that_no_judge_can_have_given_is_one_line(score):
    with pytest.raises(SourceError, match="a judgment of '81' has the score"):
        score_single([GRADED | {"score": score}], 0)


@pytest.mark.parametrize("label", ["A >> B", "a>b", "[[A>B]]", 3])
def test_a_game_s_score_in_another_spelling_is_not_dropped_in_silence(label):
    with pytest.raises(SourceError, match="a game of 'q' has the score"):
        score_arena([GAMES | {"games": [{"score": label}, {"score": "A=B"}]}], {})


def test_labels_that_the_authors_drop_and_games_without_a_verdict_do_not_count():
    games = [{"score": "A<B"}, {"score": "B>A"}]
    assert score_arena([GAMES | {"games": games}], {}) == score_arena(
        [GAMES | {"games": [{"score": None}, games[1]]}], {}
    )


@pytest.mark.parametrize("style", ["xyz", [[1, 2], [3]], ["a", None], [[10**400] * 4] * 2])
def test_a_style_that_is_not_four_counts_twice_is_one_line(style):
    with pytest.raises(SourceError, match="the style of 'q'"):
        score_arena([GAMES | {"style": style}], {})


def test_a_preference_that_is_none_of_1_to_2_is_one_line():
    for value in (2.5, 0.5, -1, True):
        with pytest.raises(SourceError, match="preference"):
            _preference({"instruction": "i", "preference": value})
