"""The benchmarks on their real data: own solutions pass, broken ones fail, prompts are as
published."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import SourceError, ToolMissingError
from codling.evaluate import harness
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample, execute
from codling.evaluate.rows import Rows
from codling.evaluate.task import Problem
from codling.evaluate.tasks import find_task
from codling.evaluate.tasks.multipl_e_languages import BY_SUFFIX
from codling.report.heatmap import heat_map
from codling.sandbox.executor import Executor
from codling.sandbox.interpreter import Interpreter
from codling.sandbox.toolchains import version as toolchain_version


@pytest.fixture
def config(shared_data, tmp_path) -> BenchmarkConfig:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    return BenchmarkConfig(
        benchmark="", data_dir=shared_data / "benchmarks", out_dir=tmp_path / "o", canonical=True
    )


def canonical(config: BenchmarkConfig, name: str, step: int = 1, **values: Any) -> dict[str, int]:
    """Outcomes of every `step`-th problem's own solution."""
    config = replace(config, **values)
    task = find_task(name)
    problems = task.load(config.data_dir, config)[::step]
    samples = [Sample(problem=p, index=0, answer=task.canonical(p) or "") for p in problems]
    done = execute(task, samples, config, Rows(config.out_dir / "rows.jsonl"))
    return {s: sum(d.status == s for d in done) for s in {d.status for d in done}}


FAST = [
    ("humaneval", 8, {}),
    ("humaneval-plus", 20, {"subset": "base"}),
    ("mbpp", 40, {}),
    ("mbpp-plus", 40, {"subset": "base"}),
    ("humaneval-infilling", 80, {"subset": "single-line"}),
    ("fim-santacoder", 100, {"subset": "tests", "language": "py"}),
    ("cruxeval", 60, {}),
    ("cruxeval", 60, {"subset": "input"}),
    ("mmlu", 500, {}),
    ("bbh", 200, {}),
    ("needle", 1, {}),
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "step", "values"), FAST)
def test_own_solutions_pass(config, name, step, values):
    outcomes = canonical(config, name, step, **values)
    assert set(outcomes) == {"passed"}, outcomes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n"), [("humaneval", 164), ("mbpp", 500), ("humaneval-plus", 164), ("mbpp-plus", 378)]
)
def test_all_own_solutions_pass(config, name, n):
    assert canonical(config, name, timeout=600.0) == {"passed": n}


@pytest.mark.slow
@pytest.mark.parametrize("subset", ["gsm8k", "math", "gsm-hard", "svamp", "asdiv", "mawps"])
def test_answers_written_as_programs_pass(config, subset):
    pytest.importorskip("sympy")
    assert set(canonical(config, "pal-math", 50, subset=subset)) == {"passed"}


@pytest.mark.long
def test_broken_solutions_fail_for_their_reason(config, tmp_path):
    task = find_task("humaneval")
    problem = task.load(config.data_dir, config)[0]
    start = problem.data["prompt"]
    bodies = {
        "failed": "    return None",
        "timed out": "    while True: pass",
        "left early": "    import os; os._exit(0)",
        "out of memory": "    return bytearray(1 << 40)",
    }
    samples = [
        Sample(problem=problem, index=i, answer=start + b) for i, b in enumerate(bodies.values())
    ]
    for sample, status in zip(samples, bodies, strict=True):
        limited = replace(config, timeout=1.0 if status == "timed out" else 60.0)
        rows = Rows(tmp_path / f"{sample.index}.jsonl")
        assert [s.status for s in execute(task, [sample], limited, rows)] == [status]


def test_a_base_prompt_is_stripped_and_an_instruct_prompt_is_one_turn(config):
    task = find_task("humaneval")
    problem = task.load(config.data_dir, config)[0]
    assert task.prompt(problem, config).text == problem.data["prompt"].strip()
    chat = task.prompt(problem, replace(config, style="instruct"))
    assert chat.messages is not None
    assert "```python\nfrom typing import List" in chat.messages[0]["content"]
    own = task.prompt(problem, replace(config, style="instruct", instruction="Do: {prompt}"))
    assert own.messages[0]["content"].startswith("Do: from typing")


def test_mbpp_asks_for_the_500_test_problems_after_three_examples(config):
    task = find_task("mbpp")
    problems = task.load(config.data_dir, config)
    text = task.prompt(problems[0], config).text
    assert (len(problems), problems[0].id) == (500, "MBPP/11")
    assert text.count("[DONE]") == 3
    assert text.endswith("[BEGIN]\n")


