"""The examples of docs/evaluation.md are whole benchmarks: they run as they stand there."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.core.errors import ConfigError, SourceError
from codling.evaluate import benchmark, judge
from codling.evaluate.backends import Answer, ApiBackend
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Prompt, Sampling
from codling.evaluate.tasks import find_task

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"
ADD = "```python\na, b = map(int, input().split())\nprint(a + b)\nraise SystemExit\n```"


class Says:
    """A backend that always says the same."""

    identity = "says"

    def __init__(self, text: str) -> None:
        self.text = text

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        pass

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:  # noqa: ARG002
        return Answer(text=self.text, finish="stop", n_tokens=1)

    def close(self) -> None:
        """Nothing to close."""


def example(name: str, folder: Path) -> Path:
    """The docs' example of a task with this name, as a file."""
    blocks = re.findall(r"```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.S | re.M)
    (source,) = [block for block in blocks if f'name="{name}"' in block]
    assert source.count("\n") < 120
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    return path


def configured(tmp_path: Path, name: str, rows: list[dict[str, Any]], file: str):
    path = tmp_path / "data" / file
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return BenchmarkConfig(
        benchmark=str(example(name, tmp_path)),
        data_dir=tmp_path / "data",
        out_dir=tmp_path / "out",
        api="http://nowhere",
        style="instruct",
    )


def test_the_contest_example_runs_programs(tmp_path, monkeypatch):
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    rows = [
        {"id": "add", "question": "Add.", "cases": [{"stdin": "1 2", "stdout": "3\n"}]},
        {"id": "sub", "question": "Subtract.", "cases": [{"stdin": "1 2", "stdout": "-1"}]},
    ]
    config = configured(tmp_path, "contest", rows, "contest/problems.jsonl")
    monkeypatch.setattr(benchmark, "open_backend", lambda _: Says(ADD))
    artifact = evaluate(config)
    assert artifact.counts["outcomes"] == {"passed": 1, "failed": 1}
    assert "for '1 2' it said '3" in (artifact.path / "outcomes.jsonl").read_text()


def test_the_open_example_asks_a_judge_once(tmp_path, monkeypatch):
    rows = [{"id": str(i), "question": f"{i}?", "reference": str(i % 2)} for i in range(4)]
    config = configured(tmp_path, "open", rows, "open/questions.jsonl")
    asked = []

    def serve(request: httpx.Request) -> httpx.Response:
        text = json.loads(request.content)["messages"][0]["content"]
        asked.append(text)
        said = (
            "hm" if "Question: 3?" in text else f"[[{'yes' if 'Reference: 1' in text else 'no'}]]"
        )
        return httpx.Response(200, json={"choices": [{"message": {"content": said}}]})

    monkeypatch.setattr(benchmark, "open_backend", lambda _: Says("1"))
    monkeypatch.setattr(
        judge,
        "open_judge",
        lambda c: ApiBackend(replace(c, api="http://j"), transport=httpx.MockTransport(serve)),
    )
    first = evaluate(config)
    assert first.counts["outcomes"] == {"failed": 2, "passed": 1}
    assert json.loads((first.path / "report.json").read_text())["not_run"] == {"hm": 1}
    shutil.rmtree(first.path)
    assert evaluate(config).counts == first.counts
    assert len(asked) == 4


def test_an_edited_file_is_another_benchmark(tmp_path, monkeypatch):
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    rows = [{"id": "add", "question": "Add.", "cases": [{"stdin": "1 2", "stdout": "3"}]}]
    config = configured(tmp_path, "contest", rows, "contest/problems.jsonl")
    monkeypatch.setattr(benchmark, "open_backend", lambda _: Says(ADD))
    assert evaluate(config).counts["outcomes"] == {"passed": 1}
    file = Path(config.benchmark)
    file.write_text(file.read_text().replace("said.split() ==", "said.split() !="))
    assert evaluate(config).counts["outcomes"] == {"failed": 1}


def test_without_a_judge_the_setting_is_named(tmp_path, monkeypatch):
    rows = [{"id": "a", "question": "?", "reference": "1"}]
    config = configured(tmp_path, "open", rows, "open/questions.jsonl")
    monkeypatch.setattr(benchmark, "open_backend", lambda _: Says("1"))
    with pytest.raises(ConfigError, match="--judge-api"):
        evaluate(config)


def test_a_file_without_a_task_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="has no TASK"):
        find_task(str(tmp_path / "empty.py"))
    with pytest.raises(SourceError, match="no benchmark file"):
        find_task(str(tmp_path / "none.py"))
