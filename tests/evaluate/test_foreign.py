"""Answers made elsewhere, in the formats of other harnesses and with the faults of real files."""

import gzip
import json
import shutil
from dataclasses import replace

import pytest

from codling.core.errors import ConfigError, SourceError
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign import is_same_id, read_foreign, sample_files
from codling.evaluate.foreign_samples import read_samples
from codling.evaluate.tasks import find_task
from evaluate.test_harness import PROBLEMS

RIGHT, WRONG = "    return 2 * x", "    return x"
WHOLE = "def twice(x):\n    return 2 * x\n"
CHAT = f"Sure:\n```python\n{WHOLE}\nprint(twice(1))\n```\n"


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def texts(path, raw=False):
    found = read_foreign(path, "said" if raw else "programs")
    return {k: [a.text for a in v] for k, v in found.by_id.items()} or [
        [a.text for a in v] for v in found.by_position
    ]


FILES = {
    "human-eval.jsonl": lines({"task_id": "HumanEval/0", "completion": "a"}),
    "one object over lines.json": json.dumps(
        {"task_id": "HumanEval/0", "completion": "a"}, indent=1
    ),
    "a list.json": json.dumps([{"task_id": "HumanEval/0", "completion": "a"}]),
    "EvalPlus.jsonl": lines({"task_id": "HumanEval/0", "solution": "a"}),
    "EvalPlus results.json": json.dumps(
        {"date": "x", "eval": {"HumanEval/0": [{"solution": "a", "base_status": "pass"}]}}
    ),
    "MultiPL-E.json": json.dumps({"name": "HumanEval/0", "prompt": "p", "completions": ["a"]}),
    "MultiPL-E results.json": json.dumps({"name": "HumanEval/0", "results": [{"program": "a"}]}),
    "CRUXEval.json": json.dumps({"HumanEval/0": ["a"]}),
    "one text per id.json": json.dumps({"HumanEval/0": "a"}),
    "DS-1000.jsonl": lines({"id": "HumanEval/0", "code": ["a"]}),
    "CRUXEval scores.json": json.dumps(
        {"raw_generations": {"HumanEval/0": ["a"]}, "raw_scored_generations": {"HumanEval/0": [1]}}
    ),
    "an object per id.json": json.dumps({"HumanEval/0": {"completion": "a"}}),
    "lm-eval.jsonl": lines(
        {
            "doc_id": 7,
            "doc": {"task_id": "HumanEval/0", "prompt": "p"},
            "resps": [["said"]],
            "filtered_resps": [["a"]],
            "filter": "create_test",
        }
    ),
}
FILES |= {
    "LiveCodeBench.json": json.dumps(
        [{"question_id": "HumanEval/0", "output_list": ["said"], "code_list": ["a"]}]
    ),
    "CrossCodeEval.jsonl": lines({"task_id": "HumanEval/0", "pred": "a"}),
    "NQ-open.jsonl": lines({"question": "HumanEval/0", "prediction": "a"}),
    "C-Eval.json": json.dumps({"HumanEval": {"0": "a"}}),
}
SAID = {"choices": [{"message": {"role": "assistant", "content": "a"}}]}
CHATS = {
    "inspect.json": json.dumps(
        {
            "version": 2,
            "eval": {"task": "humaneval", "task_id": "x"},
            "samples": [{"id": "HumanEval/0", "epoch": 1, "output": {**SAID, "completion": "a"}}],
        }
    ),
    "OpenAI batch.jsonl": lines(
        {"id": "r", "custom_id": "HumanEval/0", "response": {"status_code": 200, "body": SAID}}
    ),
    "OpenAI.jsonl": lines({"task_id": "HumanEval/0", **SAID}),
    "OpenCompass.json": json.dumps({"HumanEval/0": {"origin_prompt": "p", "prediction": "a"}}),
    "EvalPlus.raw.jsonl": lines({"task_id": "HumanEval/0", "solution": "a"}),
    "lm-eval, two filters.jsonl": lines(
        *(
            {"doc_id": 0, "doc": {"id": "HumanEval/0"}, "resps": [["a"]], "filter": name}
            for name in ("strict-match", "flexible-extract")
        )
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gz"])
def test_formats_are_read_in_any_encoding(tmp_path, name, encoding):
    path = tmp_path / (name + ".gz" if encoding == "gz" else name)
    data = FILES[name].encode("utf-8" if encoding == "gz" else encoding)
    path.write_bytes(gzip.compress(data) if encoding == "gz" else data)
    assert texts(path) == {"HumanEval/0": ["a"]}


@pytest.mark.parametrize("name", CHATS)
def test_chats_that_other_harnesses_keep_are_read_as_they_publish_them(tmp_path, name):
    path = tmp_path / name
    path.write_text(CHATS[name])
    assert texts(path, raw=True) == {"HumanEval/0": ["a"]}


@pytest.mark.parametrize("name", ["answers.csv", "answers.tsv.gz", "answers.parquet"])
def test_a_table_of_another_kind_is_told_as_one(tmp_path, name):
    with pytest.raises(SourceError, match=rf"{name} is a table; answers are read from JSON"):
        sample_files(tmp_path / name)


def test_lists_of_lists_go_by_position(tmp_path):
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([["a", "b"], ["c", "d"]]))
    assert texts(path) == [["a", "b"], ["c", "d"]]
    assert [a.text for a in read_foreign(path).of("anything", 1)] == ["c", "d"]


def test_lists_of_programs_go_to_the_problems_whose_prompts_they_begin_with(tmp_path):
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([["def b():\n  2"], [""], ["def aa():\n  1"]]))
    found = read_foreign(path).order_by(["def a", "def aa():\n", "def b():", "def c():"])
    answers = [[a.text for a in found.of("", place)] for place in range(4)]
    assert answers == [[], ["def aa():\n  1"], ["def b():\n  2"], []]
    path.write_text(json.dumps([["x"], ["def b(): 2"], ["other"]]))  # as far as known, in order
    assert read_foreign(path).order_by(["def a", "def b"]).of("", 0)[0].text == "x"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("model/HumanEval_0/0.py", "model.raw/HumanEval_0/0.py"),
        ("one/HumanEval_0/0.py", "two/HumanEval_0/0.py"),
        ("a.jsonl", "a.raw.jsonl"),
        ("a.jsonl", "a-sanitized.jsonl"),
        ("samples.jsonl", "samples.jsonl_results.jsonl"),
        ("m.jsonl", "m_eval_results.json"),
        ("one/HumanEval_0_twice.json.gz", "two/HumanEval_0_twice.json.gz"),
    ],
)
def test_folders_that_hold_the_same_problem_twice_are_refused(tmp_path, first, second):
    for name in (first, second):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(SourceError, match="several runs, or one of them twice"):
        read_foreign(tmp_path)


