"""The reward model: its loss by hand, what it learns of unseen prompts, and GRPO on its scores."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.core.errors import SourceError
from codling.core.files import read_json_lines
from codling.model.transformer import Transformer
from codling.posttrain import grpo as grpo_stage
from codling.posttrain.grpo import grpo
from codling.posttrain.reward_model import (
    Graded,
    RewardModel,
    RewardModelConfig,
    RewardStep,
    add_head,
    lay_out_pairs,
    pair_up,
    reward_model,
)
from codling.posttrain.tasks.exercise import Exercise
from codling.train.config import OptimizerConfig
from posttrain.test_grpo import LikesLetters, config, rows  # noqa: F401
from posttrain.tiny_base import SHAPE


def test_loss_and_gradients_by_hand() -> None:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    add_head(model)
    model.get_parameter("score.weight").data.normal_(generator=torch.Generator().manual_seed(1))
    pairs = [
        (Graded((1, 2, 3), 1.0), Graded((1, 2, 4, 5, 6), 0.25)),
        (Graded((7, 8), 0.5), Graded((7, 9, 9), -0.3)),
    ]
    twin = copy.deepcopy(model)
    loss = RewardStep(model, compiled=False, points=0.5).loss(*lay_out_pairs(pairs))
    loss.backward()
    terms = []
    for better, other in pairs:
        scores = []
        for each in (better, other):
            hidden = twin(torch.tensor([each.ids]))[0, -1]
            scores.append((hidden @ twin.get_parameter("score.weight")[0]).squeeze())
        points = [
            (torch.sigmoid(s) - max(0.0, each.worth)) ** 2
            for s, each in zip(scores, (better, other), strict=True)
        ]
        pair = -torch.log(1 / (1 + torch.exp(scores[1] - scores[0])))
        terms.append(pair + 0.5 * sum(points) / 2)
    expected = torch.stack(terms).mean()
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    for name, parameter in twin.named_parameters():
        ours = model.get_parameter(name).grad
        if parameter.grad is not None:
            torch.testing.assert_close(ours, parameter.grad, atol=1e-5, rtol=1e-4)


def test_prompts_are_held_out_whole_and_pairs_differ() -> None:
    exercises = {
        str(i): Exercise(id=str(i), prompt="p", tests=("t",), entry_point="f") for i in range(40)
    }
    answers = {
        name: [Graded((i, 1), 0.0), Graded((i, 2), 1.0), Graded((i, 3), 1.0)]
        for i, name in enumerate(exercises)
    }
    settings = RewardModelConfig(model=Path("m"), heldout_share=0.3, pairs_per_prompt=1)
    train, heldout = pair_up(answers, exercises, settings)
    seen = [{pair[0].ids[0] for pair in part} for part in (train, heldout)]
    assert len(train) + len(heldout) == 40
    assert not seen[0] & seen[1]
    assert all(better.worth > other.worth for better, other in (*train, *heldout))


def learn(base_dir: Path, folder: Path, tasks_file: Path, **changes: Any) -> Any:
    ids = [json.loads(line)["id"] for line in tasks_file.read_text().splitlines()]
    said = [("xa", "passed", 1.0), ("7 ", "failed", 0.0), ("xx a", "passed", 1.0)]
    said += [("3=", "not parsed", -0.3), ("a a", "passed", 1.0), ("9 9", "failed", 0.0)]
    path = folder / "rollouts.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": i, "text": t, "grade": g, "share": max(0.0, r), "reward": r}) + "\n"
            for i in ids
            for t, g, r in said
        )
    )
    settings: dict[str, Any] = {
        "rollouts": (path,),
        "tasks_dir": tasks_file,
        "model": base_dir,
        "out_dir": folder / "reward",
        "context": 64,
        "heldout_share": 0.3,
        "rank": 4,
        "max_steps": 30,
        "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-2, eps=1e-8),
        "threads": 1,
        "device": "cpu",
        "compile": False,
        "precision": "fp32",
    }
    return reward_model(RewardModelConfig(**(settings | changes)))


def test_beside_a_base_in_bf16_its_accuracy_is_told_too(
    base_dir: Path,
    rows: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    made = learn(base_dir, tmp_path, rows, precision="bf16", max_steps=1)
    assert 0.0 <= made.counts["accuracy"] <= 1.0


@pytest.mark.parametrize("mode", [pytest.param("lora", marks=pytest.mark.long), "full"])
def test_it_ranks_answers_to_prompts_it_has_not_seen(
    base_dir: Path,
    rows: Path,  # noqa: F811
    tmp_path: Path,
    mode: str,
) -> None:
    made = learn(base_dir, tmp_path, rows, mode=mode, full_rate_share=1.0)
    assert made.kind == "reward-model"
    assert made.counts["accuracy"] > 0.9
    model = RewardModel.open(made.path)
    good, bad = model.score([((1, 2, 3), "xa"), ((1, 2, 3), "7 ")])
    assert 0 <= bad < good <= 1


@pytest.mark.long
@pytest.mark.parametrize("reward", ["model", "both"])
def test_grpo_learns_from_its_scores(
    base_dir: Path,
    rows: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reward: str,
) -> None:
    made = learn(base_dir, tmp_path, rows)
    monkeypatch.setattr(grpo_stage, "Assessor", LikesLetters)
    more = {"reward": reward, "reward_model_dir": made.path, "max_steps": 2}
    run = grpo(config(base_dir, rows, tmp_path / "out", **more))
    answers = list(read_json_lines(run.path / "rollouts.jsonl"))
    model = RewardModel.open(made.path)
    assert any(inner["kind"] == "reward-model" for inner in map(vars, run.manifest.inputs))
    for each in answers:
        verdict = 1.0 if each["grade"] == "passed" and reward == "both" else 0.0
        assert verdict <= each["reward"] <= verdict + 1
    assert len({each["reward"] for each in answers}) > 2
    assert model


def test_what_it_cannot_learn_from_is_one_line(
    base_dir: Path,
    rows: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    with pytest.raises(SourceError, match="no rollouts"):
        learn(base_dir, tmp_path, rows, rollouts=())
    with pytest.raises(SourceError, match=r"has no rollouts\.jsonl"):
        learn(base_dir, tmp_path, rows, rollouts=(tmp_path / "absent",))
    empty = tmp_path / "equal.jsonl"
    empty.write_text("")
    with pytest.raises(SourceError, match="differ in their reward"):
        learn(base_dir, tmp_path, rows, rollouts=(empty,))
