"""The tables of the READMEs as suites: every row names a benchmark, what cannot be run says why,
and our column stands beside the published ones."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from codling.cli import main
from codling.core.artifact import Artifact, Manifest
from codling.core.errors import ConfigError, SourceError
from codling.core.files import write_json
from codling.evaluate import benchmark
from codling.evaluate.backends import Answer
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.suite import _config_of, _row, suites, to_markdown
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


ALIGN = {
    "总分": "AlignBench total",
    "中文推理": "AlignBench reasoning",
    "中文语言": "AlignBench language",
}
BESIDE = ("Domain", "Architecture", "开源/闭源", "#TP", "#AP")
"""Rows and columns of the READMEs' tables that are no scores."""


def readme_rows(text: str) -> set[tuple[str, tuple[str, ...]]]:
    """Each benchmark of a README's tables of scores with its values, model by model."""
    found = set()
    for block in re.findall(r"(?:^\|.*\n)+", text.replace("*", ""), re.M):
        table = [
            [cell.strip() for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()
        ]
        if "Download" in table[0] or len(table) < 4 or "#Total Params" in table[0]:
            continue
        rows = [
            row
            for row in [table[0], *table[2:]]
            if row[-1] and not row[0].startswith("Architecture")
        ]
        columns = [i for i, name in enumerate(rows[0]) if name not in BESIDE]
        rows = [[row[i] for i in columns] for row in rows]
        if rows[0][0] in ("", "Model", "模型"):  # models are rows there
            rows = [list(column) for column in zip(*rows, strict=True)]
        found |= {(ALIGN.get(label, label), tuple(values)) for label, *values in rows[1:]}
    return found


@pytest.mark.parametrize(
    ("readme", "names", "n_rows"),
    [("deepseek-v2", ("v2-base", "v2-chat"), 36), ("deepseek-coder-v2", ("coder-v2",), 28)],
)
def test_every_row_of_the_readmes_tables_is_there_with_all_its_values(
    shared_data, readme, names, n_rows
):
    published = readme_rows((shared_data / "readmes" / f"{readme}.md").read_text())
    tables = [t for name in names for t in suites()[name]["tables"] if "picture" not in t["title"]]
    ours = {(row["label"], tuple(row["values"])) for t in tables for row in t["rows"]}
    assert len(published) == n_rows
    assert published == ours


def test_what_a_readme_names_without_a_table_is_there_too():
    named = {name: {row["benchmark"] for t in suite["tables"] for row in t["rows"]}
             for name, suite in suites().items()}  # fmt: skip
    assert {"humaneval", "multipl-e", "mbpp", "ds1000", "apps", "leetcode"} <= named["coder"]
    assert {"needle"} <= named["v2-base"] & named["coder-v2"]
    assert {"alpaca-eval", "mt-bench", "livecodebench"} <= named["v2-chat"]


def mmlu_only(tmp_path: Path, shared_data: Path) -> Path:
    source = shared_data / "benchmarks" / "mmlu"
    for part in ("dev", "test"):
        folder = tmp_path / "data" / "mmlu" / part
        folder.mkdir(parents=True)
        shutil.copy(source / part / f"anatomy_{part}.csv", folder)
    return tmp_path / "data"


def test_a_suite_is_one_page_with_our_column_and_what_was_not_run(
    tmp_path, shared_data, monkeypatch, capsys
):
    monkeypatch.setattr(benchmark, "open_backend", lambda _: SaysA())
    config = BenchmarkConfig(
        benchmark="suite v2-base", data_dir=mmlu_only(tmp_path, shared_data), api="http://x",
        api_model="ours", out_dir=tmp_path / "suite", limit=50,
    )  # fmt: skip
    artifact = evaluate(config)
    assert not isinstance(artifact, str)
    assert artifact.counts == {"rows": 17, "run": 3, "not_run": 14}
    page = json.loads((artifact.path / "suite.json").read_text())
    first = page["tables"][0]["rows"][0]
    assert first["label"] == "MMLU"
    assert first["shots"] == "5"
    assert first["settings"] == "mmlu, base, greedy, max_tokens 16, limit 50"
    assert page["scope"] == "Only the first 50 problems of each benchmark were asked (--limit)."
    assert first["values"] == ["78.9", "77.6", "71.3", "78.5"]
    assert first["score"].endswith(", n 50)")
    assert "The following are multiple choice questions" in first["first_prompt"]
    assert "no BBH task" in page["tables"][0]["rows"][1]["not_run"]
    assert "BBH: not run: no BBH task" in capsys.readouterr().err
    text = (artifact.path / "suite.md").read_text()
    assert "| | shots | settings | ours | LLaMA3 70B |" in text
    assert "not run: no benchmark file" in text
    html = (artifact.path / "suite.html").read_text()
    assert "<th>LLaMA3 70B</th>" in html
    assert "<td>78.9</td>" in html
    assert '<span class="settings">mmlu, base, greedy, max_tokens 16, limit 50</span>' in html
    assert "|---|" not in html


def test_a_prompt_with_code_blocks_stands_in_a_longer_fence() -> None:
    row = {
        "label": "a", "shots": "0", "settings": "", "score": "1", "not_run": "", "style": "base",
        "values": [], "first_prompt": "say\n```python\npass\n```",
    }  # fmt: skip
    table = {"title": "", "columns": [], "rows": [row]}
    page = {"suite": "s", "source": "", "scope": "", "tables": [table]}
    assert "\n````\nsay\n```python\npass\n```\n````\n" in to_markdown(page, "m")


def test_a_row_tells_what_was_set_and_which_part_was_not_run(tmp_path):
    turn = {"role": "user", "content": "x" * 4000}

    def judge_half(_: BenchmarkConfig) -> Artifact:
        write_json(tmp_path / "report.json", {
            "settings": {"max_tokens": 512, "first_prompt": [turn]},
            "n_problems": 1, "not_run": {"Pytorch: no torch": 68}, "failures": {},
            "scores": {"pass@1": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 932}},
        })  # fmt: skip
        manifest = Manifest(
            kind="",
            id="",
            inputs=(),
            config={},
            code={},
            files=(),
            counts={},
            seconds=0,
            machine={},
        )
        return Artifact(path=tmp_path, manifest=manifest)

    config = BenchmarkConfig(benchmark="", api="x", shots=2, imports="none", out_dir=tmp_path / "o")
    row = {"label": "DS-1000", "benchmark": "ds1000", "shots": "0", "values": ["16.2"]}
    found = _row(row, "base", config, judge_half)
    assert found["score"] == "50.0 (10.0 to 90.0, n 932)"
    assert found["not_run"] == "68 x Pytorch: no torch"
    assert found["shots"] == "at most 2 (0)"
    assert found["settings"] == "ds1000, base, greedy, max_tokens 512, imports none"
    assert found["first_prompt"].startswith("[user]\nxxx")
    assert found["first_prompt"].endswith("x\n[... 1,007 more characters]")


def test_an_interpreter_is_for_the_rows_that_need_its_libraries(tmp_path):
    config = BenchmarkConfig(benchmark="", api="x", python=Path("ds/python"), out_dir=tmp_path)
    rows = [{"benchmark": name} for name in ("ds1000", "pal-math")]
    found = [_config_of(row, {}, "base", config).python for row in rows]
    assert found == [Path("ds/python"), None]


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