def test_folders_of_evalplus_keep_the_order_of_their_samples(tmp_path):
    for problem, sample in ((0, 10), (0, 2), (1, 0)):
        (tmp_path / f"HumanEval_{problem}").mkdir(exist_ok=True)
        (tmp_path / f"HumanEval_{problem}" / f"{sample}.py").write_text(f"{problem}.{sample}")
    assert texts(tmp_path) == {"HumanEval/0": ["0.2", "0.10"], "HumanEval/1": ["1.0"]}


def test_results_beside_completions_do_not_count_twice(tmp_path):
    row = {"name": "HumanEval_0_twice", "completions": ["a"]}
    (tmp_path / "HumanEval_0_twice.json.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    results = {"name": "HumanEval_0_twice", "results": [{"program": "b"}]}
    (tmp_path / "HumanEval_0_twice.results.json.gz").write_bytes(
        gzip.compress(json.dumps(results).encode())
    )
    assert texts(tmp_path) == {"HumanEval_0_twice": ["a"]}


def test_what_a_chat_model_said_is_read_when_asked_for(tmp_path):
    path = tmp_path / "deepseek.jsonl"
    path.write_text(lines({"task_id": "HumanEval/0", "prompt": "p", "output": "a"}))
    assert texts(path, raw=True) == {"HumanEval/0": ["a"]}
    with pytest.raises(SourceError, match="add --raw"):
        read_foreign(path)
    said = tmp_path / "said"
    said.mkdir()
    (said / "HumanEval_0.md").write_text("a")
    assert texts(said, raw=True) == {"HumanEval/0": ["a"]}
    with pytest.raises(SourceError, match="add --raw"):
        read_foreign(said)


def test_null_is_an_answer_that_says_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines({"task_id": 1, "completion": None}, {"task_id": 1, "solution": None}))
    assert texts(path) == {"1": ["", ""]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"task_id": 1, "completion": "a"}\n{"task_id": 1, "compl',
            r"a.jsonl line 2 is not valid",
        ),
        ('{"task_id": 1, "completion": "a"}\nnull\n', "row 2 is neither an object"),
        ('{"task_id": 1, "completion": 3}\n', "row 1 has an answer that is not text"),
        ('{"completion": "a"}\n', "row 1 names no problem"),
        ('{"task_id": 1}\n', "known formats"),
        ("[1, 2]", "row 1 is neither an object"),
        ("", "holds no answers"),
        ('{"name": "x", "results": [{"status": "OK"}]}', "results without their programs"),
        ('[["a"], {"task_id": 1, "completion": "a"}]', "mixes"),
        ("\xff\xfe\xff", "a.jsonl"),
        ('["def f(): pass"]', "nor a list of answers"),
        ('{"eval": {"HumanEval/0": {"nfiles": 1, "base": []}}}', "known formats"),
        (
            '{"doc": {"id": 1}, "resps": [["a"]], "filtered_resps": ["a"], "filter": "x"}\n'
            '{"doc": {"id": 1}, "resps": [["a"]], "filtered_resps": ["b"], "filter": "y"}\n',
            "the filters x and y: .* --raw",
        ),
    ],
)
def test_faults_of_a_file_are_one_line_that_names_the_place(tmp_path, text, said):
    path = tmp_path / "a.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=said) as caught:
        read_foreign(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ("HumanEval/3", "HumanEval_3_below_zero", True),
        ("3", "HumanEval/3", True),
        ("humaneval_3", "HumanEval/3", True),
        ("Mbpp/3", "MBPP/3", True),
        ("Mbpp/3", "HumanEval/3", False),
        ("HumanEval/3", "HumanEval/30", False),
        ("gsm8k/3", "gsm8k/4", False),
        ("gsm8k/3", "gsm8k/3", True),
        ("HumanEval_158_find_2", "HumanEval/158", True),
        ("nothing", "HumanEval/3", False),
        ("1873_A", "1873_B", False),
        ("1873_A", "1873_A", True),
        ("1873_Z", "1873_A", False),
    ],
)
def test_spellings_of_ids(theirs, ours, same):
    assert is_same_id(theirs, ours) is same


