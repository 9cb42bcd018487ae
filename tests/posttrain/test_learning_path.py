"""The whole chain from a base to GRPO in one command, small: what it makes, says, and skips."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.store import save_hf
from codling.core.errors import SourceError
from codling.core.files import read_json_lines, write_json_lines
from codling.model.transformer import Transformer
from codling.pipeline import GrowConfig, grow
from codling.posttrain import grpo as grpo_stage
from codling.posttrain import score_tasks as score_tasks_stage
from codling.posttrain.learning_report import LearningReportConfig, learning_report, read_scores
from codling.posttrain.tasks import tasks as tasks_stage
from codling.posttrain.tasks.exercise import Exercise, is_held_out, read_exercises
from posttrain.test_grpo import LikesLetters
from posttrain.tiny_base import SHAPE

TOY = """
[tasks]
ask = "chat"
made_up = 30
[dialogues]
context = 700
template = "coder-v1"
heldout_share = 0.1
[tune]
rank = 2
alpha = 4.0
max_steps = 1
batch_size = 2
n_samples = 0
n_heldout_evals = 1
compile = false
threads = 1
[grpo]
rank = 2
alpha = 4.0
num_generations = 8
batch_size = 8
accumulate = 2
max_completion_length = 4
max_steps = 4
n_heldout_answers = 2
max_heldout = 4
n_heldout_evals = 1
threads = 1
[score_tasks]
template = "coder-v1"
[reward_model]
rank = 2
alpha = 4.0
context = 1000
max_steps = 2
compile = false
threads = 1
"""


def keep_all(_executor: object, exercises: Sequence[Exercise], *_: object) -> list[Exercise]:
    return list(exercises)


@pytest.mark.slow
def test_one_command_goes_from_a_base_to_grpo_and_again_does_nothing(
    base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"  # whose tokenizer, which knows few words, makes long prompts
    shape = replace(SHAPE, max_position=1024)
    save_hf(Transformer(shape, torch.Generator().manual_seed(3)), shape, base)
    for path in base_dir.glob("tokenizer*.json"):
        shutil.copyfile(path, base / path.name)
    for stage in (grpo_stage, score_tasks_stage):
        monkeypatch.setattr(stage, "Assessor", LikesLetters)
    monkeypatch.setattr(tasks_stage, "_keep", keep_all)
    recipe = tmp_path / "toy.toml"
    recipe.write_text(TOY)
    settings: dict[str, Any] = {"recipe": recipe, "base": str(base), "workers": 1}
    config = GrowConfig(run_dir=tmp_path / "run", **settings)
    said = grow(config)
    scores = read_scores(tmp_path / "run")
    assert [each.name for each in scores][:3] == ["base", "SFT", "GRPO, rewarded by verdicts"]
    assert len(scores) == 5
    assert all(each.gain is not None for each in scores[1:])
    assert "GRPO, rewarded by both" in said
    assert "on prompts it has not seen" in said
    page = (tmp_path / "run" / "report" / "learning.html").read_text()
    assert page.count("<tr>") == 6
    made = [path.stat().st_mtime_ns for path in sorted((tmp_path / "run").glob("*/manifest.json"))]
    grow(config)
    again = [path.stat().st_mtime_ns for path in sorted((tmp_path / "run").glob("*/manifest.json"))]
    assert again == made
    held_out = {
        each.id for each in read_exercises(tmp_path / "run" / "tasks") if is_held_out(each, 0.2, 0)
    }
    taught = {row["id"] for row in read_json_lines(tmp_path / "run" / "tasks" / "solutions.jsonl")}
    assert taught
    assert held_out
    assert not taught & held_out


def test_a_report_needs_a_run_that_learned(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no run that learned from tests"):
        learning_report(LearningReportConfig(run_dir=tmp_path, out_dir=tmp_path / "report"))


def test_gains_are_those_over_the_stage_before(tmp_path: Path) -> None:
    def measured(folder: str, *passed: tuple[int, int]) -> None:
        rows = [
            {"step": step, "id": f"t{i}", "n": 4, "n_passed": n}
            for step, counts in enumerate(passed)
            for i, n in enumerate(counts)
        ]
        (tmp_path / folder).mkdir()
        write_json_lines(tmp_path / folder / "heldout.jsonl", rows)

    measured("base-scores", (0, 0))
    measured("by-verdicts", (1, 1), (3, 3))
    base, tuned, learned = read_scores(tmp_path)
    assert base.gain is None
    assert tuned.gain == pytest.approx((0.25, 0.25, 0.25))
    assert learned.gain == pytest.approx((0.5, 0.5, 0.5))
    assert learned.is_clear
    assert json.dumps(learned.rate[0]) == "0.75"
