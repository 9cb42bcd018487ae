"""What is wrong with a base or with a history is one line and exit code 2, before any work."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from codling.checkpoint.adapter import save_adapter
from codling.cli import main
from git_repositories import git, history, repository
from later_project import NOTICE, project
from serve.tiny_server import save_model

MODULE = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with later commits (app), a model (tiny), and adapters of other models."""
    root = tmp_path_factory.mktemp("bad")
    project(root / "app")
    save_model(root / "tiny")
    return root


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on stderr with which the command ends."""
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    assert stopped.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("codling")]
    assert len(said) == 1
    return said[0]


def grow(capsys: pytest.CaptureFixture[str], place: Path, source: Path, *more: str | Path) -> str:
    run_dir = place / "run"
    line = refused(capsys, "grow", source, "--run-dir", run_dir, "--workers", "1", *more)
    assert not run_dir.exists(), "nothing may be made before it is refused"
    return line


def test_later_commits_without_code_are_refused_before_anything_is_learned(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [{"LICENSE": NOTICE, "a.py": "x = 1\n", "n.txt": str(i)} for i in range(60)]
    history(tmp_path / "still", states)
    line = grow(capsys, place, tmp_path / "still", "--base", place / "tiny")
    assert "added no line of code that can be asked about" in line


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: repository(root / "few"), "has 1 commits, too few"),
        (lambda root: root, "is not a git repository"),
    ],
)
def test_a_split_by_commits_that_is_asked_for_needs_commits(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object, said: str
) -> None:
    source = make(tmp_path)  # type: ignore[operator]
    more = ("--base", place / "tiny", "--heldout-by", "commits")
    assert said in grow(capsys, place, source, *more)


def test_a_shallow_clone_has_no_history_to_cut(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "clone", "-q", "--depth=55", f"file://{place}/app", "thin")
    more = ("--base", place / "tiny", "--heldout-by", "commits")
    line = grow(capsys, place, tmp_path / "thin", *more)
    assert "shallow clone" in line
    assert "git fetch --unshallow" in line
    out_dir = tmp_path / "scores"
    command = ("score-commits", tmp_path / "thin", "--model", place / "tiny", "--out-dir", out_dir)
    assert "shallow clone" in refused(capsys, *command)


def test_more_tokens_than_the_weights_have_rows_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(place / "tiny", tmp_path / "other"))
    settings = json.loads((other / "tokenizer.json").read_text())
    last = max(token["id"] for token in settings["added_tokens"])
    more = [{**settings["added_tokens"][0], "id": last + i, "content": f"<x{i}>"} for i in (1, 2)]
    settings["added_tokens"] += more
    (other / "tokenizer.json").write_text(json.dumps(settings))
    line = grow(capsys, place, place / "app", "--base", other)
    assert "take both from the same checkpoint" in line


def adapter_of(folder: Path, size: int) -> Path:
    pair = (torch.zeros(2, size), torch.zeros(size, 2))
    save_adapter({MODULE: pair}, folder, rank=2, alpha=2.0, base_name="someone/else")
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    "verb",
    [
        "complete",
        "memory",
        pytest.param("score-commits", marks=pytest.mark.slow),
        "evaluate",
        "merge",
    ],
)
def test_an_adapter_of_another_model_is_refused_wherever_it_is_named(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    other, out_dir = adapter_of(tmp_path / "other", 48), ("--out-dir", tmp_path / "out")
    rows = tmp_path / "data"
    rows.mkdir()
    problem = {"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f"}
    problem |= {"canonical_solution": "    return 1\n", "test": "def check(f):\n    pass\n"}
    (rows / "HumanEval.jsonl").write_text(json.dumps(problem) + "\n")
    commands: dict[str, tuple[str | Path, ...]] = {
        "complete": (place / "tiny", "--prompt", "x", "--adapter", other),
        "memory": (place / "app", "--model", place / "tiny", "--adapter", other, *out_dir),
        "score-commits": (place / "app", "--model", place / "tiny", "--tuned", other, *out_dir),
        "evaluate": (
            *("humaneval", "--model", place / "tiny", "--adapter", other, *out_dir),
            *("--data-file", rows / "HumanEval.jsonl", "--limit", "1"),
        ),
        "merge": ("--model", place / "tiny", "--adapter", other, *out_dir),
    }
    line = refused(capsys, verb, *commands[verb])
    assert "it was made for another one (someone/else)" in line
    assert not (tmp_path / "out").exists()


def test_a_base_without_fim_tokens_says_how_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = save_model(tmp_path / "plain", fim=False)
    states = [{"LICENSE": NOTICE, "n.txt": str(i)} for i in range(60)]
    history(tmp_path / "still", states)
    with pytest.raises(SystemExit):
        main(["grow", str(tmp_path / "still"), "--base", str(plain)])
    said = " ".join(capsys.readouterr().err.split())
    assert "has no FIM tokens: plain text is learned" in said
    assert "text before the cursor alone" in said