@pytest.fixture
def config(tmp_path):
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    folder = tmp_path / "data" / "humaneval"
    folder.mkdir(parents=True)
    (folder / "HumanEval.jsonl").write_text(lines(*PROBLEMS), encoding="utf-8")
    return BenchmarkConfig(
        benchmark="humaneval", data_dir=tmp_path / "data", out_dir=tmp_path / "o", workers=1
    )


def judged(config, path, text, **values):
    path.write_text(text)
    artifact = evaluate(replace(config, samples=path, **values))
    return artifact, json.loads((artifact.path / "report.json").read_text())


def test_any_k_is_reported_and_the_headline_says_what_has_no_answer(config, tmp_path):
    rows = [{"task_id": "HumanEval/0", "completion": t} for t in [RIGHT] + 4 * [WRONG]]
    artifact, report = judged(config, tmp_path / "a.jsonl", lines(*rows), k=(5, 1, 10))
    assert {name: s["value"] for name, s in report["scores"].items()} == {
        "pass@1": 0.2,
        "pass@5": 1,
    }
    assert artifact.counts["headline"].startswith("pass@1 20.0 (")
    assert artifact.counts["headline"].endswith("on 1 problems; 2 more have no answer")
    with pytest.raises(ConfigError, match="k is 0; choose a number from 1"):
        evaluate(replace(config, samples=tmp_path / "a.jsonl", k=(0,)))


