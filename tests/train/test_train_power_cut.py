"""A training run and its checkpoint whose power is cut while they are written: the next run gives
the bytes of an undisturbed one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.store import save_hf
from codling.core.artifact import Artifact, Draft, produce
from codling.core.files import write_text
from core.power_cut import cut_everywhere
from train.test_trainer import SHAPE, rows, trainer

ONCE_OR_EVERY = pytest.mark.parametrize(
    "every_kind", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["in turn", "every kind"]
)


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is asked for hundreds of times here."""
    monkeypatch.setattr("codling.core.artifact.code_version", lambda: {})


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in rows(folder)]


@pytest.mark.long
@ONCE_OR_EVERY
def test_a_cut_at_any_call_of_a_training_run_changes_no_bit(
    tmp_path: Path, every_kind: bool
) -> None:
    (tmp_path / "calm").mkdir()
    calm = trainer(tmp_path / "calm", max_steps=3)
    calm.run()
    root = tmp_path / "disk"
    (root / "run").mkdir(parents=True)

    def train() -> torch.Tensor:
        (root / "run").mkdir(exist_ok=True)
        made = trainer(root / "run", max_steps=3, save_seconds=0.0)
        made.run()
        return made.optimizer.weights()["master"]

    def check() -> None:
        assert torch.equal(train(), calm.optimizer.weights()["master"])
        assert losses(root / "run") == losses(tmp_path / "calm")

    assert cut_everywhere(root, train, check, every_kind=every_kind) > 10


def checkpoint(out_dir: Path) -> Artifact:
    def work(draft: Draft) -> None:
        run = trainer(draft.path, max_steps=2)
        run.run()
        write_text(draft.file("tokenizer.json"), "{}")
        save_hf(run.model, SHAPE, draft.path, dtype=torch.bfloat16, max_shard_bytes=20_000)
        draft.counts["parameters"] = run.model.n_parameters()

    return produce(out_dir, kind="checkpoint", version=1, config={}, inputs=[], work=work)


def weights(artifact: Artifact) -> dict[str, Any]:
    """Everything but the seconds of the steps."""
    hashes: dict[str, Any] = {f.name: f.sha256 for f in artifact.manifest.files}
    return hashes | {"metrics.jsonl": losses(artifact.path)}


@pytest.mark.long
@ONCE_OR_EVERY
def test_a_cut_at_any_call_of_writing_a_checkpoint_changes_nothing(
    tmp_path: Path, every_kind: bool
) -> None:
    calm = checkpoint(tmp_path / "calm")
    assert len(calm.files("model-*.safetensors")) > 1
    root = tmp_path / "disk"
    root.mkdir()

    def check() -> None:
        made = checkpoint(root / "checkpoint")
        assert weights(made) == weights(calm)
        assert made.counts == calm.counts
        assert sorted(p.name for p in root.iterdir()) == ["checkpoint"]
        assert not (made.path / ".shards").exists()
        assert json.loads((made.path / "config.json").read_text())["hidden_size"] == 32

    n = cut_everywhere(root, lambda: checkpoint(root / "checkpoint"), check, every_kind=every_kind)
    assert n > 20
