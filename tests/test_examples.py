"""The programs in examples/ run as they stand there, on a toy repository and a tiny model."""

import runpy
import sys
from pathlib import Path

import pytest

from codling.model.config import ModelConfig
from codling.train.pretrain import PretrainConfig
from tiny_run import make_repository

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
TINY = PretrainConfig(
    model=ModelConfig(hidden_size=32, intermediate_size=64, n_layers=2, n_heads=2),
    max_steps=4,
    batch_size=2,
    compile=False,
)


def run(name: str, *arguments: object) -> None:
    """The example as `python examples/NAME ARGUMENTS`, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("code") / "toys")


@pytest.fixture(scope="module")
def run_dir(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What examples/data.py leaves, and the model that examples/train.py makes of it."""
    folder = tmp_path_factory.mktemp("run")
    run("data.py", folder, repository)
    train = runpy.run_path(str(EXAMPLES / "train.py"))["train"]
    train(folder, TINY, vocab_size=400, context=256)
    return folder


def test_data_makes_samples_and_train_a_checkpoint(run_dir: Path) -> None:
    assert list((run_dir / "samples").glob("samples-*.parquet"))
    assert (run_dir / "checkpoint/model.safetensors").is_file()


def test_complete_prints_completions_and_a_stream(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("complete.py", run_dir / "checkpoint")
    shown = capsys.readouterr().out
    assert "def is_prime(n):" in shown
    assert shown.endswith(" nats\n")


def test_insert_fills_one_line_with_the_repository_in_front(
    run_dir: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("insert.py", run_dir / "checkpoint", repository, "words/part_1.py", 7)
    assert capsys.readouterr().out.count("\n") == 1


def test_evaluate_prints_scores(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("dev", "test"):
        (tmp_path / "mmlu" / split).mkdir(parents=True)
        (tmp_path / "mmlu" / split / f"sums_{split}.csv").write_text("1+1?,1,2,3,4,B\n")
    run("evaluate.py", "mmlu", run_dir / "checkpoint", tmp_path, tmp_path / "report")
    shown = capsys.readouterr().out
    assert shown.startswith("scores: {")
    assert "outcomes: {" in shown


def test_examples_are_short_and_the_readme_shows_each() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") < 40
        assert f"(examples/{path.name})" in readme