def test_programs_end_in_their_own_tests_or_the_benchmarks(config, tmp_path):
    program = f"{PROBLEMS[0]['prompt']}{RIGHT}\n"
    for name, tests in {"theirs": "# another edition\n", "ours": PROBLEMS[0]["test"]}.items():
        row = {"name": "HumanEval/0", "tests": "?", "results": [{"program": program + tests}]}
        row = {**row, "tests": tests} if name == "theirs" else row
        out = tmp_path / name
        _, report = judged(config, tmp_path / "a.json", json.dumps(row), out_dir=out)
        assert report["outcomes"] == {"passed": 1}


def test_failed_answers_with_code_fences_are_pointed_out(config, tmp_path):
    rows = [{"task_id": "HumanEval/0", "solution": CHAT}]
    artifact, _ = judged(config, tmp_path / "a.jsonl", lines(*rows))
    assert "1 failed answers hold code fences: add --raw" in artifact.counts["headline"]


def test_answers_to_other_problems_are_named_and_not_passed_over(config, tmp_path):
    row = {"completion": RIGHT}
    ours = {"task_id": "HumanEval/0", **row}
    two = lines(ours, {"task_id": "HumanEval/999", **row})
    artifact, _ = judged(config, tmp_path / "a.jsonl", two)
    assert (
        "answers to 1 that humaneval does not have (HumanEval/999)" in artifact.counts["headline"]
    )
    with pytest.raises(SourceError, match=r"none of the problems .*HumanEval/0.* only .*Python/0"):
        judged(config, tmp_path / "b.jsonl", lines({"task_id": "Python/0", **row}))
    two = lines(ours, {"task_id": "2", **row})
    artifact, report = judged(config, tmp_path / "a.jsonl", two, limit=1, out_dir=tmp_path / "l")
    assert report["n_problems"] == 1
    assert "left out" not in artifact.counts["headline"]


def test_inspects_packed_log_is_told_how_to_be_unpacked(tmp_path):
    (tmp_path / "log.eval").write_bytes(b"PK\x03\x04")
    with pytest.raises(SourceError, match=r"inspect log dump log.eval"):
        read_foreign(tmp_path / "log.eval")


@pytest.mark.long
def test_raw_answers_are_cut_and_the_report_says_by_which_rule(config, tmp_path):
    row = lines({"task_id": "HumanEval/0", "output": CHAT})
    _, report = judged(config, tmp_path / "a.jsonl", row, raw=True)
    assert report["outcomes"] == {"passed": 1}
    assert report["settings"]["extraction"] == "own"
    assert report["settings"]["imports"] == "common"
    helper = CHAT.replace("def twice", "def two(): return 2\ndef twice").replace("2 *", "two() *")
    row = lines({"task_id": "HumanEval/0", "output": helper})
    _, report = judged(config, tmp_path / "b.jsonl", row, raw=True, out_dir=tmp_path / "b")
    assert report["outcomes"] == {"passed": 1}
    theirs = {"extraction": "deepseek", "out_dir": tmp_path / "c"}
    _, report = judged(config, tmp_path / "b.jsonl", row, raw=True, **theirs)
    assert report["outcomes"] == {"failed": 1}  # their rule loses helpers before the function
    assert report["settings"]["extraction"] == "deepseek"


def test_raw_needs_samples_and_deepseeks_rule_needs_a_benchmark_of_theirs(config):
    with pytest.raises(ConfigError, match="--raw"):
        evaluate(replace(config, canonical=True, raw=True))
    wrong = replace(config, benchmark="leetcode", style="instruct", extraction="deepseek")
    with pytest.raises(ConfigError, match="no rule for chat answers to leetcode"):
        evaluate(replace(wrong, api="http://nowhere"))


