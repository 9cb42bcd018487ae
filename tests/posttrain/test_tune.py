"""The stage tune: it learns answers, gives them in a chat, resumes, and refuses what cannot fit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codling.cli import main
from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.core.recipe import build_partial, read_recipe
from codling.engine.text import TextEngine
from codling.posttrain.config import TuneConfig
from codling.posttrain.merge import MergeConfig, merge
from codling.posttrain.tune import tune
from codling.tokens.chat import ChatFormat
from codling.tokens.dialogues import DialoguesConfig, dialogues
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import OptimizerConfig, ScheduleConfig
from codling.train.trainer import Trainer

Config = Callable[..., TuneConfig]
WORDS = ["red", "blue", "green", "grey", "black", "white", "pink", "gold", "teal", "plum"]
ROWS = [
    {"instruction": f"Which colour has number {i}?", "output": f"{WORDS[i % 10]}-{i * 7}"}
    for i in range(20)
]
FAST = OptimizerConfig(name="adamw", learning_rate=2e-2, eps=1e-8)


@pytest.fixture(scope="session")
def colours_dir(base_dir: Path) -> Path:
    """Twenty rows to be learned by heart."""
    file = base_dir.with_name("rows.jsonl")
    file.write_text("".join(json.dumps(row | {"system": "Answer.\n"}) + "\n" for row in ROWS))
    config = DialoguesConfig(
        files=(file,),
        tokenizer_dir=base_dir,
        out_dir=base_dir.with_name("colours"),
        template="coder-v1",
        context=128,
        heldout_share=0.0,
    )
    return dialogues(config).path


def held_out(base_dir: Path, tmp_path: Path) -> Path:
    """The twenty rows, of which a part is held out."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row | {"system": "S\n"}) + "\n" for row in ROWS))
    config = DialoguesConfig(
        files=(file,),
        tokenizer_dir=base_dir,
        out_dir=tmp_path / "dialogues",
        template="coder-v1",
        context=255,
        heldout_share=0.3,
    )
    return dialogues(config).path


@pytest.fixture
def tune_config(base_dir: Path, colours_dir: Path, tmp_path: Path) -> Config:
    def config(**changes: Any) -> TuneConfig:
        settings: dict[str, Any] = {
            "model": base_dir,
            "dialogues_dir": colours_dir,
            "out_dir": tmp_path / "tuned",
            "rank": 4,
            "alpha": 8.0,
            "batch_size": 2,
            "max_steps": 6,
            "threads": 1,
            "compile": False,
            "device": "cpu",
            "precision": "fp32",
        }
        return TuneConfig(**(settings | changes))

    return config


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_json_lines(folder / "metrics.jsonl")]


def assert_generation_ends_in_transformers(folder: Path, row: dict[str, str]) -> None:
    """By the folder's own generation_config.json alone."""
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.open(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    messages = [
        {"role": "system", "content": "Answer.\n"},
        {"role": "user", "content": row["instruction"]},
    ]
    prompt = ChatFormat(tokenizer).ids(messages)
    out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=40)
    answer = out[0, len(prompt) :].tolist()
    assert tokenizer.decode(answer).strip() == row["output"]
    assert answer[-1] in tokenizer.stop_ids("chat")


@pytest.mark.long
def test_rows_learned_by_heart_are_answered_in_a_chat(
    tune_config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = ScheduleConfig(name="cosine", warmup_steps=5)
    made = tune(
        tune_config(
            mode="full",
            full_rate_share=1.0,
            max_steps=None,
            epochs=60.0,
            optimizer=FAST,
            schedule=schedule,
        )
    )
    assert made.kind == "checkpoint"
    assert made.counts["loss"] < 0.05
    # Each row is a window's share; 60 epochs of all windows, two a step.
    assert made.counts["n_steps"] == len(losses(made.path))
    assert_generation_ends_in_transformers(made.path, ROWS[3])
    for row in (ROWS[3], ROWS[16]):
        command = ["chat", str(made.path), "--message", row["instruction"], "--system", "Answer.\n"]
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--temperature", "0", "--max-tokens", "40"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out.strip() == row["output"]


def test_lora_makes_an_adapter_with_the_template_beside_it(tune_config: Config) -> None:
    made = tune(tune_config(optimizer=FAST, max_steps=12))
    assert made.kind == "adapter"
    names = sorted(f.name for f in made.manifest.files)
    assert names == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "generation_config.json",
        "metrics.jsonl",
    ]
    found = losses(made.path)
    assert found[-1] < found[0]
    assert 0.5 < made.counts["filled"] <= 1.0


def test_template_and_ends_lie_where_others_look_and_go_with_a_merge(
    tune_config: Config, base_dir: Path, tmp_path: Path
) -> None:
    base = Tokenizer.open(base_dir)
    made = tune(tune_config(max_steps=1))
    merged = merge(MergeConfig(model=base_dir, adapter=made.path, out_dir=tmp_path / "merged"))
    full = tune(tune_config(max_steps=1, mode="full", out_dir=tmp_path / "full"))
    template = (made.path / "chat_template.jinja").read_text()
    for folder in (merged.path, full.path):
        assert (folder / "chat_template.jinja").read_text() == template
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        assert settings["chat_template"] == template
        for name in ("generation_config.json", "config.json"):
            stops = json.loads((folder / name).read_text())["eos_token_id"]
            assert set(stops if isinstance(stops, list) else [stops]) <= base.stop_ids("chat")
        tuned = Tokenizer.open(folder)
        assert (tuned.specials, tuned.fim_mode) == (base.specials, base.fim_mode)
    engine = TextEngine.open(base_dir, adapter=made.path, must_chat=True, precision="float32")
    assert engine.tokenizer.vocab_size == base.vocab_size