def test_gsm8k_is_asked_after_eight_examples_and_chats_after_none(config, tmp_path):
    task = find_task("cot-math")
    text = task.prompt(task.load(config.data_dir, config)[0], config).text
    assert text.count("Question: ") == 9
    assert "Natalia sold 48/2 = 24 clips in May." in text  # <<48/2=24>> is left out
    assert text.count("\nThe answer is 72.\n\n") == 1
    none = replace(config, shots=0)
    alone = task.prompt(task.load(config.data_dir, none)[0], none).text
    assert alone.endswith("Answer: Let's think step by step.")
    chat = replace(config, style="instruct")
    messages = task.prompt(task.load(config.data_dir, chat)[0], chat).messages
    assert "The answer is" not in messages[0]["content"]
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "1?", "answer": "#### 1"}\n')
    with pytest.raises(SourceError, match="--shots 0"):
        task.load(tmp_path, config)


@pytest.mark.parametrize("language", list(BY_SUFFIX))
def test_a_chat_answer_in_any_language_becomes_the_program_it_means(config, language):
    task = find_task("multipl-e")
    config = replace(config, language=language)
    for problem in task.load(config.data_dir, config)[:20]:
        prompt = problem.data["prompt"]
        code = f"Sure!\n```\n{prompt}BODY\n}}\n```\nThat is it."
        answer = task.extract(problem, code, "instruct")
        assert answer.count("BODY") == 1
        assert _signature(problem) in answer


def _signature(problem: Problem) -> str:
    return problem.data["prompt"].strip().splitlines()[-1].strip()


@pytest.mark.long
@pytest.mark.parametrize("language", ["js", "php", "sh"])
def test_empty_bodies_fail(config, language, tmp_path):
    task = find_task("multipl-e")
    config = replace(config, language=language)
    problems = task.load(config.data_dir, config)[::20]
    samples = [Sample(problem=p, index=0, answer=task.extract(p, "", "base")) for p in problems]
    try:
        done = harness.execute(task, samples, config, Rows(tmp_path / "rows.jsonl"))
    except ToolMissingError as error:
        pytest.skip(str(error))
    assert not any(s.passed for s in done)


JS_TESTS = """const assert = require('node:assert');

function test() {
  let candidate = twice;
  assert.deepEqual(candidate(2), 4);
}

test();"""
TS_TESTS = "declare var require: any;\n" + JS_TESTS
TWICE = "function twice(x) { return 2 * x; }\n"


RIGHT_BESIDE = (
    "",
    "let test = 1;\n",
    "const assert = null, candidate = 3;\n",
    "function test() { return 5; }\n",
)
WRONG_BESIDE = (
    "let test = 1;\n",
    "if (false)\n",
    "if (true) {} else\n",
    "while (false)\n",
    "const unused = () =>\n",
    "function unused()\n",
    "if (false) {\n",
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("language", "tests"),
    [("js", JS_TESTS), pytest.param("ts", TS_TESTS, marks=pytest.mark.slow)],
)
def test_names_of_an_answer_do_not_meet_those_of_the_tests(config, language, tests):
    if toolchain_version(language) is None:
        pytest.skip(f"no toolchain for {language}")
    task = find_task("multipl-e")
    problem = Problem(id="x", data={"test": tests, "prompt": ""}, group=language)
    wrong = TWICE.replace("2 * x", "x")
    answers = {TWICE + end: True for end in RIGHT_BESIDE} | {
        wrong + end: False for end in WRONG_BESIDE
    }
    patient = replace(config, timeout=60.0)
    programs: list[Any] = [task.check(problem, answer, patient) for answer in answers]
    with Executor(1) as executor:
        found = {
            answer: executor.run(p).passed for answer, p in zip(answers, programs, strict=True)
        }
    assert found == answers


def test_ds1000_says_which_libraries_are_missing(config, monkeypatch):
    monkeypatch.setattr(Interpreter, "has", lambda *_: False)
    outcomes = canonical(config, "ds1000", 100)
    assert set(outcomes) == {"not run"}


def test_a_grid_of_lengths_and_depths_becomes_a_map():
    scores = {
        f"{length:>7} tokens at {depth:>3}%": {"pass@1": {"value": depth / 100}}
        for length in (1024, 2048)
        for depth in (0, 100)
    }
    page = heat_map(scores)
    assert "<tr><th></th><th>1024 tokens</th><th>2048 tokens</th></tr>" in page
    assert page.count("hsl(0 60% 75%)'>0<") == page.count("hsl(120 60% 75%)'>100<") == 2
    assert heat_map({"cpp": {"pass@1": {"value": 1.0}}}) == ""


def test_the_files_stay_short():
    folder = Path(harness.__file__).parent / "tasks"
    assert all(len(p.read_text().splitlines()) < 120 for p in folder.glob("*.py"))