def test_imports_stand_before_answers_only_where_the_harness_puts_them(config, tmp_path):
    row = lines({"task_id": "HumanEval/0", "solution": "def twice(x):\n    return int(math.e) * x"})
    _, report = judged(config, tmp_path / "a.jsonl", row)
    assert report["outcomes"] == {"passed": 1}
    _, report = judged(config, tmp_path / "a.jsonl", row, imports="none", out_dir=tmp_path / "p")
    assert (report["outcomes"], report["settings"]["imports"]) == ({"failed": 1}, "none")


def test_another_edition_of_the_data_is_chosen_by_its_file(config, tmp_path):
    other = tmp_path / "other.jsonl.gz"
    other.write_bytes(gzip.compress(lines(PROBLEMS[2]).encode()))
    run = evaluate(replace(config, canonical=True, data_file=other))
    assert run.counts["outcomes"] == {"passed": 1}
    with pytest.raises(ConfigError, match="takes no --data-file"):
        evaluate(replace(config, benchmark="mmlu", canonical=True, data_file=other))


def test_options_that_lm_eval_ranked_are_letters(tmp_path):
    """Its files hold log-probabilities as texts; MMLU's rows have numbers within their subject."""
    ranked = [["-4.5", "False"], ["-1e-2", "True"], ["-inf", "False"]]
    row = {"doc_id": 3, "resps": [[each] for each in ranked], "filtered_resps": ranked}
    docs = [{"id": "Mercury_1", "question": "?"}, {"question": "?", "subject": "anatomy"}]
    path = tmp_path / "samples_mmlu.jsonl"
    path.write_text(lines(*({**row, "doc": doc} for doc in docs)))
    assert texts(path) == {"Mercury_1": ["B"], "anatomy/3": ["B"]}


@pytest.mark.parametrize(
    ("said", "whole"),
    [("  return f(x - 1)\n}", False), ("int  f(int x) {\n  return f(x - 1);\n}", True)],
)
def test_codegeex_programs_go_on_where_the_declaration_ends(config, tmp_path, said, whole):
    (folder := tmp_path / "data" / "humaneval-x" / "cpp" / "data").mkdir(parents=True)
    row = {"task_id": "CPP/0", "declaration": "int f(int x) {\n", "prompt": "int f(int x) {\n"}
    (folder / "humaneval_cpp.jsonl").write_text(lines(row | {"test": ""}))
    (tmp_path / "a.jsonl").write_text(lines({"task_id": "CPP/0", "generation": said}))
    config = replace(
        config, language="cpp", data_dir=tmp_path / "data", samples=tmp_path / "a.jsonl"
    )
    task = find_task("humaneval-x")
    (sample,), _ = read_samples(task, task.load(config.data_dir, config), config)
    assert sample.answer == (said if whole else "int f(int x) {\n" + said)


def test_choices_and_short_answers_are_read_however_they_are_written(shared_data, tmp_path):
    config = BenchmarkConfig(
        benchmark="", data_dir=shared_data / "benchmarks", samples=tmp_path / "a.jsonl"
    )
    for name, rows, answers in (
        ("mmlu", [{"id": "anatomy/0", "completion": " (A)\n\nQ"}], ["A"]),
        ("nq-open", [{"question": "who got the first nobel prize in physics",
                      "prediction": " Wilhelm Conrad Röntgen\nQuestion: x"}],
         ["Wilhelm Conrad Röntgen"]),
    ):  # fmt: skip
        (tmp_path / "a.jsonl").write_text(lines(*rows))
        task = find_task(name)
        subset = replace(config, subset="anatomy" if name == "mmlu" else "")
        samples, _ = read_samples(task, task.load(config.data_dir, subset), subset)
        assert [sample.answer for sample in samples] == answers
