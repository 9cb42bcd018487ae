"""The published finetune command: its words are taken, its faults mended, and nothing is silent."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from codling.cli import main
from codling.core.errors import ConfigError
from codling.posttrain.config import TuneConfig, count_steps, fit_update
from codling.posttrain.finetune import fit_to_base, plan_run
from codling.posttrain.published_flags import KNOWN
from codling.posttrain.published_values import OPPOSITES, read_value

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ROOT.parent / "shared" / "data" / "training-arguments-4.35.0.tsv"
EXAMPLE = ROOT / "examples" / "finetune_deepseekcoder.py"
PUBLISHED = (
    "--model_name_or_path MODEL --data_path DATA --output_dir OUT --num_train_epochs 3 "
    "--model_max_length 1024 --per_device_train_batch_size 16 --gradient_accumulation_steps 4 "
    "--evaluation_strategy no --save_strategy steps --save_steps 100 --save_total_limit 100 "
    "--learning_rate 2e-5 --warmup_steps 10 --logging_steps 1 --lr_scheduler_type cosine "
    "--gradient_checkpointing True --report_to tensorboard --deepspeed DEEPSPEED --bf16 True"
)
ZERO3: dict[str, Any] = {
    "bf16": {"enabled": "auto"},
    "optimizer": {
        "type": "AdamW",
        "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"},
    },
    "scheduler": {
        "type": "WarmupLR",
        "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto", "warmup_num_steps": "auto"},
    },
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
        "offload_param": {"device": "cpu", "pin_memory": True},
        "overlap_comm": True,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "steps_per_print": 20,
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "wall_clock_breakdown": False,
}


def words(tmp_path: Path, config: dict[str, Any] | None = None, more: str = "") -> list[str]:
    (tmp_path / "ds.json").write_text(json.dumps(config or ZERO3))
    text = PUBLISHED.replace("DEEPSPEED", str(tmp_path / "ds.json"))
    return f"{text} {more}".split()


def test_the_published_command_means_these_settings(tmp_path: Path) -> None:
    run = plan_run(words(tmp_path, more="--local_rank=1"), n_ranks=2)
    tuning = run.tuning
    assert (tuning.mode, tuning.epochs, tuning.accumulate, tuning.batch_size) == ("full", 3, 4, 32)
    assert tuning.loop().optimizer.learning_rate == 2e-5
    assert tuning.optimizer.betas == (0.9, 0.999)
    assert (tuning.schedule.name, tuning.schedule.warmup_steps) == ("cosine", 10)
    assert (tuning.schedule.form, tuning.weigh) == ("transformers", "tokens")
    assert (tuning.precision, tuning.seed, tuning.packing) == ("bf16", 42, True)
    assert tuning.rows_per_update == 2 * 16 * 4
    assert (run.dialogues.context, run.dialogues.labels) == (1024, "answers")
    assert run.dialogues.files == (Path("DATA"),)
    said = "\n".join(run.lines)
    for named in ("--save_steps", "--logging_steps"):
        assert named in said
    assert tuning.recompute
    assert tuning.report_to == ("tensorboard",)
    assert "--evaluation_strategy" not in said  # it asks for nothing
    assert "the rate follows --lr_scheduler_type cosine" in said
    assert "ZeRO stage 3, each of 2 processes holds its share" in said
    assert tuning.shard


def test_a_norm_of_0_asks_for_no_clipping() -> None:
    run = plan_run(["--data_path", "d", "--output_dir", "o", "--max_grad_norm", "0"])
    assert run.tuning.optimizer.clip_norm == 1e12


def test_a_flag_renamed_since_2023_is_known_by_both_names() -> None:
    for name in ("evaluation_strategy", "eval_strategy"):
        run = plan_run(["--data_path", "d", "--output_dir", "o", f"--{name}", "epoch"])
        assert f"--{name}" in "\n".join(run.lines)


def test_faithful_keeps_what_was_published(tmp_path: Path) -> None:
    run = plan_run(words(tmp_path, more="--faithful"))
    assert run.dialogues.labels == "published"
    assert not run.tuning.packing
    assert (run.tuning.schedule.form, run.tuning.schedule.warmup_steps) == ("deepspeed", 10)
    assert run.tuning.weigh == "batches"
    assert any("rises with the logarithm" in line for line in run.lines)


def test_defaults_are_the_published_ones() -> None:
    tuning = plan_run(["--data_path", "d", "--output_dir", "o"]).tuning
    assert str(tuning.model) == "deepseek-ai/deepseek-coder-6.7b-instruct"
    assert (tuning.batch_size, tuning.optimizer.learning_rate) == (8, 5e-5)
    assert (tuning.schedule.name, tuning.precision) == ("wsd", "fp32")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--learning_rat 1", "learning_rate"),
        ("--seed x", "--seed is x; a whole number"),
        ("--seed 1 2", "--seed takes one value, but 2 follows"),
        ("--bf16 True stray", "--bf16 takes one value, but stray follows"),
        ("--save_strategy sometimes", "choose from no, steps, epoch"),
        ("--save_steps often", "--save_steps is often; a number"),
        ("--bf16 maybe", "--bf16 is maybe"),
        ("--model_name_or_path --seed 1", r"sets MODEL and then uses \$MODEL_PATH"),
        ("--lr_scheduler_type polynomial", "choose from linear, cosine"),
        ("--optim lion_32bit", "which learns otherwise; choose adamw_torch"),
        ("--per_device_train_batch_size 0", "--per_device_train_batch_size is 0"),
        ("--warmup_ratio 2", "--warmup_ratio is 2"),
        ("--data_path", "--data_path has no value"),
        ("--neftune_noise_alpha 5", "changes what is learned"),
    ],
)
def test_what_the_command_cannot_mean_is_one_line(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_run(words(tmp_path, more=more))


def test_a_deepspeed_config_that_contradicts_a_flag_names_both(tmp_path: Path) -> None:
    config = ZERO3 | {"gradient_accumulation_steps": 8}
    with pytest.raises(ConfigError, match="gradient_accumulation_steps to 8, but --gradient"):
        plan_run(words(tmp_path, config))
    whole = ZERO3 | {"train_batch_size": 64}
    assert plan_run(words(tmp_path, whole)).tuning.batch_size == 16
    with pytest.raises(ConfigError, match="train_batch_size to 64, but 2 processes x --per_dev"):
        plan_run(words(tmp_path, whole), n_ranks=2)
    literal = ZERO3 | {"gradient_clipping": 0.5, "nvme": 1}
    run = plan_run(words(tmp_path, literal))
    assert run.tuning.optimizer.clip_norm == 0.5
    assert any("knows no nvme" in line for line in run.lines)


def test_the_verb_takes_the_flags_as_they_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--learning_rat", "1"], "unknown key learning_rat; did you mean learning_rate?"),
        (["--seed", "-1", "--data_path", "x", "--output_dir", "y"], "codling: --seed is -1"),
        (["--bf16", "True", "--output-dir", "y"], "codling: --data_path is missing"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["finetune", *more])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_every_training_argument_of_2023_is_known() -> None:
    if not ARGUMENTS.is_file():
        pytest.skip(f"needs the arguments of transformers 4.35 in the data folder: {ARGUMENTS}")
    names = {line.split("\t")[0] for line in ARGUMENTS.read_text().splitlines()[1:]}
    assert {n for n in names if n.isidentifier()} - KNOWN == set()


def test_every_flag_of_2023_takes_so_many_words_as_then() -> None:
    if not ARGUMENTS.is_file():
        pytest.skip(f"needs the arguments of transformers 4.35 in the data folder: {ARGUMENTS}")
    rows = [line.split("\t") for line in ARGUMENTS.read_text().splitlines()[1:]]
    kinds = {name: (kind, default) for name, kind, default in rows if name.isidentifier()}
    assert len(kinds) > 100
    for name, (kind, default) in kinds.items():
        if "bool" in kind:
            assert read_value(name, []) is read_value(name, ["True"]) is True, name
            assert read_value(name, ["False"]) is read_value(name, ["no"]) is False, name
            assert (f"no_{name}" in OPPOSITES) == (default == "True"), name
        elif "int" in kind or "float" in kind:
            assert read_value(name, ["8"]) == 8, name
        elif "List" in kind and name != "fsdp":  # there HfArgumentParser takes the str
            assert read_value(name, ["a", "b"]) == ["a", "b"], name
            continue
        else:
            word = {"hub_strategy": "end"}.get(name, "no" if "strategy" in name else "info")
            assert read_value(name, [word]) == word
            with pytest.raises(ConfigError, match=f"--{name} has no value"):
                read_value(name, [])
        with pytest.raises(ConfigError, match=f"--{name} takes one value, but b follows"):
            read_value(name, ["a", "b"])


def test_flags_that_take_several_words_leave_none_over(capsys: pytest.CaptureFixture[str]) -> None:
    beside = ["--bf16", "--debug", "underflow_overflow", "--report_to", "all", "--no_cuda", "False"]
    run = plan_run(["--data_path", "a", "b", "--output_dir", "o", *beside, "--no_save_safetensors"])
    assert run.dialogues.files == (Path("a"), Path("b"))
    assert (run.tuning.precision, run.tuning.device) == ("bf16", "auto")
    assert any(line.startswith("--debug: no effect") for line in run.lines)
    assert run.tuning.report_to == ("tensorboard",)
    other = plan_run(["--data_path", "a", "--output_dir", "o", "--report_to", "mlflow"])
    assert not other.tuning.report_to
    assert any(line.startswith("--report_to mlflow: no effect") for line in other.lines)
    with pytest.raises(SystemExit):  # codling's own --debug does not take the word away
        main(["finetune", "--data_path", "a", "--debug", "underflow_overflow", "--seed", "x"])
    assert "--seed is x; a whole number is needed" in capsys.readouterr().err


def test_an_update_has_the_rows_that_were_asked_for_however_they_are_packed() -> None:
    asked = TuneConfig(model=Path("m"), batch_size=16, accumulate=4, rows_per_update=64)
    fitted = fit_update(asked, n_rows=64, n_windows=8, n_ranks=1)
    assert (fitted.batch_size, fitted.accumulate) == (8, 1)
    assert count_steps(fitted, 3.0, 8).max_steps == 3  # an epoch is an update, as unpacked
    alone = fit_update(replace(asked, packing=False), n_rows=64, n_windows=64, n_ranks=1)
    assert (alone.batch_size, alone.accumulate) == (16, 4)


def test_a_longer_length_than_the_base_reads_is_cut_and_said(
    base_dir: Path, tmp_path: Path
) -> None:
    more = ["--model_name_or_path", str(base_dir), "--model_max_length", "1024"]
    run = fit_to_base(plan_run(["--data_path", "d", "--output_dir", str(tmp_path / "o"), *more]))
    assert run.dialogues.context == 256
    assert any("--model_max_length 1024" in line and "256" in line for line in run.lines)


def test_a_base_of_no_known_family_is_taught_a_template_that_needs_no_token_but_eos(
    base_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "llama"
    shutil.copytree(base_dir, folder)
    words = Tokenizer(BPE({"<s>": 0, "</s>": 1, "a": 2}, []))
    words.add_special_tokens(["<s>", "</s>"])
    words.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    more = ["--data_path", "d", "--output_dir", "o", "--model_name_or_path", str(folder)]
    run = fit_to_base(plan_run(more))
    assert run.dialogues.template == "v2"
    assert any("is of no known family" in line for line in run.lines)
    assert fit_to_base(plan_run([*more, "--faithful"])).dialogues.template is None
    named = fit_to_base(plan_run([*more, "--chat_template", "chatml"]))
    assert named.dialogues.template == "chatml"


@pytest.mark.long
def test_the_published_script_ends_with_a_whole_model(
    base_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    rows = [{"instruction": f"Number {i}?", "output": f"It is {i}."} for i in range(64)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = words(tmp_path, more="--max_steps 2")
    places = {"MODEL": base_dir, "DATA": tmp_path / "rows.jsonl", "OUT": tmp_path / "out"}
    replaced = [str(places.get(word, word)) for word in command]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [EXAMPLE.name, *replaced])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert stopped.value.code == 0
    assert "n_steps 2" in capsys.readouterr().out
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert all(0 not in weight.shape for weight in model.state_dict().values())
    assert (tmp_path / "out" / "chat_template.jinja").is_file()
    assert list((tmp_path / "out" / "tensorboard").glob("events.out.tfevents.*"))
