"""The stages on a small benchmark: resuming, foreign files, reports, servers; with a backend that
is a table."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from codling.core.errors import ConfigError, RequestError, SourceError
from codling.core.plan import fresh_start
from codling.evaluate import benchmark, harness
from codling.evaluate.backends import Answer, ApiBackend
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.rows import Rows
from codling.evaluate.task import Prompt, Sampling
from codling.evaluate.tasks import TASKS, find_task

PROBLEMS = [
    {
        "task_id": f"HumanEval/{i}",
        "prompt": f'def {name}(x):\n    """{text}"""\n',
        "entry_point": name,
        "canonical_solution": f"    return {body}\n",
        "test": f"def check(candidate):\n    assert candidate(3) == {result}\n",
    }
    for i, (name, text, body, result) in enumerate(
        [
            ("twice", "2x", "2 * x", 6),
            ("next_one", "x+1", "x + 1", 4),
            ("square", "x^2", "x * x", 9),
        ]
    )
]


class Table:
    """A backend that answers from a list, and counts."""

    identity = "table"

    def __init__(self, *texts: str) -> None:
        self.texts, self.n_asked = texts, 0

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        pass

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:  # noqa: ARG002
        self.n_asked += 1
        names = ("twice", "next_one", "square")
        index = next(i for i, name in enumerate(names) if name in (prompt.text or ""))
        return Answer(text="\n" + self.texts[index], finish="stop", n_tokens=3)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def config(tmp_path: Path) -> BenchmarkConfig:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    folder = tmp_path / "data" / "humaneval"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(p) + "\n" for p in PROBLEMS)
    (folder / "HumanEval.jsonl").write_text(lines, encoding="utf-8")
    return BenchmarkConfig(
        benchmark="humaneval",
        data_dir=tmp_path / "data",
        out_dir=tmp_path / "report",
        api="http://nowhere",
        workers=1,
    )


def with_table(monkeypatch, *texts: str) -> Table:
    table = Table(*texts)
    monkeypatch.setattr(benchmark, "open_backend", lambda _: table)
    return table


def test_a_prompt_without_room_ends_the_run_before_the_first_is_asked(config, monkeypatch):
    table = with_table(monkeypatch, "return 2 * x", "return x + 1", "return x * x")

    def check(prompt: Prompt, sampling: Sampling) -> None:  # noqa: ARG001
        if "square" in (prompt.text or ""):
            raise RequestError("no room")

    monkeypatch.setattr(table, "check", check)
    with pytest.raises(RequestError, match="no room"):
        evaluate(config)
    assert table.n_asked == 0


def test_answers_are_judged_and_failures_keep_their_reason(config, monkeypatch):
    with_table(monkeypatch, "    return 2 * x", "    return x", "    import os; os._exit(0)")
    artifact = evaluate(config)
    report = json.loads((artifact.path / "report.json").read_text())
    assert report["scores"]["pass@1"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert report["outcomes"] == {"passed": 1, "failed": 1, "left early": 1}
    assert "AssertionError" in report["failures"]
    assert "square" in (artifact.path / "report.html").read_text()
    assert "pass@1 33.3" in (artifact.path / "report.md").read_text()


def test_a_second_run_asks_and_runs_nothing_and_reports_the_same(config, monkeypatch):
    table = with_table(monkeypatch, "    return 2 * x", "    return x + 1", "    return 0")
    first = evaluate(config)
    texts = {p.name: p.read_bytes() for p in first.path.glob("*.*") if p.name != "manifest.json"}
    shutil.rmtree(first.path)
    monkeypatch.setattr(harness, "Executor", _no_executor(monkeypatch))
    again = evaluate(config)
    assert table.n_asked == 3
    assert {n: (again.path / n).read_bytes() for n in texts} == texts


def _no_executor(monkeypatch):
    class Idle(harness.Executor):
        def map(self, programs):
            assert not programs, "ran again"
            return iter(())

    del monkeypatch
    return Idle


def test_a_run_that_was_killed_goes_on_where_it_was(config, monkeypatch):
    table = with_table(monkeypatch, "    return 2 * x", "    return x + 1", "    return x * x")
    evaluate(config)
    rows = config.out_dir.with_name("report.rows") / "generations.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text(lines[0] + lines[1][: len(lines[1]) // 2])  # as kill -9 leaves it
    shutil.rmtree(config.out_dir)
    assert evaluate(config).counts["outcomes"] == {"passed": 3}
    assert table.n_asked == 5


@pytest.mark.long
def test_fresh_drops_the_answers_of_a_report_that_is_not_there_yet(config, monkeypatch):
    model = Table("    return 2 * x", "    return x + 1", "    return x * x")
    monkeypatch.setattr(benchmark, "open_backend", lambda _: model)
    small = replace(config, limit=1)
    run = evaluate(small)
    shutil.rmtree(run.path)
    evaluate(small)
    assert model.n_asked == 1
    shutil.rmtree(run.path)
    with fresh_start():
        evaluate(small)
        assert model.n_asked == 2
        evaluate(small)  # finished work stays
    assert model.n_asked == 2


def test_another_timeout_judges_again_without_asking_again(config, monkeypatch):
    rest = "    import time; time.sleep(0.5); return "
    table = with_table(monkeypatch, rest + "2 * x", rest + "x + 1", rest + "x * x")
    assert evaluate(replace(config, timeout=0.3)).counts["outcomes"] == {"timed out": 3}
    assert evaluate(replace(config, timeout=60.0)).counts["outcomes"] == {"passed": 3}
    assert table.n_asked == 3


def test_the_benchmarks_own_solutions_pass(config):
    artifact = evaluate(replace(config, api=None, canonical=True))
    assert artifact.counts["outcomes"] == {"passed": 3}


@pytest.mark.long
@pytest.mark.parametrize(
    "rows",
    [
        [{"task_id": "HumanEval/0", "completion": "    return 2 * x"}],
        [{"task_id": "HumanEval/0", "solution": "def twice(x):\n    return 2 * x"}],
        [{"name": "HumanEval_0_twice", "completions": ["    return 2 * x", "    return x"]}],
    ],
)
def test_answers_of_other_harnesses_are_judged(config, tmp_path, rows):
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcomes = evaluate(replace(config, api=None, samples=path)).counts["outcomes"]
    assert outcomes["passed"] == 1


def test_samples_in_an_unknown_format_are_refused(config, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"task_id": "HumanEval/0", "text": "?"}\n')
    with pytest.raises(SourceError, match="known formats"):
        evaluate(replace(config, api=None, samples=path))


def test_mistakes_in_the_settings_are_one_line_each(config, tmp_path):
    with pytest.raises(ConfigError, match="did you mean humaneval"):
        evaluate(replace(config, benchmark="humanevl"))
    with pytest.raises(ConfigError, match="--temperature"):
        evaluate(replace(config, n_samples=5))
    with pytest.raises(ConfigError, match="--model PATH"):
        evaluate(replace(config, api=None))
    with pytest.raises(ConfigError, match="humaneval takes no --subset"):
        evaluate(replace(config, subset="gsm8k"))
    with pytest.raises(ConfigError, match="limit is -3; choose a number from 0"):
        evaluate(replace(config, limit=-3))
    with pytest.raises(ConfigError, match="needs --out-dir"):
        evaluate(replace(config, out_dir=None))
    with pytest.raises(SourceError, match="no benchmark file"):
        evaluate(replace(config, data_dir=tmp_path / "none"))


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(config):
    replies = [429, 503, 200]
    asked = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        if "refuse" in asked[-1]["prompt"]:
            return httpx.Response(400, text="too long")
        body = {"choices": [{"text": " ok\nmore", "finish_reason": "stop"}], "usage": {}}
        return httpx.Response(replies[len(asked) - 1], json=body)

    backend = ApiBackend(config, transport=httpx.MockTransport(serve))
    backend._pause = 0.0
    answer = backend.answer(Prompt(text="x"), Sampling(max_tokens=5, stop=("\n",)), None)
    assert (answer.text, len(asked)) == (" ok", 3)
    with pytest.raises(RequestError, match="too long"):
        backend.answer(Prompt(text="refuse"), Sampling(), None)
    assert len(asked) == 4
    backend.close()


def test_holes_and_chats_go_to_their_endpoints(config):
    asked = {}

    def serve(request: httpx.Request) -> httpx.Response:
        asked[request.url.path] = json.loads(request.content)
        choice = {"text": "a", "message": {"content": "b"}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice]})

    backend = ApiBackend(config, transport=httpx.MockTransport(serve))
    assert backend.answer(Prompt(hole=("p", "s")), Sampling(), 1).text == "a"
    chat = Prompt(messages=({"role": "user", "content": "?"},))
    assert backend.answer(chat, Sampling(), None).text == "b"
    assert asked["/completions"]["suffix"] == "s"
    assert asked["/chat/completions"]["messages"][0]["content"] == "?"
    backend.close()


def test_rows_survive_a_torn_last_line(tmp_path):
    rows = Rows(tmp_path / "r.jsonl")
    rows.add("a", value=1)
    rows.add("b", value=2)
    with rows.path.open("a") as file:
        file.write('{"key": "c", "val')
    again = Rows(rows.path)
    again.add("c", value=3)
    assert [k in Rows(rows.path) for k in "abc"] == [True] * 3


def test_every_benchmark_in_the_list_opens():
    for name in TASKS:
        assert find_task(name).name == name


def test_prompts_are_asked_by_length_among_neighbours_only():
    """Little is padded so, and prompts with the same examples stay together."""
    lengths = [*range(64, 0, -1), 5, 3]
    prompts = [Prompt(text="x" * n) for n in lengths]
    order = harness.order_by_length(prompts, [i for i in range(66) if i != 1])
    assert [lengths[i] for i in order] == [*sorted([64, *range(1, 63), 5]), 3]
    ranked = [Prompt(text="x" * n, options=("A",)) for n in (3, 1, 2)]
    assert harness.order_by_length(ranked, [0, 1, 2]) == [0, 1, 2]
