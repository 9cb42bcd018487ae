import re
from dataclasses import replace
from pathlib import Path

from codling.core.artifact import Artifact, Draft, produce
from codling.core.shards import Shard
from codling.corpus.arrange import EDGE_SCHEMA
from codling.corpus.document import DOCUMENT_SCHEMA, DROPPED_SCHEMA, SAMPLE_SCHEMA
from codling.corpus.drawing import Subgraph
from codling.evaluate.report import render
from codling.evaluate.summary import shorten, summarise
from codling.evaluate.view import RunView, Tally, view_run

DOCUMENT = {
    "source": "s",
    "repo": "r",
    "path": "a.py",
    "language": "python",
    "license": "MIT",
    "license_from": "none",
    "split": "train",
    "n_bytes": 3,
    "sha256": "0",
    "content": "x=1",
    "n_redactions": 0,
}

SCORES = {
    "bits_per_byte": 1.5,
    "n_lines": 2,
    "exact_match": 0.5,
    "edit_similarity": 0.75,
    "n_lines_saved": 1,
    "chars_saved": 0.4,
}
ROW = {
    "path": "r/a.py",
    "language": "python",
    "line_number": 3,
    "prefix": "def f(x):\n    if x < 1 and </script>:\n        ",
    "truth": "return x",
    "suffix": "\n",
    "model": "return x",
    "ngram": "pass",
}


def view() -> RunView:
    return RunView(
        run_dir=Path("runs/toy"),
        artifacts={},
        kept=[Tally("python", 3, 3000), Tally("c", 1, 100)],
        licenses=[Tally("MIT", 4, 3100)],
        dropped=[Tally("max-line", 2, 900, "r/b.py: 1200")],
        redactions=[("email", 2)],
        heldout=Tally("heldout", 1, 1000),
        curve=[{"step": i, "loss": 3.0 - 0.1 * i, "heldout_loss": 3.1} for i in range(5)],
        scores={"model": SCORES, "ngram": SCORES, "ngram_order": 6},
        insertions=[ROW, {**ROW, "model": "return <b>y</b>"}],
    )


def test_the_page_is_self_contained_and_escapes_code() -> None:
    page = render(view(), 10)
    assert "1.500" in page
    assert "max-line" in page
    assert "&lt;b&gt;y&lt;/b&gt;" in page
    assert "</script>" not in page
    fetched = re.findall(r'(?:src|href)="(?!#)([^"]+)"', page)
    assert fetched == []
    assert "<svg" in page


def test_the_page_draws_the_largest_samples_and_says_what_was_left_out() -> None:
    graph = Subgraph("app", ["a.py", "b.py"], [[], [0]])
    shown = replace(view(), subgraphs=[graph], left_out=("screen: as --skip says",))
    page = render(shown, 10)
    assert "app: 2 files, 1 dependencies" in page
    assert page.count('<svg class="graph"') == 1
    assert "Not done: screen: as --skip says." in page


def stage(folder: Path, kind: str, inputs: list[Artifact], **config: object) -> Artifact:
    """An artefact of one shard with tables as far as a view reads them."""

    def work(draft: Draft) -> None:
        shard = Shard(draft.path, 0)
        if kind == "documents":
            shard.write_rows("documents", [DOCUMENT], DOCUMENT_SCHEMA)
            gone = {k: DOCUMENT[k] for k in DROPPED_SCHEMA.names if k in DOCUMENT}
            row = {**gone, "rule": f"rule of {folder.name}", "value": "7"}
            shard.write_rows("dropped", [row], DROPPED_SCHEMA)
        if kind == "samples":
            sample = {k: DOCUMENT[k] for k in ("source", "repo", "split", "content")}
            three = {"paths": ["a.py", "b.py", "c.py"], "languages": ["python"] * 3}
            three |= {"licenses": ["MIT"] * 3, "sha256s": ["0"] * 3, "starts": [0, 1, 2]}
            shard.write_rows("samples", [{**sample, **three, "id": "s"}], SAMPLE_SCHEMA)
            edges = [{"sample": "s", "file": 2, "depends_on": n} for n in (0, 1)]
            shard.write_rows("edges", edges, EDGE_SCHEMA)

    made = {"folder": folder.name, **config}
    return produce(folder, kind=kind, version=1, config=made, inputs=inputs, work=work)


def test_a_station_that_was_left_out_this_time_is_not_counted(tmp_path: Path) -> None:
    clean = stage(tmp_path / "documents", "documents", [])
    stage(tmp_path / "decontaminated", "documents", [clean])
    unique = stage(tmp_path / "unique", "documents", [clean])
    stage(tmp_path / "samples", "samples", [unique], left_out=["decontaminate: no benchmarks"])
    found = view_run(tmp_path)
    assert list(found.artifacts) == ["documents", "unique", "samples"]
    assert [(t.station, t.name) for t in found.dropped] == [
        ("documents", "rule of documents"),
        ("unique", "rule of unique"),
    ]
    assert [(g.name, list(g.depends)) for g in found.subgraphs] == [("r", [[], [], [0, 1]])]
    assert "Not done: decontaminate: no benchmarks" in summarise(tmp_path)


def test_the_same_run_gives_the_same_page() -> None:
    assert render(view(), 10) == render(view(), 10)


def test_a_run_without_scores_still_has_a_page(tmp_path: Path) -> None:
    page = render(RunView(run_dir=tmp_path, artifacts={}), 10)
    assert "Dropped, and why" in page


def test_the_summary_of_an_empty_run_says_where_things_are(tmp_path: Path) -> None:
    text = summarise(tmp_path)
    assert "Kept 0 files" in text
    assert "report.html" in text


def test_an_example_is_cut_between_words_and_says_so() -> None:
    text = "repo/docs/conf.py: /home/someone/settings_of_the_machine.json"
    assert [shorten(text, width) for width in (61, 40, 30)] == [
        text,
        "repo/docs/conf.py: /home/someone/…",
        "repo/docs/conf.py: /home/…",
    ]
    assert shorten("x" * 50, 10) == "xxxxxxxxx…"
