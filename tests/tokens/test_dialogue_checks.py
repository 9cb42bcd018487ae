"""What leaves instruction data although it reads well, and the report that tells of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.grading.fences import is_fence_open
from codling.tokens.dialogue_checks import QuestionLanguage, RowChecks, SecretsRule, language_of
from codling.tokens.dialogue_rows import RowError, read_dialogue
from codling.tokens.dialogues import DialoguesConfig
from tokens.test_dialogues import made  # noqa: F401

KEY = "AKIA" + "QZ7X4RTLWM2NVKD5"
QUESTION = (
    "Write a function that takes the path of a file, counts how often every word of it occurs, "
    "and returns the ten most frequent words together with their counts as a list of pairs."
)
ANSWER = (
    "Read the text, split it at white space, count the words with collections.Counter, and give "
    "back what its method most_common returns for ten, since that is a list of pairs already."
)


@dataclass(frozen=True)
class Settings:
    similarity: float = 0.8
    secrets: SecretsRule = "drop"
    benchmarks: tuple[Path, ...] = ()
    only_permissive: bool = False
    languages: tuple[QuestionLanguage, ...] = ()


def check(checks: RowChecks, **row: Any) -> str:
    """The reason for which a row leaves, or nothing: then it is counted."""
    try:
        checks.count(checks.check(read_dialogue(row), row), row)
    except RowError as error:
        return error.reason
    return ""


def test_equal_and_nearly_equal_rows_leave_and_the_first_stays() -> None:
    checks = RowChecks(Settings())
    assert check(checks, instruction=QUESTION, output=ANSWER) == ""
    assert check(checks, instruction=QUESTION.upper(), output=f"{ANSWER}\n") == "duplicate"
    slightly = ANSWER.replace("already", "by now")
    assert check(checks, instruction=QUESTION, output=slightly) == "near-duplicate"
    assert check(checks, instruction="And in C?", output=ANSWER) == ""
    assert check(RowChecks(Settings(similarity=1)), instruction=QUESTION, output=slightly) == ""


def test_short_rows_of_one_form_are_no_duplicates() -> None:
    checks = RowChecks(Settings())
    found = {
        check(checks, instruction=f"What is {i} and {i}?", output=f"It is {2 * i}.")
        for i in range(20)
    }
    assert found == {""}


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("```python\nx = 1", True),
        ("```python\nx = 1\n```", False),
        ("~~~~\n```\n~~~~\nDone.", False),
        ("```\nx```", False),
        ("no code", False),
        ("```\na\n```\nand\n```js\nlet a", True),
    ],
)
def test_a_code_block_that_never_closes_is_a_cut_answer(text: str, is_open: bool) -> None:
    assert is_fence_open(text) == is_open
    reason = check(RowChecks(Settings()), instruction="x?", output=text)
    assert reason == ("cut-answer" if is_open else "")


def test_what_the_row_says_of_its_end_counts() -> None:
    row = {"instruction": "x?", "output": "a", "finish_reason": "length"}
    assert check(RowChecks(Settings()), **row) == "cut-answer"
    assert check(RowChecks(Settings()), **row | {"finish_reason": "stop"}) == ""


def test_secrets_make_a_row_leave_or_become_placeholders() -> None:
    row = {"instruction": "Log in?", "output": f'aws_access_key_id = "{KEY}"'}
    assert check(RowChecks(Settings()), **row) == "secret"
    assert check(RowChecks(Settings(secrets="keep")), **row) == ""
    checks = RowChecks(Settings(secrets="redact"))
    kept = checks.check(read_dialogue(row), row)
    assert kept.messages[1]["content"] == 'aws_access_key_id = "<KEY>"'
    assert checks.tallies.n_redacted == 1


def test_a_row_that_holds_a_benchmark_leaves_and_says_which(tmp_path: Path) -> None:
    benchmark = tmp_path / "test.jsonl"
    text = "Write a python function to remove first and last occurrence of a given character."
    benchmark.write_text(json.dumps({"prompt": text}) + "\n")
    checks = RowChecks(Settings(benchmarks=(benchmark,)))
    row = {"instruction": f"Please {text.lower()}", "output": "def f(): ..."}
    with pytest.raises(RowError, match=r"benchmark: test\.jsonl:0:prompt: 'write a python"):
        checks.check(read_dialogue(row), row)
    assert check(checks, instruction="Write a python function to sort.", output="x") == ""


def test_the_licence_field_is_read_as_spdx_and_only_a_gate_when_asked() -> None:
    gate = RowChecks(Settings(only_permissive=True))
    row = {"instruction": "x?", "output": "y"}
    assert check(gate, **row, license="GPL-3.0") == "license"
    assert check(gate, instruction="a?", output="y", metadata={"licence": "Apache 2.0"}) == ""
    assert check(gate, instruction="b?", output="y") == ""  # states none
    assert check(RowChecks(Settings()), **row, license="GPL-3.0") == ""
    assert gate.tallies.licenses == {"Apache-2.0": 1, "not stated": 1}


def test_languages_are_told_by_their_letters() -> None:
    assert language_of("Sort a list of numbers.") == "english"
    assert language_of("用 Python 写一个排序程序") == "chinese"
    assert language_of("Отсортируй список") == "other"
    english = RowChecks(Settings(languages=("english",)))
    assert check(english, instruction="Отсортируй", output="x") == "language"


def test_the_report_tells_what_stays_and_what_leaves(made: Callable[..., Artifact]) -> None:  # noqa: F811
    rows: list[dict[str, Any]] = [
        {"instruction": "Add?", "output": "```python\n1 + 1\n```", "license": "mit"},
        {"instruction": "Add?", "output": "```python\n1 + 1\n```"},
        {"instruction": "用中文写加法", "output": "1 + 1"},
        {"instruction": "Log | in?", "output": f"key = {KEY}"},
        {"text": "x"},
    ]
    artifact = made(rows)
    assert artifact.counts["dropped"] == {"duplicate": 1, "secret": 1, "unknown-shape": 1}
    report = (artifact.path / "report.md").read_text()
    assert "5 rows were read and 2 stay: 2 documents" in report
    assert "| chinese | 1 |" in report
    assert "| python | 1 |" in report
    assert "| MIT | 1 |" in report
    assert "rows.jsonl line 4" in report
    assert KEY not in report
    assert KEY not in (artifact.path / "dropped.jsonl").read_text()
    assert len(list(read_json_lines(artifact.path / "dropped.jsonl"))) == 3


def test_published_labels_learn_every_row(made: Callable[..., Artifact], tmp_path: Path) -> None:  # noqa: F811
    row = {"instruction": "Log in?", "output": f"key = {KEY}"}
    assert made([row, row], labels="published").counts["documents"] == 2
    with pytest.raises(ConfigError, match="which learns every row"):
        DialoguesConfig(
            files=(tmp_path / "rows.jsonl",), labels="published", languages=("english",)
        )
