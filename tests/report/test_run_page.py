import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Artifact, Draft, Manifest, produce
from codling.core.errors import SourceError
from codling.core.shards import Shard
from codling.corpus.arrange import EDGE_SCHEMA
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, DROPPED_SCHEMA, SAMPLE_SCHEMA
from codling.report.drawing import Subgraph
from codling.report.run_page import ReportConfig, render, report, smooth
from codling.report.run_summary import shorten, summarise
from codling.report.run_view import RunView, Tally, describe_choice, pick_examples, view_run
from codling.report.verdict import judge

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


@pytest.mark.long
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


def stage(folder: Path, kind: str, inputs: list[Artifact], **config: Any) -> Artifact:
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
            three: dict[str, Any] = {"paths": ["a.py", "b.py", "c.py"], "languages": ["python"] * 3}
            three |= {"licenses": ["MIT"] * 3, "sha256s": ["0"] * 3, "starts": [0, 1, 2]}
            shard.write_rows("samples", [{**sample, **three, "id": "s"}], SAMPLE_SCHEMA)
            edges = [{"sample": "s", "file": 2, "depends_on": n} for n in (0, 1)]
            shard.write_rows("edges", edges, EDGE_SCHEMA)

    made = {"folder": folder.name, **config}
    return produce(folder, kind=kind, version=1, config=made, inputs=inputs, work=work)


@pytest.mark.long
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


def checkpoint(n_steps: int) -> Artifact:
    manifest = Manifest(
        kind="checkpoint",
        id="0",
        inputs=(),
        config={},
        code={},
        files=(),
        counts={"n_steps": n_steps, "parameters": 45_216, "seconds": 1860.0, "loss": 2.07841256373},
        seconds=8100.0,
        machine={},
        finished="2026-11-26T23:17:25+00:00",
    )
    return Artifact(Path("runs/toy/checkpoint"), manifest)


def judged(model: float, ngram: float = 1.5, n_steps: int = 500) -> RunView:
    scores = {
        "model": {**SCORES, "bits_per_byte": model},
        "ngram": {**SCORES, "bits_per_byte": ngram},
        "ngram_order": 6,
    }
    return replace(view(), scores=scores, artifacts={"checkpoint": checkpoint(n_steps)})


