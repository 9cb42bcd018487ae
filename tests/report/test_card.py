"""report/card: the figures are those of the stages' tables; the page fetches nothing."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codling.core.artifact import Artifact, Draft, produce
from codling.core.errors import SourceError
from codling.core.files import write_json
from codling.core.shards import write_table
from codling.corpus.decontaminate import HIT_SCHEMA
from codling.corpus.tables.schemas import (
    DOCUMENT_SCHEMA,
    DROPPED_SCHEMA,
    REDACTION_SCHEMA,
    SAMPLE_SCHEMA,
)
from codling.report.card import CardConfig, card


def document(path: str, repo: str = "app", **values: Any) -> dict[str, Any]:
    return {
        "source": "app",
        "repo": repo,
        "path": path,
        "language": "python",
        "license": "MIT",
        "license_from": "header",
        "split": "train",
        "n_bytes": 10,
        "sha256": "0",
        "content": "<b>x</b> = 1",
        "n_redactions": 0,
    } | values


def dropped(path: str, rule: str) -> dict[str, Any]:
    kept = ("source", "repo", "path", "language", "license", "n_bytes")
    row = document(path)
    return {k: row[k] for k in kept} | {"rule": rule, "value": "7"}


def stage(folder: Path, kind: str, inputs: list[Artifact], **tables: list[dict]) -> Artifact:
    schemas = {
        "documents": DOCUMENT_SCHEMA,
        "dropped": DROPPED_SCHEMA,
        "redactions": REDACTION_SCHEMA,
        "samples": SAMPLE_SCHEMA,
        "hits": HIT_SCHEMA,
    }

    def work(draft: Draft) -> None:
        for name, rows in tables.items():
            table = pa.Table.from_pylist(rows, schema=schemas[name])
            write_table(draft.file(f"{name}-00000.parquet"), table)
        if kind == "tokens":
            index = [("s1", "train", 600), ("s2", "train", 300), ("h", "heldout", 100)]
            rows = [
                {"sample_id": name, "split": split, "start": 0, "length": n, "n_bytes": n}
                for name, split, n in index
            ]
            write_table(draft.file("index-00000.parquet"), pa.Table.from_pylist(rows))
            splits = {"train": {"n_tokens": 900}, "heldout": {"n_tokens": 100}}
            write_json(draft.file("meta.json"), {"splits": splits})

    config = {"name": folder.name}
    return produce(folder, kind=kind, version=1, config=config, inputs=inputs, work=work)


def a_run(run: Path) -> None:
    a, b = document("a.py"), document("b.c", "lib", language="c", n_bytes=30, split="heldout")
    raw = stage(run / "raw", "raw", [], documents=[a, b], dropped=[dropped("x.bin", "binary")])
    secret = {"source": "app", "repo": "app", "path": "a.py", "line": 1, "kind": "email"}
    repeats = [dropped("c.py", "duplicate"), dropped("d.py", "duplicate")]
    clean = stage(
        run / "documents",
        "documents",
        [raw],
        documents=[a, b],
        dropped=repeats,
        redactions=[secret],
    )
    near = [dropped("e.py", "near-duplicate")]
    hit: dict[str, Any] = {"source": "app", "repo": "app", "path": "q.py", "benchmark": "he.jsonl"}
    hit |= {"field": "prompt", "row": 3, "excerpt": "has_close_elements"}
    unique = stage(run / "unique", "documents", [clean], documents=[a, b], dropped=near, hits=[hit])
    row: dict[str, Any] = {
        "id": "s1",
        "source": "app",
        "repo": "app",
        "split": "train",
        "paths": ["a.py"],
    }
    row |= {"languages": ["python"], "licenses": ["MIT"], "sha256s": ["0"], "starts": [0]}
    mixed = row | {"id": "s2", "paths": ["a.py", "b.c"], "languages": ["python", "c"]}
    mixed |= {"licenses": ["MIT"] * 2, "sha256s": ["0"] * 2, "starts": [0, 2]}
    rows = [row | {"content": "<b>x</b>"}, mixed | {"content": "x=y;z;"}]
    samples = stage(run / "samples", "samples", [unique], samples=rows)
    stage(run / "tokens", "tokens", [samples])


@pytest.mark.long
def test_a_card_counts_what_is_kept_dropped_redacted_and_packed(tmp_path: Path) -> None:
    a_run(tmp_path)
    made = card(CardConfig(run_dir=tmp_path, out_dir=tmp_path / "card"))
    read = json.loads((made.path / "card.json").read_text())
    assert (read["n_documents"], read["n_bytes"]) == (2, 40)
    assert [(g["name"], g["n_bytes"]) for g in read["languages"]] == [("c", 30), ("python", 10)]
    assert [g["name"] for g in read["repositories"]] == ["app:lib", "app"]
    assert [(g["name"], g["n_files"]) for g in read["licenses"]] == [("MIT", 2)]
    drops = {(d["stage"], d["rule"]): d["n_files"] for d in read["dropped"]}
    assert drops == {
        ("unique", "near-duplicate"): 1,
        ("documents", "duplicate"): 2,
        ("raw", "binary"): 1,
    }
    assert [(g["name"], g["n_files"]) for g in read["duplicates"]] == [
        ("duplicate", 2),
        ("near-duplicate", 1),
    ]
    assert read["redactions"] == {"email": 1}
    assert read["tokens"] == {"tokens": {"train": 900, "heldout": 100}}
    # A third of the second sample's characters is Python.
    assert read["language_tokens"] == {"python": 600 + 100, "c": 200}
    assert [(h["benchmark"], h["n_documents"]) for h in read["hits"]] == [("he.jsonl", 1)]
    found = {e["name"]: (e["language"], e["text"]) for e in read["excerpts"]}
    assert found == {
        "app/a.py": ("python", "<b>x</b>"),
        "app/a.py (file 1 of the 2 of its sample)": ("python", "x="),
        "app/b.c (file 2 of the 2 of its sample)": ("c", "y;z;"),
    }


@pytest.mark.long
def test_the_page_is_self_contained_and_escapes_code(tmp_path: Path) -> None:
    a_run(tmp_path)
    made = card(CardConfig(run_dir=tmp_path, out_dir=tmp_path / "card"))
    page = (made.path / "card.html").read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "http" not in page
    assert "src=" not in page


@pytest.mark.long
def test_samples_are_chosen_by_hash_and_never_from_held_out_documents(tmp_path: Path) -> None:
    rows = [document(f"{i}.py", split="heldout" if i % 2 else "train") for i in range(60)]
    stage(tmp_path / "docs", "documents", [], documents=rows)

    def names(seed: int) -> list[str]:
        config = CardConfig(run_dir=tmp_path / "docs", out_dir=tmp_path / f"c{seed}", seed=seed)
        excerpts = json.loads((card(config).path / "card.json").read_text())["excerpts"]
        return [e["name"] for e in excerpts]

    assert len(set(names(0))) == 10
    assert all(int(n.split("/")[1][:-3]) % 2 == 0 for n in names(0))
    assert names(0) != names(1)


def test_a_folder_without_a_corpus_or_with_two_ends_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no corpus"):
        card(CardConfig(run_dir=tmp_path, out_dir=tmp_path / "card"))
    stage(tmp_path / "a", "documents", [], documents=[document("a.py")])
    stage(tmp_path / "b", "documents", [], documents=[document("b.py")])
    with pytest.raises(SourceError, match=r"several ends of kind documents \(a, b\); name one"):
        card(CardConfig(run_dir=tmp_path, out_dir=tmp_path / "card"))
