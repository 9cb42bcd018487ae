"""corpus/clean: gate, filters, redaction, duplicates; every dropped file keeps its reason."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codling.core.artifact import Artifact, produce
from codling.core.shards import read_rows, write_table
from codling.corpus.clean import clean
from codling.corpus.config import CleanConfig
from codling.corpus.filters.profiles import FilterConfig
from codling.corpus.licenses.notices import LicenseConfig
from codling.corpus.redaction.redact import RedactConfig
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA

CODE = "def add(first, second):\n    return first + second\n"


def document(path: str, content: str = CODE, **values: Any) -> dict[str, Any]:
    return {
        "source": "app",
        "repo": "app",
        "path": path,
        "language": "python",
        "license": "MIT",
        "license_from": "file:LICENSE",
        "split": "train",
        "n_bytes": len(content.encode()),
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "content": content,
        "n_redactions": 0,
    } | values


def raw(tmp_path: Path, *shards: list[dict[str, Any]]) -> Path:
    def work(draft: object) -> None:
        for i, rows in enumerate(shards):
            table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
            write_table(draft.file(f"documents-{i:05d}.parquet"), table)  # type: ignore[attr-defined]

    out_dir = tmp_path / "raw"
    produce(
        out_dir,
        kind="raw",
        version=1,
        config=CleanConfig(raw_dir=Path(), out_dir=Path()),
        inputs=[],
        work=work,
    )
    return out_dir


def run(tmp_path: Path, *shards: list[dict[str, Any]], **settings: Any) -> Artifact:
    values = {
        "raw_dir": raw(tmp_path, *shards),
        "out_dir": tmp_path / "docs",
        "workers": 1,
    } | settings
    return clean(CleanConfig(**values))  # type: ignore[arg-type]


def kept(artifact: Artifact) -> list[str]:
    return [row["path"] for row in read_rows(artifact, "documents")]


def reasons(artifact: Artifact) -> Mapping[str, tuple[str, str]]:
    return {row["path"]: (row["rule"], row["value"]) for row in read_rows(artifact, "dropped")}


def test_the_gate_tells_unknown_licences_from_forbidden_ones(tmp_path: Path) -> None:
    rows = [
        document("mit.py", CODE + "# 1"),
        document("gpl.py", CODE + "# 2", license="GPL-3.0-only"),
        document("none.py", CODE + "# 3", license="unknown"),
        document("either.py", CODE + "# 4", license="GPL-2.0-only OR MIT"),
    ]
    docs = run(tmp_path, rows)
    assert kept(docs) == ["mit.py", "either.py"]
    assert reasons(docs) == {
        "gpl.py": ("license-not-permissive", "GPL-3.0-only"),
        "none.py": ("license-unknown", "unknown"),
    }


def test_the_gate_can_be_set(tmp_path: Path) -> None:
    rows = [
        document("mpl.py", CODE + "# 1", license="MPL-2.0"),
        document("none.py", license="unknown"),
    ]
    licenses = LicenseConfig(also=("MPL-2.0",), allow_unknown=True)
    assert kept(run(tmp_path, rows, licenses=licenses)) == ["mpl.py", "none.py"]


def test_a_dropped_file_names_the_rule_and_the_value(tmp_path: Path) -> None:
    docs = run(tmp_path, [document("long.py", "a" * 1001 + "\n" + "b\n" * 40), document("ok.py")])
    assert reasons(docs) == {"long.py": ("max-line", "1001")}
    assert docs.counts["dropped_by_rule"] == {"max-line": 1}


def test_of_equal_texts_the_first_stays_and_training_goes_before_held_out(tmp_path: Path) -> None:
    docs = run(
        tmp_path,
        [document("a.py", split="heldout"), document("x.py", CODE + "#")],
        [document("b.py"), document("c.py")],
    )
    assert kept(docs) == ["x.py", "b.py"]
    assert reasons(docs) == {
        "a.py": ("duplicate", "app:app/b.py"),
        "c.py": ("duplicate", "app:app/b.py"),
    }


def test_redactions_are_listed_by_line_without_the_secret(tmp_path: Path) -> None:
    secret = "AKIA" + "Q3EGRTKX2P7NW5JD"
    text = CODE + f"KEY = '{secret}'\n# by jane.roe@acme-corp.dev\n"
    docs = run(tmp_path, [document("a.py", text)])
    (row,) = read_rows(docs, "documents")
    assert row["content"] == CODE + "KEY = '<KEY>'\n# by <EMAIL>\n"
    assert row["n_redactions"] == 2
    found = [(r["path"], r["line"], r["kind"]) for r in read_rows(docs, "redactions")]
    assert found == [("a.py", 3, "aws-access-key"), ("a.py", 4, "email")]
    for path in docs.path.iterdir():
        assert secret.encode() not in path.read_bytes()


def test_redaction_can_be_switched_off(tmp_path: Path) -> None:
    text = CODE + "# by jane.roe@acme-corp.dev\n"
    docs = run(tmp_path, [document("a.py", text)], redact=RedactConfig(emails=False))
    assert next(read_rows(docs, "documents"))["content"] == text


def test_languages_can_be_chosen(tmp_path: Path) -> None:
    rows = [document("a.py"), document("a.c", CODE + "//", language="c")]
    docs = run(tmp_path, rows, filters=FilterConfig(languages=("c",)))
    assert kept(docs) == ["a.c"]
    with pytest.raises(Exception, match="not a language"):
        run(tmp_path / "2", rows, filters=FilterConfig(languages=("pyton",)))


@pytest.mark.long
def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    shards = [[document(f"{i}{j}.py", f"{CODE}# {j}\n") for j in range(5)] for i in range(3)]
    one = run(tmp_path / "1", *shards)
    two = run(tmp_path / "2", *shards, workers=2)
    assert [f.sha256 for f in one.manifest.files] == [f.sha256 for f in two.manifest.files]
    assert len(kept(one)) == 5


def test_duplicates_are_found_across_batches_and_the_rest_keeps_its_order(tmp_path: Path) -> None:
    texts = [f"{CODE}# number {i % 900}\n" for i in range(1500)]
    docs = run(tmp_path, [document(f"{i}.py", text) for i, text in enumerate(texts)])
    assert kept(docs) == [f"{i}.py" for i in range(900)]
    assert reasons(docs)["1499.py"] == ("duplicate", "app:app/599.py")
    assert docs.counts["dropped_by_rule"] == {"duplicate": 600}
