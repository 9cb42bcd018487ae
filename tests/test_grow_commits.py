"""`codling grow --base` split by commits: what is learned, what is asked, what is served."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from codling.checkpoint.of_run import model_and_adapter
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.adapted import tuning_helped
from codling.core.artifact import open_artifact
from codling.core.errors import CodlingError
from codling.core.shards import read_rows
from codling.pipeline import GrowConfig, grow, prepare
from codling.tokens.token_files import open_stream
from git_repositories import repository
from later_project import CANARY, CANARY_WORDS, project
from serve.tiny_server import save_model

SETTINGS = (
    "pack.context=64",
    "adapt.max_steps=4",
    "adapt.compile=false",
    "memory.fit_tokens=0",
    "score_commits.n_places=4",
    "score_commits.max_length=512",
    "score_commits.precision=float32",
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that also replays other code."""
    place = tmp_path_factory.mktemp("grow")
    project(place / "app")
    other = {
        "LICENSE": (place / "app/LICENSE").read_text(),
        "m.py": "def other():\n    pass\n" * 40,
    }
    config = GrowConfig(
        sources=(place / "app",),
        base=str(save_model(place / "tiny")),
        run_dir=place / "run",
        replay=repository(place / "other", other),
        skip=("dedup", "screen"),
        set=SETTINGS,
        workers=1,
    )
    (place / "summary.txt").write_text(grow(config))
    return place / "run"


def texts(run_dir: Path) -> Iterator[str]:
    """Everything that the run learned from, as text."""
    for name, table in (("raw", "documents"), ("documents", "documents"), ("samples", "samples")):
        yield from (row["content"] for row in read_rows(open_artifact(run_dir / name), table))
    tokenizer = open_tokenizer(run_dir.parent / "tiny")
    ids = [open_stream(run_dir / name, "train") for name in ("tokens", "replay")]
    ids.append(np.load(run_dir / "memory/tokens.npy"))
    for stream in ids:
        yield tokenizer.decode([int(i) for i in stream if i < tokenizer.vocab_size])
    for path in run_dir.rglob("*"):
        if path.is_file() and not path.parent.name.startswith(("commit-scores", "report")):
            yield path.read_text("utf-8", "ignore")


def test_no_line_of_a_later_commit_is_learned_from(run_dir: Path) -> None:
    found = list(texts(run_dir))
    assert any("step_29" in text for text in found)
    for word in CANARY_WORDS:
        assert not [text[:80] for text in found if word in text]
    assert CANARY in (run_dir.parent / "app/app/c.py").read_text()


def test_all_of_the_tree_at_the_cut_is_learned_from(run_dir: Path) -> None:
    splits = {row["split"] for row in read_rows(open_artifact(run_dir / "raw"), "documents")}
    assert splits == {"train"}


def test_later_commits_are_asked_with_tuning_and_memory(run_dir: Path) -> None:
    scores = json.loads((run_dir / "commit-scores/scores.json").read_text())
    assert scores["subject"] == "tuned + context + memory"
    assert set(scores["gains"]) == {"memory", "tuned"}
    assert "Tuning alone, beside the same memory" in scores["verdict"]["text"]
    assert not (run_dir / "scores").exists()


def test_the_summary_tells_to_serve_the_base_where_tuning_was_not_shown_to_help(
    run_dir: Path,
) -> None:
    summary = (run_dir.parent / "summary.txt").read_text()
    scores = json.loads((run_dir / "commit-scores/scores.json").read_text())
    assert summary.startswith(scores["verdict"]["text"])
    served = next(line for line in summary.splitlines() if line.startswith("Serve:"))
    assert f"codling serve {run_dir.parent / 'tiny'}" in served
    assert ("--adapter" in served) == scores["gains"]["tuned"]
    assert "before-after.html" in summary
    assert "before-after.html" in (run_dir / "report/report.html").read_text()


def test_a_run_is_its_base_with_the_adapter_only_where_that_helped(run_dir: Path) -> None:
    helped = json.loads((run_dir / "commit-scores/scores.json").read_text())["gains"]["tuned"]
    adapter = run_dir / "adapted" if helped else None
    assert model_and_adapter(run_dir) == ((run_dir.parent / "tiny").resolve(), adapter)
    named = run_dir / "adapted"
    assert model_and_adapter(run_dir, named) == ((run_dir.parent / "tiny").resolve(), named)


@pytest.mark.parametrize(
    ("outcome", "gain", "expected"),
    [("helped", True, True), ("helped", False, False), ("worse", True, False)],
)
def test_tuning_is_served_where_it_adds_to_the_memory(
    outcome: str, gain: bool, expected: bool
) -> None:
    scores = {"verdict": {"outcome": outcome}, "gains": {"memory": True, "tuned": gain}}
    assert tuning_helped([scores]) is expected


def stations(source: Path, model: Path, **settings: object) -> list[str]:
    config = GrowConfig(sources=(source,), base=str(model), **settings)  # type: ignore[arg-type]
    return [step.station.table for step in prepare(config, Path("runs/x"))]


def test_few_commits_are_split_by_package_and_it_says_why(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, model = repository(tmp_path / "few"), run_dir.parent / "tiny"
    assert stations(few, model)[-2:] == ["compare", "report"]
    said = " ".join(capsys.readouterr().err.split())
    assert "split by package, not by commits:" in said
    assert "has 1 commits, too few" in said
    with pytest.raises(CodlingError, match="has 1 commits, too few"):
        stations(few, model, heldout_by="commits")


def test_the_split_by_package_can_be_asked_for(run_dir: Path) -> None:
    app, model = run_dir.parent / "app", run_dir.parent / "tiny"
    assert stations(app, model)[-3:] == ["memory", "score_commits", "report"]
    assert "compare" in stations(app, model, heldout_by="package")


def test_what_is_replayed_may_not_hold_the_questions(run_dir: Path) -> None:
    app, model = run_dir.parent / "app", run_dir.parent / "tiny"
    with pytest.raises(CodlingError, match="name other code"):
        stations(app, model, replay=app / "app")
    with pytest.raises(CodlingError, match="no file or folder"):
        stations(app, model, replay=Path("/no/such"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"heldout_by": "commits"}, "add --base MODEL"), ({"replay": Path("/tmp")}, "add --base")],
)
def test_without_a_base_there_is_nothing_to_ask_before_and_after(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(CodlingError, match=said):
        prepare(GrowConfig(sources=(tmp_path,), **settings), Path("runs/x"))  # type: ignore[arg-type]
