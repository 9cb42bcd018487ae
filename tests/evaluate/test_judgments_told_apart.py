"""Judgments: which rows enter a score, which are told apart or refused, and how files may be
packed."""

import gzip
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from codling.core.errors import ConfigError, SourceError
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample
from codling.evaluate.judging.align import score_align
from codling.evaluate.judging.alpaca import instructions, score_alpaca
from codling.evaluate.judging.arena import score_arena
from codling.evaluate.judging.mt_pair import score_pairs
from codling.evaluate.judging.mt_single import score_single
from codling.evaluate.judging.tables import read_cells, read_table
from codling.evaluate.judgments import note_oddities, read_judgments
from codling.evaluate.task import Problem
from codling.evaluate.tasks import find_task

GRADE = {"question_id": 81, "model": "m", "score": 8, "turn": 1}
PAIR = {"question_id": 81, "model_1": "m", "model_2": "n", "g1_winner": "tie", "g2_winner": "tie"}
CONFIG = BenchmarkConfig(benchmark="mt-bench")
TABLE = 'question_id,model,score,turn\n81,m,8,1\n"82",m,4,2\n'


def test_a_third_game_of_a_pair_is_no_second_one():
    row = {"question_id": "q", "model": "m", "games": [{"score": "A>B"}, {"score": "A=B"}]}
    longer = row | {"games": [*row["games"], {"score": "A>>B"}]}
    assert score_arena([longer], {}) == score_arena([row], {})
    sample = Sample(problem=Problem(id="q", data={}), index=0, judgments=(longer,))
    assert note_oddities([sample], [sample.problem]) == [
        "1 rows have more than two games; the first two count"
    ]


def test_a_game_that_counts_three_times_is_one_game():
    row = {"question_id": "q", "model": "m", "games": [{"score": "A>>B"}, {"score": "A=B"}]}
    rate = score_arena([row], {})["m"]["win rate"]
    assert (rate["value"], rate["n"]) == (0.125, 2)


@pytest.mark.parametrize("subset", ["", "pair"])
def test_grades_and_pairs_in_one_file_are_told_apart(subset):
    score = find_task("mt-bench").score
    assert score is not None
    config = replace(CONFIG, subset=subset)
    with pytest.raises(ConfigError, match="mix 2 grades and 1 results of pairs: give the file of"):
        score([GRADE, PAIR, GRADE], config)


def test_pairs_that_are_asked_for_must_be_there():
    score = find_task("mt-bench").score
    assert score is not None
    with pytest.raises(ConfigError, match="--subset pair needs results of pairs"):
        score([GRADE], replace(CONFIG, subset="pair"))
    assert score([PAIR], replace(CONFIG, subset="pair"))["m"]["wins"]["value"] == 0


@pytest.mark.parametrize("turn", [[1], None, 3, 0, 1.5, "x", True])
def test_a_turn_is_the_first_or_the_second(turn):
    with pytest.raises(SourceError, match="a judgment of '81' has the turn"):
        score_single([GRADE | {"turn": turn}], 0)
    names = score_single([GRADE | {"turn": "2"}, GRADE | {"turn": 2.0}], 0)["m"]
    assert list(names) == ["score", "turn 2"]


@pytest.mark.parametrize("category", ["zz", ["zz"], None, 5])
def test_a_category_is_one_of_the_benchmark(category):
    row = {"question_id": 9, "category": category, "score": 5}
    with pytest.raises(SourceError, match=r"a judgment of '9' has the category .* does not have"):
        score_align([row], {"1": "数学计算"}, 0)


@pytest.mark.parametrize("name", [None, "", ["x"], {"a": 1}, 5, "a\nb", "\x1b[31m", "x" * 201])
def test_a_model_has_a_name_that_can_be_printed(shared_data, name):
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    text = instructions(folder)[0]
    annotation = {"instruction": text, "output_1": "a", "output_2": "b", "preference": 1.5}
    for score, row in (
        (lambda row: score_alpaca([row], folder, 0), annotation | {"generator_2": name}),
        (lambda row: score_align([row], {"1": "数学计算"}, 0),
         {"question_id": 1, "score": 5, "model_id": name}),
        (lambda row: score_single([row], 0), GRADE | {"model": name}),
        (lambda row: score_pairs([row], 0), PAIR | {"model_1": name}),
    ):  # fmt: skip
        with pytest.raises(SourceError, match="which is no name"):
            score(row)