def test_insertion_tasks_are_the_share_that_was_asked_for(
    tune_config: Config, base_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = ({"instruction": f"{i}?", "output": f"total = total + {i}\n" * 3} for i in range(20))
    file.write_text("".join(json.dumps(row | {"system": "S\n"}) + "\n" for row in rows))
    config = DialoguesConfig(
        files=(file,),
        tokenizer_dir=base_dir,
        out_dir=tmp_path / "dialogues",
        template="coder-v1",
        context=128,
        heldout_share=0.0,
    )
    made = tune(tune_config(dialogues_dir=dialogues(config).path, max_steps=1, fim_rate=0.2))
    assert made.counts["insertions"] == 5  # beside 20 dialogues


@pytest.mark.long
def test_the_best_weights_on_held_out_dialogues_are_kept(
    tune_config: Config, base_dir: Path, tmp_path: Path
) -> None:
    dialogues_dir = held_out(base_dir, tmp_path)
    made = tune(tune_config(dialogues_dir=dialogues_dir, optimizer=FAST, max_steps=8))
    assert made.counts["validation_bits"] < made.counts["validation_bits_before"]
    assert made.counts["best_step"] > 0
    # Each evaluation has answers to the same held-out questions, the first before any training.
    answers = list(read_json_lines(made.path / "answers.jsonl"))
    assert len({row["step"] for row in answers}) == 6
    assert answers[0]["step"] == 0
    first = [row for row in answers if row["number"] == 0]
    assert len({row["question"] for row in first}) == 1
    assert ROWS[0]["instruction"][:12] in first[0]["question"]
    page = (made.path / "answers.html").read_text()
    assert page.count("After 0 steps") == len(answers) / 6 == 3


def test_a_run_that_no_longer_gains_ends_early(
    tune_config: Config, base_dir: Path, tmp_path: Path
) -> None:
    made = tune(
        tune_config(
            dialogues_dir=held_out(base_dir, tmp_path),
            optimizer=replace(FAST, learning_rate=1000.0),  # breaks the model at once
            max_steps=20,
            n_heldout_evals=10,
            patience=2,
            n_samples=0,
        )
    )
    # Measured every second step; two measurements after the best one nothing was better.
    assert made.counts["n_steps"] == made.counts["best_step"] + 4 < 20
    assert made.counts["n_steps"] == len(losses(made.path))


@pytest.mark.long
def test_an_interrupted_run_ends_bit_for_bit_like_a_calm_one(
    tune_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tune_config(max_steps=6, accumulate=2, save_seconds=0.0, optimizer=FAST)
    calm = tune(replace(config, out_dir=tmp_path / "calm"))
    one_step = Trainer._one_step

    def stops_at_4(self: Trainer, log: Any) -> None:
        if self.position.step == 4:
            raise KeyboardInterrupt
        one_step(self, log)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_one_step", stops_at_4)
        with pytest.raises(KeyboardInterrupt):
            tune(config)
    assert not config.out_dir.exists()
    resumed = tune(config)
    assert losses(resumed.path) == losses(calm.path)
    name = "adapter_model.safetensors"
    assert (resumed.path / name).read_bytes() == (calm.path / name).read_bytes()


def test_dialogues_of_another_tokenizer_or_length_are_one_line(
    tune_config: Config, colours_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="reads 256 tokens"):
        tune(tune_config(context=300))
    other = tmp_path / "other"
    shutil.copytree(colours_dir, other)
    meta = json.loads((other / "meta.json").read_text())
    text = json.dumps(meta | {"eos": meta["eos"] - 1})
    (other / "meta.json").write_text(text.ljust((other / "meta.json").stat().st_size))
    with pytest.raises(ConfigError, match="make them again"):
        tune(tune_config(dialogues_dir=other))


def test_the_recipe_sets_both_stages() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "sft.toml")
    tuning = build_partial(TuneConfig, recipe["tune"], "sft")
    assert (tuning["mode"], tuning["schedule"].name, tuning["packing"]) == ("lora", "cosine", True)
    assert tuning["patience"] > 0
    assert build_partial(DialoguesConfig, recipe["dialogues"], "sft")["context"] == 2048


def test_without_measurements_on_the_way_what_was_learned_is_kept(
    base_dir: Path, tune_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = held_out(base_dir, tmp_path)
    made = tune(tune_config(dialogues_dir=folder, n_heldout_evals=0, n_samples=0, max_steps=2))
    weights = load_file(made.path / "adapter_model.safetensors")
    assert any(bool(each.any()) for name, each in weights.items() if "lora_B" in name)
    assert "the last weights are kept" in capsys.readouterr().err
