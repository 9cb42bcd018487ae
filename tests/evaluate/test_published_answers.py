"""Right answers in the forms in which people publish them: they score as right, without a flag."""

import json

import pytest

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign import read_foreign
from codling.evaluate.foreign_samples import read_samples
from codling.evaluate.harness import Sample
from codling.evaluate.scoreboard import headline, summarise
from codling.evaluate.task import Problem
from codling.evaluate.tasks import find_task

CONFIG = BenchmarkConfig(benchmark="mine")


def published(folder, name, rows, problems):
    """The answers that a published file gives to `problems`, as the benchmark would judge them."""
    path = folder / "published.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    config = BenchmarkConfig(benchmark=name, samples=path)
    samples, _ = read_samples(find_task(name), problems, config)
    return [sample.answer for sample in samples]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (r"thus $\boxed{\frac12}$.", r"\frac12"),
        ("So she has 18 eggs left at the end.", "18"),
        ("9 + 9\nThe answer is 18.", "18"),
        ("9 + 9 = 18\n#### 18", "18"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"x \in [-2,7]", r"x \in [-2,7]"),
        ("5 square metres", "5 square metres"),
        ("<think>7</think> $\\boxed{5}$", "5"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("name", ["math-500", "aime", "math-odyssey", "cot-math"])
def test_answers_of_mathematics_are_read_boxed_stated_or_bare(tmp_path, name, said, answer):
    problem = Problem(id="1", data={"question": "?", "answer": "18"})
    for rows in ([{"id": "1", "completion": said}], [{"id": "1", "solution": said}], [[said]]):
        assert published(tmp_path, name, rows, [problem]) == [answer]


@pytest.mark.parametrize(
    ("name", "group", "said", "answer"),
    [
        ("cot-math", "aqua", "(C)", "C"),
        ("bbh", "x", "A thought. So the answer is (B).", "(B)"),
        ("agieval", "lsat-ar", "It is (B).", "B"),
        ("agieval", "math", "$\\frac12$", "$\\frac12$"),
        ("agieval", "math", "so it is \\boxed{3}", "3"),
        ("triviaqa", "", "\nParis\nQuestion: x", "Paris"),
        ("cruxeval", "", "assert f(1) == 2", "2"),
        ("mmlu", "", "The answer is (B).", "B"),
        ("mmlu", "", "b", "B"),
        ("math-odyssey", "", "$100!$\\\\\n\\noindent", "100!"),
    ],
)
def test_answers_in_words_are_read_whatever_the_file_calls_them(
    tmp_path, name, group, said, answer
):
    data = {"subset": "output", "options": ["x", "y"]}
    problem = Problem(id="1", group=group, data=data)
    assert published(tmp_path, name, [[said]], [problem]) == [answer]
    assert published(tmp_path, name, [{"id": "1", "completion": said}], [problem]) == [answer]


@pytest.mark.parametrize("key", ["answer", "prediction", "completion", "response"])
@pytest.mark.parametrize(("said", "answer"), [(204, "204"), (r"\pi", r"\pi")])
def test_a_short_answer_may_stand_under_any_name_and_be_a_number(tmp_path, key, said, answer):
    problem = Problem(id="1", data={"question": "?", "answer": "18"})
    assert published(tmp_path, "aime", [{"id": "1", key: said}], [problem]) == [answer]


@pytest.mark.parametrize(
    ("said", "letter"), [("true", "A"), ("False", "B"), ("是的。", "A"), ("不是", "B"), ("否", "B")]
)
def test_cluewsc_reads_its_own_labels(tmp_path, said, letter):
    target = {"span1_text": "a", "span2_text": "b"}
    row = {"idx": 1180, "label": "true", "text": "?", "target": target}
    folder = tmp_path / "cluewsc-fewclue"
    folder.mkdir()
    for name in ("train_few_all.json", "test_public.json"):
        (folder / name).write_text(json.dumps(row))
    problems = find_task("cluewsc").load(tmp_path, BenchmarkConfig(benchmark="cluewsc"))
    assert published(tmp_path, "cluewsc", {"1180": said}, problems) == [letter]


def test_arc_reads_the_labels_of_numbered_options(tmp_path):
    options = [{"label": str(i), "text": text} for i, text in enumerate("wxyz", 1)]
    row = {"id": "q", "question": {"stem": "?", "choices": options}, "answerKey": "3"}
    folder = tmp_path / "arc" / "ARC-Challenge"
    folder.mkdir(parents=True)
    (folder / "ARC-Challenge-Test.jsonl").write_text(json.dumps(row))
    config = BenchmarkConfig(benchmark="arc-challenge", shots=0)
    problems = find_task("arc-challenge").load(tmp_path, config)
    assert published(tmp_path, "arc-challenge", {"q": "3"}, problems) == ["C"]
    assert published(tmp_path, "arc-challenge", {"q": "y"}, problems) == ["C"]


def test_what_a_model_said_beside_its_sanitized_solution_is_read_when_asked_for(tmp_path):
    path = tmp_path / "samples.jsonl"
    row = {"task_id": "BigCodeBench/1", "solution": "cut", "raw_solution": "said"}
    path.write_text(json.dumps(row))
    for raw, text in ((False, "cut"), (True, "said")):
        (found,) = read_foreign(path, "said" if raw else "programs").by_id["BigCodeBench/1"]
        assert found.text == text


def test_an_id_that_fits_several_problems_is_left_out_and_told(tmp_path):
    task = find_task("livecodebench")
    problems = [Problem(id=name, data={}) for name in ("1873_A", "1873_B", "1899_A")]
    rows = [{"question_id": name, "code_list": [name]} for name in ("1873", "1899", "7", "1873_B")]
    path = tmp_path / "output.json"
    path.write_text(json.dumps(rows))
    config = BenchmarkConfig(benchmark="livecodebench", samples=path)
    samples, notes = read_samples(task, problems, config)
    assert {sample.problem.id: sample.answer for sample in samples} == {
        "1873_B": "1873_B", "1899_A": "1899",
    }  # fmt: skip
    assert notes == [
        "left out: answers to 1 that livecodebench does not have (7) and 1 that may be any of "
        "several of livecodebench (1873)"
    ]


def test_ids_that_count_all_problems_are_places(tmp_path):
    path = tmp_path / "places.json"
    path.write_text(json.dumps({"0": "7", "1": "8"}))
    problems = [Problem(id=name, data={"question": name, "answer": "7"}) for name in ("1", "5")]
    config = BenchmarkConfig(benchmark="aime", samples=path)
    samples, notes = read_samples(find_task("aime"), problems, config)
    assert [(sample.problem.id, sample.answer) for sample in samples] == [("1", "7"), ("5", "8")]
    assert notes == ["ids 0, 1, ... taken as places in the data"]


def test_two_spellings_of_an_id_are_answers_to_one_problem(tmp_path):
    rows = [{"task_id": name, "solution": name} for name in ("HumanEval_0", "HumanEval/0")]
    problem = Problem(id="HumanEval/0", data={})
    assert published(tmp_path, "humaneval", rows, [problem]) == ["HumanEval_0", "HumanEval/0"]


@pytest.mark.parametrize("answer", [5, ["A"], {"a": 1}])
def test_a_submission_to_ceval_with_an_odd_answer_names_its_place(tmp_path, answer):
    problems = [Problem(id=f"law/{i}", data={"options": "wxyz"}) for i in range(3)]
    rows = {"law": {"0": "A", "1": "B"}, "art": {}}
    assert published(tmp_path, "ceval", rows, problems) == ["A", "B"]
    rows["law"] |= {"1": None, "2": answer}
    with pytest.raises(SourceError, match="row 1, law 2, has an answer that is not text"):
        published(tmp_path, "ceval", rows, problems)
    rows["law"] |= {"2": "(C)"}
    assert published(tmp_path, "ceval", rows, problems) == ["A", "", "C"]


@pytest.mark.parametrize("form", ["list", "object", "object without ids in it"])
def test_predictions_of_swe_bench_are_a_list_or_an_object_by_instance(tmp_path, form):
    problems = [Problem(id=name, data={}) for name in ("a", "b")]
    rows = [
        {"instance_id": name, "model_name_or_path": "m", "model_patch": patch}
        for name, patch in (("a", "diff --git a/x b/x\n--- a/x\n+++ b/x\n"), ("b", None))
    ]
    table = {row["instance_id"]: dict(row) for row in rows}
    if form == "object without ids in it":
        for row in table.values():
            del row["instance_id"]
    answers = published(tmp_path, "swe-bench", rows if form == "list" else table, problems)
    assert answers[0].startswith("diff --git")
    assert answers[1] == ""


def test_a_score_on_fewer_problems_than_asked_for_says_how_many_and_why():
    def sample(i, status, detail=""):
        return Sample(problem=Problem(id=str(i), data={}), index=0, status=status, detail=detail)

    samples = [sample(i, "not run", f"needs {'pandas' if i else 'torch'}") for i in range(3)]
    summary = summarise([*samples, sample(3, "passed")], {}, n_asked=10)
    assert headline(summary).endswith(
        " on 1 problems; 3 not run: needs pandas (2), needs torch (1); 6 more have no answer"
    )
