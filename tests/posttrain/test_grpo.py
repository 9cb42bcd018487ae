"""The stage grpo: what it samples, that it learns, and that it resumes to the bit."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import SourceError, StorageError
from codling.core.files import read_json_lines
from codling.core.log import MetricsLog
from codling.posttrain import grpo as grpo_stage
from codling.posttrain.config import GrpoConfig
from codling.posttrain.gains import interval_of_gain
from codling.posttrain.grpo import _choose_prompts, grpo
from codling.posttrain.grpo_loop import GrpoLoop
from codling.posttrain.questions import Posed, hold_out
from codling.posttrain.rewards import Assessment, Said
from codling.posttrain.rollout import Ask, Drawing, Sampler
from codling.posttrain.tasks.exercise import Exercise
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import OptimizerConfig


class LikesLetters:
    """In place of the sandbox: an answer passes if it begins with a small letter."""

    def __init__(self, **_: object) -> None:
        self.n_asked = 0

    def __enter__(self) -> "LikesLetters":
        return self

    def __exit__(self, *_: object) -> None: ...

    def require(self, _exercises: object) -> None: ...

    def assess(self, answers: Sequence[Said], *, hidden: bool = False) -> list[Assessment]:  # noqa: ARG002
        self.n_asked += 1
        grades = ["passed" if "a" <= each.text[:1] <= "z" else "failed" for each in answers]
        shares = [float(grade == "passed") for grade in grades]
        return [Assessment(grade=g, share=s) for g, s in zip(grades, shares, strict=True)]  # type: ignore[arg-type]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    made = [
        {"id": f"t{i}", "prompt": f"def f{i}(x):\n", "entry_point": f"f{i}", "tests": ["f"]}
        for i in range(10)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in made))
    return path


def config(base_dir: Path, rows: Path, out_dir: Path, **changes: Any) -> GrpoConfig:
    settings: dict[str, Any] = {
        "tasks_dir": rows,
        "model": base_dir,
        "out_dir": out_dir,
        "max_steps": 4,
        "num_generations": 4,
        "batch_size": 4,
        "accumulate": 2,
        "max_completion_length": 6,
        "rank": 4,
        "alpha": 8.0,
        "n_heldout_answers": 2,
        "n_heldout_evals": 2,
        "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-2, eps=1e-8),
        "threads": 1,
        "device": "cpu",
    }
    return GrpoConfig(**(settings | changes))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*model*.safetensors")
    return dict(load_file(path))


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpo_stage, "Assessor", LikesLetters)


@pytest.mark.long
@pytest.mark.usefixtures("easy")
def test_what_is_rewarded_becomes_likelier(base_dir: Path, rows: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "num_generations": 16,
        "batch_size": 32,
        "accumulate": 1,
        "n_heldout_answers": 16,
        "rollout_precision": "model",
    }
    more |= {"max_completion_length": 2, "max_steps": 25, "n_heldout_evals": 1, "temperature": 0.3}
    made = grpo(config(base_dir, rows, tmp_path / "out", **more))
    steps = list(read_json_lines(made.path / "metrics.jsonl"))
    assert made.kind == "adapter"
    assert made.counts["heldout_after"] > made.counts["heldout_before"] + 0.2
    assert steps[-1]["reward"] > steps[0]["reward"]
    assert steps[0]["sampler_gap"] < 1e-5
    assert {"entropy", "kl", "clip_ratio", "mean_length", "frac_reward_zero_std"} <= set(steps[0])
    page = (made.path / "grpo.html").read_text()
    assert "Answers of step 0" in page
    answers = list(read_json_lines(made.path / "rollouts.jsonl"))
    assert len(answers) == 25 * 32
    assert {"text", "grade", "reward", "advantage"} <= set(answers[0])


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize(
    ("mode", "faithful"),
    [
        pytest.param("lora", True, marks=pytest.mark.long),
        ("full", True),
        pytest.param("lora", False, marks=pytest.mark.long),
        pytest.param("full", False, marks=pytest.mark.long),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(
    base_dir: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    faithful: bool,
) -> None:
    """As published, and with answers drawn in 8 bits, which is the default."""
    settings = {"mode": mode, "save_seconds": 0.0, "faithful": faithful}
    whole = grpo(config(base_dir, rows, tmp_path / "whole", **settings))
    real, broken = GrpoLoop._one_step, config(base_dir, rows, tmp_path / "cut", **settings)

    def stop_after_two(self: GrpoLoop, *logs: Any) -> str:
        if self.position.step == 2:
            logs[0].write(step=2, reward=0.0)  # a step that was begun leaves traces
            logs[2].write(step=3, id="t", n=1, n_passed=1)
            raise KeyboardInterrupt
        return real(self, *logs)

    monkeypatch.setattr(GrpoLoop, "_one_step", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        grpo(broken)
    monkeypatch.setattr(GrpoLoop, "_one_step", real)
    resumed = grpo(broken)
    ours, theirs = weights(resumed.path), weights(whole.path)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("rollouts.jsonl", "heldout.jsonl"):
        rows_of = [list(read_json_lines(each.path / name)) for each in (resumed, whole)]
        assert rows_of[0] == rows_of[1]


@pytest.mark.long
@pytest.mark.usefixtures("easy")
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    base_dir: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, real = config(base_dir, rows, tmp_path / "out", save_seconds=0.0), MetricsLog.write

    def fill(self: MetricsLog, **values: object) -> None:
        if values.get("step") == 2:
            raise OSError(28, "No space left on device")
        real(self, **values)

    monkeypatch.setattr(MetricsLog, "write", fill)
    with pytest.raises(StorageError, match="space"):
        grpo(settings)
    monkeypatch.setattr(MetricsLog, "write", real)
    assert grpo(settings).counts["n_steps"] == 4


def test_samples_are_the_seeds_and_follow_the_weights(base_dir: Path) -> None:
    model, tokenizer = load_model(base_dir), open_tokenizer(base_dir)
    sampler = Sampler(model, tokenizer, n_at_once=3, max_length=40)
    ids = tuple(tokenizer.encode("def add(a, b):"))
    asks = [Ask(prompt_ids=ids, stop=("e",), seed=i % 4) for i in range(8)]
    drawing = Drawing(max_tokens=8, temperature=0.7)
    first = sampler.draw(asks, drawing)
    assert [r.token_ids for r in first[:4]] == [r.token_ids for r in first[4:]]
    assert first == sampler.draw(asks, drawing)
    for rollout in first:
        assert "e" not in rollout.text
        assert rollout.ended or len(rollout.token_ids) == 8
        whole = torch.tensor([[*rollout.prompt_ids, *rollout.token_ids]])
        with torch.no_grad():
            scores = model.logits(model(whole[:, :-1]))[0].div(0.7).log_softmax(-1)
        n = len(ids)
        plain = [float(scores[n - 1 + i, t]) for i, t in enumerate(rollout.token_ids)]
        assert list(rollout.logprobs) == pytest.approx(plain, abs=1e-4)
    with torch.no_grad():
        model.embed_tokens.weight.mul_(1.5)
    assert first != sampler.draw(asks, drawing)
    sampler.close()


def test_groups_are_held_out_together() -> None:
    exercises = [
        Exercise(id=str(i), prompt="p", tests=("t",), entry_point="f", group=str(i % 7))
        for i in range(70)
    ]
    train, heldout = hold_out([Posed(each, (1,)) for each in exercises], 0.4, seed=1)
    groups = [{each.exercise.group for each in part} for part in (train, heldout)]
    assert groups[0] | groups[1] == set("0123456")
    assert not groups[0] & groups[1]


def test_the_interval_is_that_of_the_gain_per_prompt() -> None:
    before = {str(i): (4, i % 2) for i in range(100)}
    after = {str(i): (4, 1 + i % 2) for i in range(100)}
    assert interval_of_gain(before, after) == pytest.approx((0.25, 0.25))


@pytest.mark.usefixtures("easy")
def test_what_cannot_be_asked_is_one_line(base_dir: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no exercises at"):
        grpo(config(base_dir, tmp_path / "absent", tmp_path / "out"))
    with pytest.raises(SourceError, match="leaves room for an answer"):
        grpo(config(base_dir, rows, tmp_path / "out", max_completion_length=255))


@pytest.mark.long
def test_the_sandbox_judges_what_the_model_says(base_dir: Path, tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    path = tmp_path / "rows.jsonl"
    row: dict[str, Any] = {"id": "f", "prompt": "def f():\n", "begin": "def f():\n    return 1\n"}
    row |= {"entry_point": "f", "stop": ["\n"]}
    tests = {"tests": ["assert f() == 1", "assert f() == 2"]}
    path.write_text("".join(json.dumps(row | tests | {"id": str(i)}) + "\n" for i in range(4)))
    made = grpo(config(base_dir, path, tmp_path / "out", max_steps=1, heldout_share=0.0))
    answers = list(read_json_lines(made.path / "rollouts.jsonl"))
    assert {each["grade"] for each in answers} <= {"failed", "not parsed", "not compiled"}
    assert {each["share"] for each in answers} <= {0.0, 0.5}


@pytest.mark.parametrize(
    ("n", "share", "said"), [(0, 0.2, "has no rows"), (1, 0.99, "all 1 prompts of .* held out")]
)
def test_no_rows_and_only_held_out_ones_are_one_line_each(
    n: int, share: float, said: str, tmp_path: Path, tiny_tokenizer: Tokenizer
) -> None:
    row = {"prompt": "def f():\n", "entry_point": "f", "tests": ["assert f()"]}
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(f"{json.dumps(row)}\n" * n)
    config = GrpoConfig(tasks_dir=tasks, model=Path("x"), heldout_share=share)
    with pytest.raises(SourceError, match=said):
        _choose_prompts(config, tiny_tokenizer, 100)
