"""Every benchmark that has its own answers: these pass, and empty ones do not; the list, and what
each file of a task is."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codling.core.errors import CodlingError
from codling.evaluate import bigcodebench_needs
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample, execute
from codling.evaluate.rows import Rows
from codling.evaluate.task import Verdict
from codling.evaluate.tasks import TASKS, find_task

FOLDER = Path(__file__).parents[2] / "src" / "codling" / "evaluate" / "tasks"
NOT_HERE = ("apps", "usaco", "repobench", "crosscodeeval", "defects4j")
"""Their data are not public in small: other tests have rows of their own."""
LARGE = ("safim", "aider-edit", "aider-polyglot", "humaneval-plus", "mbpp-plus", "mmlu", "ceval")
"""Their files take seconds to read."""
LANGUAGES = ("python", "cpp", "go", "java", "js", "rust")
SETTINGS = {"fim-santacoder": {"language": "py"}, "multipl-e": {"language": "cpp"}}


def test_there_are_at_least_38_benchmarks_in_files_under_120_lines():
    assert len(TASKS) >= 38
    long = {p.name for p in FOLDER.glob("*.py") if p.read_text().count("\n") >= 120}
    assert long == set()


def test_the_line_of_the_doctor_names_every_library_of_bigcodebench_hard(config):
    problems = find_task("bigcodebench-hard").load(config.data_dir, config)
    line = bigcodebench_needs.LIBRARIES_LINE.replace("_", "-").lower()
    packages = {  # where a package has not the name of what is imported
        "bs4": "beautifulsoup4", "crypto": "pycryptodome", "cv2": "opencv-python-headless",
        "docx": "python-docx", "pil": "pillow", "sklearn": "scikit-learn",
    }  # fmt: skip
    used = {name for p in problems for name in bigcodebench_needs._imports(p.data)}
    names = {n.replace("_", "-").lower() for n in used - sys.stdlib_module_names}
    listed = {word.partition("==")[0] for word in line.partition(" install ")[2].split()}
    assert {packages.get(n, n).replace("tensorflow", "tensorflow-cpu") for n in names} <= listed


@pytest.fixture
def config(shared_data) -> BenchmarkConfig:
    return BenchmarkConfig(benchmark="", data_dir=shared_data / "benchmarks", workers=1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
        for name in TASKS
        if name not in NOT_HERE
    ],
)
def test_own_answers_are_right_and_empty_ones_wrong_without_running(config, name):
    """Wherever nothing has to run: all rows. What runs is in the next test."""
    task = find_task(name)
    config = replace(config, **SETTINGS.get(name, {}))
    try:
        problems = task.load(config.data_dir, config)
    except CodlingError as error:  # a benchmark whose data is not in this folder
        pytest.skip(str(error))
    styles = [replace(config, style="base"), replace(config, style="instruct")]
    asked = [task.prompt(problems[0], each) for each in styles]
    assert all(prompt.text or prompt.messages or prompt.hole for prompt in asked)
    step = max(1, len(problems) // 300)
    for problem in problems[::step]:
        own = task.canonical(problem)
        if own is not None:
            found = task.check(problem, own, config)
            decided = isinstance(found, Verdict) and not found.skipped
            assert not decided or getattr(found, "passed", False), (problem.id, own)
        nothing = task.extract(problem, "", "instruct")
        empty = task.check(problem, task.join([nothing]), config)
        assert not getattr(empty, "passed", False), problem.id
        assert not getattr(empty, "mark", 0), problem.id


RUNS = [
    ("aider-edit", 60, {}),
    ("aider-edit", 60, {"subset": "diff"}),
    ("aider-polyglot", 20, {"language": "python"}),
    ("aider-polyglot", 20, {"language": "java"}),
    ("aider-polyglot", 9, {"language": "rust"}),
    ("safim", 2900, {}),
    ("safim", 2900, {"subset": "control"}),
    *(("humaneval-x", 80, {"language": x}) for x in LANGUAGES),
    *(
        ("humaneval-fix", 80, {"language": x})
        for x in ("python", "cpp", "go", "java", "js", "rust")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step", "values"), RUNS)
def test_own_answers_pass_and_empty_ones_fail_in_the_sandbox(config, tmp_path, name, step, values):
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    task = find_task(name)
    config = replace(config, timeout=100.0, **values)
    problems = task.load(config.data_dir, config)[::step]
    own = [Sample(problem=p, index=0, answer=task.canonical(p) or "") for p in problems]
    done = execute(task, own, config, Rows(tmp_path / "own.jsonl"))
    assert {s.status for s in done} == {"passed"}, [(s.problem.id, s.detail) for s in done]
    nothing = [
        replace(s, answer=task.join([task.extract(s.problem, "", "instruct")])) for s in own[:1]
    ]
    done = execute(task, nothing, config, Rows(tmp_path / "empty.jsonl"))
    assert not any(s.passed for s in done)


def test_repairs_are_written_for_the_official_harness(config, tmp_path):
    said = "Here:\n```diff\ndiff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n```"
    first = find_task("swe-bench").load(config.data_dir, config)[0].id
    (tmp_path / "a.jsonl").write_text(json.dumps({"instance_id": first, "response": said}) + "\n")
    config = replace(
        config, benchmark="swe-bench", out_dir=tmp_path / "out", samples=tmp_path / "a.jsonl",
        raw=True,
    )  # fmt: skip
    artifact = evaluate(config)
    said = "nothing could be judged: the official harness decides: judgments.jsonl is its "
    assert artifact.counts["headline"] == f"{said}predictions file (1); 299 more have no answer"
    (row,) = (json.loads(x) for x in (artifact.path / "judgments.jsonl").read_text().splitlines())
    assert row == {
        "instance_id": first,
        "model_name_or_path": "a",
        "model_patch": "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n",
    }