def test_a_model_is_not_paired_with_itself(shared_data):
    with pytest.raises(SourceError, match="a judgment of '81' pairs 'm' with itself"):
        score_pairs([PAIR | {"model_2": "m"}], 0)
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    row = {"instruction": instructions(folder)[0], "output_1": "a", "output_2": "b",
           "generator_1": "m", "generator_2": "gpt4_1106_preview", "preference": 1.5}  # fmt: skip
    with pytest.raises(SourceError, match="the model's outputs come second"):
        score_alpaca([row], folder, 0)


@pytest.mark.parametrize("value", [math.nan, 1e999, 1e308, "x", None])
def test_a_weight_that_is_none_is_one_line_with_its_model(shared_data, value):
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    row = {"": "foo", "np.tanh(std_delta_len)": 0, "instruction_difficulty": value,
           "not_gamed_baseline.astype(float)": 0}  # fmt: skip
    with pytest.raises(SourceError, match="of 'foo' ha"):
        score_alpaca([row], folder, 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["j.csv", "j.csv.gz", "j.jsonl", "j.jsonl.gz", "j.json"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_judgments_are_read_in_any_encoding_and_packed(tmp_path, name, encoding, is_packed):
    rows: list[dict[str, Any]] = [GRADE, {"question_id": 82, "model": "m", "score": 4, "turn": 2}]
    text = TABLE if ".csv" in name else "".join(json.dumps(row) + "\n" for row in rows)
    data = text.encode(encoding)
    packed = is_packed or name.endswith(".gz")
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if packed else data)
    task = find_task("mt-bench")
    samples = read_judgments(task, replace(CONFIG, judgments=path))
    scores = score_single([row for sample in samples for row in sample.judgments], 0)["m"]
    assert [scores[name]["value"] for name in ("score", "turn 1", "turn 2")] == [6.0, 8.0, 4.0]


def test_a_line_of_a_table_that_ends_early_has_empty_cells(tmp_path):
    path = tmp_path / "j.csv"
    path.write_text("model,score\nm\n")
    assert read_table(path) == [{"model": "m", "score": ""}]


def test_a_cell_too_long_is_one_line(tmp_path):
    path = tmp_path / "j.csv"
    path.write_text("a,b\n1," + "x" * 200_000 + "\n")
    with pytest.raises(SourceError, match=r"j.csv is no table that can be read: field larger"):
        read_cells(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": "j.jsonl"}, "--samples and --judgments: give one of them"),
        ({"canonical": True}, "--judgments and --canonical: give one of them"),
        ({"api": "http://x"}, "--api and --judgments: give one of them"),
        ({"limit": 2}, "--limit is for answers; --judgments FILE is scored as it is"),
        ({"max_tokens": 9}, "--max-tokens is for answers"),
    ],
)
def test_settings_that_judgments_would_ignore_are_refused(tmp_path, change, message):
    config = replace(CONFIG, judgments=tmp_path / "j.jsonl", out_dir=tmp_path / "out")
    with pytest.raises(ConfigError, match=message):
        evaluate(replace(config, **change))


def test_the_headline_counts_what_enters_and_keeps_the_notes(shared_data, tmp_path):
    rows = [GRADE, GRADE | {"score": -1, "turn": 2}, GRADE | {"question_id": 82, "score": None}]
    path = tmp_path / "j.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(
        CONFIG, judgments=path, out_dir=tmp_path / "o", data_dir=shared_data / "benchmarks"
    )
    headline = evaluate(config).counts["headline"]
    assert headline.startswith("score 8.0000 (8.0000 to 8.0000), turn 1 8.0000")
    assert headline.endswith(", n 1")
    rows += [GRADE | {"model": "a|b"}, GRADE]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = evaluate(replace(config, out_dir=tmp_path / "both"))
    assert both.counts["headline"].endswith("1 rows judge the same as another row; all count")
    assert "\n| a/b | 1 |" in (both.path / "report.md").read_text()