def first_line(found: RunView, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("codling.report.run_summary.view_run", lambda _: found)
    return summarise(Path("runs/toy")).splitlines()[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("found", "begins"),
    [
        (judged(1.6), "Not better than the 6-gram baseline: 1.600 bits per byte against 1.500"),
        (judged(1.5), "Not better than the 6-gram baseline"),
        (judged(math.nan), "Not better than the 6-gram baseline: no number of bits per byte"),
        (judged(1.2, n_steps=99), "Hardly trained: 99 steps"),
        (judged(1.6, n_steps=1), "Hardly trained: 1 step; "),
        (judged(1.2, n_steps=100), "Better than the 6-gram baseline: 1.200 bits per byte"),
    ],
)
def test_the_verdict_comes_first_in_terminal_and_page(
    found: RunView, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_line(found, monkeypatch).startswith(begins)
    page = render(found, 0)
    assert page.index(begins) < page.index("<h2>")
    is_good = begins.startswith("Better")
    assert ("--minutes</li>" in page) is not is_good


def test_a_run_that_is_bad_in_both_ways_says_both() -> None:
    text = str(judge(judged(1.6, n_steps=3)))
    assert "Hardly trained: 3 steps" in text
    assert "Not better than" in text
    assert "more --minutes" in text


def test_better_bits_but_fewer_lines_are_no_success() -> None:
    found = judged(1.2)
    found.scores["model"]["exact_match"] = 0.005
    verdict = judge(found)
    assert verdict is not None
    assert not verdict.is_good
    assert "but it inserts only 0.5% of hidden lines exactly, against 50.0%" in verdict.text


def test_without_a_model_there_is_no_verdict(tmp_path: Path) -> None:
    assert judge(RunView(run_dir=tmp_path, artifacts={})) is None


@pytest.mark.long
def test_the_page_says_when_how_large_how_long_and_what_next() -> None:
    page = render(judged(1.2), 0)
    for fact in ("trained 2026-11-26 23:17 UTC", "parameters 45,216", "training 31 min"):
        assert fact in page
    assert "the whole path 2 h 15 min" in page
    assert "codling serve runs/toy/checkpoint" in page
    assert "lower is better" in page
    assert "loss 2.078," in page or "loss 2.078<" in page
    assert re.search(r"\d\.\d{7}", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)) is None


def test_the_curve_takes_the_colours_of_the_page_in_light_and_dark() -> None:
    svg = re.search(r"<svg.*?</svg>", render(view(), 0), flags=re.DOTALL)
    assert svg is not None
    assert {"var(--ink)", "var(--blue)", "var(--orange)"} <= set(
        re.findall(r"var\(--\w+\)", svg.group())
    )
    assert set(re.findall(r"#[0-9a-f]{6}", svg.group())) <= {"#ffffff"}


def test_the_smoothed_curve_does_not_lag() -> None:
    """A straight line stays what it is, and a step is met halfway at the step itself."""
    line = [10.0 - 0.1 * i for i in range(100)]
    assert smooth(line) == pytest.approx(line)
    step = [1.0] * 50 + [0.0] * 51
    step[50] = 0.5
    assert smooth(step)[50] == pytest.approx(0.5)
    assert smooth([]) == []
    assert smooth([2.0]) == [2.0]


def test_bars_of_what_was_dropped_are_in_bytes_with_the_files_as_text() -> None:
    dropped = [Tally("few-large", 1, 1000), Tally("many-small", 90, 100)]
    page = render(replace(view(), dropped=dropped), 0)
    assert re.findall(r'bar drop" style="width: ([\d.]+)rem', page) == ["6.0", "0.6"]
    assert ">90<" in page


def test_a_run_that_kept_or_dropped_only_empty_files_has_bars_without_length() -> None:
    empty = [Tally("empty", 3, 0)]
    page = render(replace(view(), kept=empty, dropped=empty), 0)
    assert re.findall(r'class="bar(?: drop)?" style="width: ([\d.]+)rem', page) == ["0.0", "0.0"]


def test_insertions_shown_are_spread_over_files_then_languages() -> None:
    asked = [("a.sh", "shell")] * 5 + [("b.py", "python")] * 2 + [("c.py", "python")]
    rows = [{"path": p, "language": lang, "n": i} for i, (p, lang) in enumerate(asked)]
    assert [row["path"] for row in pick_examples(rows, 5)] == [
        "b.py", "a.sh", "c.py", "a.sh", "b.py",
    ]  # fmt: skip
    assert [row["n"] for row in pick_examples(rows, 99)] == [5, 0, 7, 1, 6, 2, 3, 4]


def test_page_and_summary_say_why_the_hidden_lines_are_the_ones_they_are() -> None:
    choice = {
        "languages": {
            "python": {"asked": 9, "share_of_code": 0.9},
            "go": {"asked": 0, "share_of_code": 0.095},
            "c": {"asked": 0, "share_of_code": 0.005},
        },
        "folders": {"app/src": 9},
        "left_out": {"files": {"tests": {"n": 2, "example": "app/tests/a.py"}}, "lines": {}},
    }
    said = [
        "by language: python 9 (90% of the code); from 1 folders",
        "nothing could be asked in go",
        "left out: tests 2 files (app/tests/a.py)",
    ]
    assert describe_choice({"choice": choice}) == said
    scores = {**view().scores, "choice": choice}
    assert "; ".join(said) in render(replace(view(), scores=scores), 0)


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_without_a_run_gets_no_report(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=f"{name} holds no run of codling grow"):
        report(ReportConfig(run_dir=tmp_path / name, out_dir=tmp_path / "page"))
    assert not (tmp_path / "page").exists()


def test_the_page_shows_the_load_of_every_expert() -> None:
    page = render(replace(view(), curve=[], expert_load=[[1.0, 1.5, 0.5], [3.25, 0.0, 0.5]]), 1)
    assert "The busiest has 3.25 times an even share, the idlest 0.00" in page
    assert page.count('title="expert ') == 6
    assert "Load of the experts" not in render(replace(view(), curve=[]), 1)
