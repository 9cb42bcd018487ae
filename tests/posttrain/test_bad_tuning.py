"""A user's mistakes in tuning: one line each that names what and the cure, exit code 2."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

from codling.cli import main

ROW = {"instruction": "1+1?", "output": "2"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(ROW | {"instruction": f"{i}?"}) + "\n" for i in range(8)))
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line with which a command is refused."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("codling")
    assert not [line for line in said[:-1] if "Traceback" in line or line.startswith("codling")]
    return said[-1]


def test_rows_of_which_none_can_be_used(
    base_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "x"}\n{"instruction": "x"\n')
    out = tmp_path / "out"
    line = refused(
        capsys,
        *("data", "dialogues", bad, "--tokenizer-dir", base_dir, "--out-dir", out),
        *("--template", "coder-v1"),
    )
    assert "no row of" in line
    assert "unknown-shape" in line
    assert "not-json" in line
    assert not list(tmp_path.glob("out*"))


def test_a_template_that_there_is_not(
    base_dir: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(
        capsys,
        *("data", "dialogues", rows, "--tokenizer-dir", base_dir, "--out-dir", tmp_path / "out"),
        *("--template", "alpaka"),
    )
    assert "alpaka" in line
    assert "coder-v1" in line  # the choice


def test_a_deepspeed_config_that_contradicts_a_flag(
    base_dir: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "ds.json"
    config.write_text('{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}')
    command = ("finetune", "--model_name_or_path", base_dir, "--data_path", rows)
    out = ("--output_dir", tmp_path / "out", "--deepspeed", config)
    line = refused(capsys, *command, *out, "--learning_rate", "2e-5")
    assert f"{config} sets optimizer.params.lr to 0.0001, but --learning_rate is 2e-05" in line
    config.write_text("{")
    assert str(config) in refused(capsys, *command, *out)
    config.write_text('{"bf16": {"enabled": "perhaps"}}')
    line = refused(capsys, *command, *out)
    assert f"{config}: bf16.enabled" in line
    assert "perhaps" in line
    config.write_text('{"optimizer": {"params": {"betas": ["a", 0.9]}}}')
    line = refused(capsys, *command, *out)
    assert f"{config}: optimizer.params.betas, which stands for a flag: --adam_beta1 is a" in line
    config.write_text('{"zero_optimization": {"stage": 7}}')
    line = refused(capsys, *command, *out)
    assert f"{config}: zero_optimization.stage is 7; choose from 0, 1, 2, 3" in line
    config.write_text('{"optimizer": {"type": "Lion"}}')
    line = refused(capsys, *command, *out)
    assert f"{config}: optimizer.type is Lion, which learns otherwise; write AdamW there" in line
    config.write_text('{"scheduler": {"type": "WarmupDecayLR"}}')
    line = refused(capsys, *command, *out, "--faithful")
    assert f"{config} has scheduler.type WarmupDecayLR; write WarmupLR there" in line
    config.unlink()
    assert str(config) in refused(capsys, *command, *out)


def test_an_adapter_in_place_of_the_base_and_one_of_another_method(
    base_dir: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for path in base_dir.glob("tokenizer*.json"):
        shutil.copyfile(path, adapter / path.name)
    settings = {"peft_type": "IA3", "base_model_name_or_path": "x", "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    save_file({}, adapter / "adapter_model.safetensors")
    command = ("finetune", "--model_name_or_path", adapter, "--data_path", rows)
    line = refused(capsys, *command, "--output_dir", tmp_path / "out")
    assert str(adapter) in line
    assert "is an adapter" in line
    line = refused(capsys, "merge", "--model", base_dir, "--adapter", adapter, "--out-dir", "x")
    assert "IA3" in line


def test_a_base_that_cannot_insert_and_one_that_is_not_there(
    base_dir: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("finetune", "--data_path", rows, "--output_dir", tmp_path / "out")
    line = refused(capsys, *command, "--model_name_or_path", tmp_path / "none")
    assert str(tmp_path / "none") in line
    line = refused(capsys, *command, "--model_name_or_path", base_dir, "--fim_rate", "1")
    assert "--fim_rate is 1" in line
    line = refused(capsys, *command, "--model_name_or_path", base_dir, "--num_train_epochs", "0")
    assert "--num_train_epochs is 0; choose a number above 0" in line
    other = ("finetune", "--data_path", rows, "--model_name_or_path", base_dir)
    line = refused(capsys, *other, "--output_dir", rows)
    assert f"--output_dir {rows} is a file; name a folder" in line
    assert not list(tmp_path.glob("*.dialogues*"))
    line = refused(capsys, "data", "dialogues", tmp_path, "--tokenizer-dir", base_dir)
    assert f"{tmp_path} is a folder" in line
