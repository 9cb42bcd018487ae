"""The tables of the READMEs as suites: every row names a benchmark, what cannot be run says why,
and our column stands beside the published ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from codling.cli import main
from codling.core.errors import ConfigError, SourceError
from codling.evaluate import benchmark
from codling.evaluate.backends import Answer
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.suite import suites, to_markdown
from codling.evaluate.task import Prompt, Sampling
from codling.evaluate.tasks import TASKS


class SaysA:
    """Answers "A" or the first option, whatever is asked."""

    identity = "a"

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        pass

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:  # noqa: ARG002
        return Answer(text=prompt.options[0] if prompt.options else "A", finish="stop")

    def close(self) -> None:
        """Nothing to close."""


def test_every_row_has_a_benchmark_and_a_value_for_each_column():
    assert list(suites()) == ["v2-base", "v2-chat", "coder-v2", "coder"]
    for suite in suites().values():
        for table in suite["tables"]:
            for row in table["rows"]:
                assert row["benchmark"] in TASKS
                assert len(row["values"]) == len(table["columns"]), row["label"]


def test_the_published_values_are_those_of_the_readmes(shared_data):
    for name, file in (("v2-base", "deepseek-v2"), ("v2-chat", "deepseek-v2"),
                       ("coder-v2", "deepseek-coder-v2")):  # fmt: skip
        text = (shared_data / "readmes" / f"{file}.md").read_text().replace("*", "")
        for table in suites()[name]["tables"]:
            for row in table["rows"]:
                assert all(value in text for value in row["values"])


def mmlu_only(tmp_path: Path, shared_data: Path) -> Path:
    source = shared_data / "benchmarks" / "mmlu"
    for part in ("dev", "test"):
        folder = tmp_path / "data" / "mmlu" / part
        folder.mkdir(parents=True)
        shutil.copy(source / part / f"anatomy_{part}.csv", folder)
    return tmp_path / "data"


def test_a_suite_is_one_page_with_our_column_and_what_was_not_run(
    tmp_path, shared_data, monkeypatch
):
    monkeypatch.setattr(benchmark, "open_backend", lambda _: SaysA())
    config = BenchmarkConfig(
        benchmark="suite v2-base", data_dir=mmlu_only(tmp_path, shared_data), api="http://x",
        api_model="ours", out_dir=tmp_path / "suite", limit=50,
    )  # fmt: skip
    artifact = evaluate(config)
    assert not isinstance(artifact, str)
    assert artifact.counts == {"rows": 16, "run": 2, "not_run": 14}
    page = json.loads((artifact.path / "suite.json").read_text())
    first = page["tables"][0]["rows"][0]
    assert first["label"] == "MMLU"
    assert first["shots"] == "5"
    assert first["settings"] == "mmlu, base"
    assert first["values"] == ["78.9", "77.6", "71.3", "78.5"]
    assert first["score"].endswith(", n 50)")
    assert "The following are multiple choice questions" in first["first_prompt"]
    assert "no BBH task" in page["tables"][0]["rows"][1]["not_run"]
    text = (artifact.path / "suite.md").read_text()
    assert "| | shots | settings | ours | LLaMA3 70B |" in text
    assert "not run: no benchmark file" in text
    html = (artifact.path / "suite.html").read_text()
    assert "<th>LLaMA3 70B</th>" in html
    assert "<td>78.9</td>" in html
    assert "|---|" not in html


def test_a_prompt_with_code_blocks_stands_in_a_longer_fence() -> None:
    row = {
        "label": "a", "shots": "0", "settings": "", "score": "1", "not_run": "", "style": "base",
        "values": [], "first_prompt": "say\n```python\npass\n```",
    }  # fmt: skip
    page = {"suite": "s", "source": "", "tables": [{"title": "", "columns": [], "rows": [row]}]}
    assert "\n````\nsay\n```python\npass\n```\n````\n" in to_markdown(page, "m")


def test_an_unknown_suite_names_those_there_are(tmp_path, capsys):
    config = BenchmarkConfig(benchmark="suite v3", out_dir=tmp_path / "o", api="http://x")
    with pytest.raises(ConfigError, match="v2-base, v2-chat, coder-v2, coder"):
        evaluate(config)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "suite", "nothing", "--out-dir", str(tmp_path / "o")])
    assert ended.value.code == 2
    assert "no suite 'nothing'" in capsys.readouterr().err


def test_a_suite_without_any_model_or_data_is_one_line_and_no_page(tmp_path):
    config = BenchmarkConfig(
        benchmark="suite v2-base", model=tmp_path / "no.gguf", data_dir=tmp_path,
        out_dir=tmp_path / "suite",
    )  # fmt: skip
    with pytest.raises(SourceError, match=r"no checkpoint at .*no.gguf"):
        evaluate(config)
    with pytest.raises(SourceError, match="no folder of data"):
        evaluate(replace(config, model=None, api="http://x", data_dir=tmp_path / "no"))
    assert not (tmp_path / "suite").exists()
