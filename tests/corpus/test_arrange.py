"""From documents to samples, on repositories of a few files."""

import hashlib
from pathlib import Path

import pytest

from codling.core.artifact import Draft, open_artifact, produce
from codling.core.errors import ArtifactError
from codling.core.shards import Shard, read_rows
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.layout import samples
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, Document, Split


def document(repo: str, path: str, content: str, split: Split = "train") -> Document:
    return Document(
        source="src", repo=repo, path=path, language="python", license="MIT", license_from="none",
        split=split, n_bytes=len(content), sha256=hashlib.sha256(content.encode()).hexdigest(),
        content=content,
    )  # fmt: skip


def write_documents(out_dir: Path, shards: list[list[Document]]) -> Path:
    def work(draft: Draft) -> None:
        for i, rows in enumerate(shards):
            Shard(draft.path, i).write_rows("documents", [vars(d) for d in rows], DOCUMENT_SCHEMA)

    names = {"shards": [[d.key for d in rows] for rows in shards]}
    produce(out_dir, kind="documents", version=1, config=names, inputs=[], work=work)
    return out_dir


A = document("r", "a.py", "import b\n")
B = document("r", "b.py", "x = 1")
HELD = document("r", "c.py", "import b\n", split="heldout")
ALONE = document("q", "z.py", "y = 2\n")


def test_dependencies_come_first_under_their_paths(tmp_path: Path) -> None:
    config = ArrangeConfig(
        documents_dir=write_documents(tmp_path / "d", [[A, B, ALONE]]), out_dir=tmp_path / "s"
    )
    rows = list(read_rows(arrange(config), "samples"))
    assert [(r["repo"], r["paths"]) for r in rows] == [("q", ["z.py"]), ("r", ["b.py", "a.py"])]
    assert rows[1]["content"] == "# b.py\nx = 1\n# a.py\nimport b\n"
    assert [rows[1]["content"][s:].split("\n")[0] for s in rows[1]["starts"]] == [
        "# b.py",
        "# a.py",
    ]


def test_the_edges_of_a_sample_are_those_between_its_files(tmp_path: Path) -> None:
    third = document("r", "z.py", "import a, b\n")
    folder = write_documents(tmp_path / "d", [[A, B, ALONE, third]])
    whole = arrange(ArrangeConfig(documents_dir=folder, out_dir=tmp_path / "s"))
    ids = {r["id"]: r["paths"] for r in read_rows(whole, "samples")}
    edges = [
        (ids[e["sample"]][e["file"]], ids[e["sample"]][e["depends_on"]])
        for e in read_rows(whole, "edges")
    ]
    assert edges == [("a.py", "b.py"), ("z.py", "a.py"), ("z.py", "b.py")]
    cut = arrange(ArrangeConfig(documents_dir=folder, out_dir=tmp_path / "c", max_chars=30))
    assert [r["paths"] for r in read_rows(cut, "samples")][1:] == [["b.py", "a.py"], ["z.py"]]
    assert [(e["file"], e["depends_on"]) for e in read_rows(cut, "edges")] == [(1, 0)]


def test_a_sample_never_mixes_splits(tmp_path: Path) -> None:
    config = ArrangeConfig(
        documents_dir=write_documents(tmp_path / "d", [[A, B, HELD]]), out_dir=tmp_path / "s"
    )
    made = arrange(config)
    assert [(r["split"], r["paths"]) for r in read_rows(made, "samples")] == [
        ("train", ["b.py", "a.py"]),
        ("heldout", ["c.py"]),
    ]
    assert made.counts["edges"] == 1
    assert made.counts["cross_split_edges"] == 1


def test_a_repository_spread_over_shards_is_put_together(tmp_path: Path) -> None:
    together = write_documents(tmp_path / "d1", [[A, B], [ALONE]])
    apart = write_documents(tmp_path / "d2", [[A], [ALONE], [B]])
    rows = [
        {
            (r["repo"], r["content"])
            for r in read_rows(
                arrange(ArrangeConfig(documents_dir=d, out_dir=o, workers=1)), "samples"
            )
        }
        for d, o in ((together, tmp_path / "s1"), (apart, tmp_path / "s2"))
    ]
    assert rows[0] == rows[1]


@pytest.mark.long
def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    documents_dir = write_documents(tmp_path / "d", [[A, B], [ALONE], [document("p", "k.py", "")]])
    hashes = [
        [
            (f.name, f.sha256)
            for f in arrange(
                ArrangeConfig(documents_dir=documents_dir, out_dir=tmp_path / f"s{n}", workers=n)
            ).manifest.files
        ]
        for n in (1, 2)
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 6


def test_a_long_sample_is_cut_between_files() -> None:
    rows = list(samples([B, A, ALONE][:2], max_chars=14))
    assert [r["content"] for r in rows] == ["# b.py\nx = 1\n", "# a.py\nimport b\n"]
    assert rows[0]["id"] != rows[1]["id"]


def test_another_kind_of_artefact_is_refused(tmp_path: Path) -> None:
    made = arrange(
        ArrangeConfig(documents_dir=write_documents(tmp_path / "d", [[A]]), out_dir=tmp_path / "s")
    )
    with pytest.raises(ArtifactError, match="documents is needed here"):
        arrange(ArrangeConfig(documents_dir=made.path, out_dir=tmp_path / "t"))
    assert open_artifact(tmp_path / "s").id == made.id
