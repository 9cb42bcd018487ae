"""Reports of other harnesses' runs with tests: shares by hand, in each published form."""

import json
from typing import Any

import pytest

from codling.core.errors import SourceError
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.harness_reports import score_attempts, score_resolved

CONFIG = BenchmarkConfig(benchmark="aider-edit")


@pytest.mark.parametrize(
    "rows",
    [
        [{"total_instances": 4, "resolved_ids": ["a"], "unresolved_ids": ["b"]}],
        [{"resolved": ["a"], "generated": ["a", "b"], "no_generation": []}],
        [{"a": {"resolved": True, "patch_exists": True}}, {"b": {"resolved": False}}],
        [{"instance_id": name, "resolved": name == "a"} for name in "abcd"],
    ],
)
def test_one_of_four_issues_is_resolved_in_every_form(rows):
    (share,) = score_resolved(rows, "m", lambda: "abcd")["m"].values()
    assert (share["value"], share["n"]) == (0.25, 4)
    assert 0 < share["low"] < 0.25 < share["high"] < 1


def test_predictions_alone_say_nothing_of_what_is_resolved():
    rows = [{"instance_id": "a", "model_patch": text} for text in ("", "diff")]
    assert score_resolved(rows, "m", lambda: "abcd") == {}


def test_predictions_that_are_all_empty_resolve_nothing():
    rows = [{"instance_id": name, "model_patch": text} for name, text in (("a", ""), ("b", None))]
    (share,) = score_resolved(rows, "m", lambda: "abcd")["m"].values()
    assert (share["value"], share["n"]) == (0.0, 2)


@pytest.mark.parametrize(
    "rows",
    [
        [{"resolved_ids": ["a", "x"]}],
        [{"total_instances": 4, "resolved_ids": ["x"]}],
        [{"total_instances": 500, "resolved_ids": ["x"]}],
        [{"x": {"resolved": True}}],
        [{"instance_id": "x", "resolved": True}],
    ],
)
def test_instances_that_the_benchmark_lacks_are_not_resolved(rows):
    with pytest.raises(SourceError, match=r"1 instances that the benchmark's data do not have"):
        score_resolved(rows, "m", lambda: "abcd")


def test_a_report_of_another_edition_is_about_its_own_instances():
    row = {"total_instances": 500, "resolved_ids": ["django__django-1", "a-b__c.d-22"]}
    (share,) = score_resolved([row], "m", lambda: "abcd")["m"].values()
    assert (share["value"], share["n"]) == (0.004, 500)


def test_an_instance_has_one_verdict():
    with pytest.raises(SourceError, match="a has two verdicts"):
        score_resolved([{"instance_id": "a", "resolved": True}] * 2, "m", lambda: "abcd")


def test_aiders_rates_are_of_the_first_try_and_of_the_last():
    rows: list[dict[str, Any]] = [
        {"model": "m", "tests_outcomes": [True], "num_malformed_responses": 0},
        {"model": "m", "tests_outcomes": [False, True], "num_malformed_responses": 2},
        {"model": "m", "tests_outcomes": [False, False]},
        {"model": "m", "tests_outcomes": []},
    ]
    scores = score_attempts(rows, CONFIG)["m"]
    assert {name: score["value"] for name, score in scores.items()} == {
        "passed": 0.5, "passed at once": 0.25, "well-formed": 0.75,
    }  # fmt: skip
    with pytest.raises(SourceError, match="tests_outcomes"):
        score_attempts([{"model": "m"}], CONFIG)


def test_aiders_folder_is_read_without_the_exercises_own_settings(shared_data, tmp_path):
    for name, tries in (("bob", [True]), ("wordy", [False, False])):
        (folder := tmp_path / "run" / name).mkdir(parents=True)
        (folder / "config.json").write_text('{"authors": []}')
        (folder / ".aider.results.json").write_text(json.dumps({"tests_outcomes": tries}))
    config = BenchmarkConfig(
        benchmark="aider-edit", data_dir=shared_data / "benchmarks", out_dir=tmp_path / "o",
        judgments=tmp_path / "run",
    )  # fmt: skip
    artifact = evaluate(config)
    assert not isinstance(artifact, str)
    assert artifact.counts["headline"].startswith("passed 50.0 (")


def test_reports_that_say_nothing_of_it_are_one_line(shared_data, tmp_path):
    (tmp_path / "report.json").write_text('{"foo": 1}')
    config = BenchmarkConfig(
        benchmark="swe-bench", data_dir=shared_data / "benchmarks", out_dir=tmp_path / "o",
        judgments=tmp_path / "report.json",
    )  # fmt: skip
    with pytest.raises(SourceError, match=r"report.json says nothing that swe-bench is scored by"):
        evaluate(config)
