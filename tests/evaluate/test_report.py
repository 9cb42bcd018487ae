import re
from pathlib import Path

from codling.evaluate.report import render
from codling.evaluate.summary import summarise
from codling.evaluate.view import RunView, Tally

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


def test_the_same_run_gives_the_same_page() -> None:
    assert render(view(), 10) == render(view(), 10)


def test_a_run_without_scores_still_has_a_page(tmp_path: Path) -> None:
    page = render(RunView(run_dir=tmp_path, artifacts={}), 10)
    assert "Dropped, and why" in page


def test_the_summary_of_an_empty_run_says_where_things_are(tmp_path: Path) -> None:
    text = summarise(tmp_path)
    assert "Kept 0 files" in text
    assert "report.html" in text
