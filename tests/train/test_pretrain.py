"""The stage: what it publishes, what it refuses, and that nothing can interrupt it for good."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codling.checkpoint.load import load_model
from codling.core.artifact import Draft, sha256_of
from codling.core.errors import ArtifactError, CheckpointError, ConfigError
from codling.core.files import read_json_lines
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import Tokenizer
from codling.train.pretrain import PretrainConfig, pretrain
from codling.train.run import publish_checkpoint

Configs = Callable[..., PretrainConfig]


def test_a_checkpoint_keeps_the_chat_templates_of_its_tokenizer(
    pretrain_config: Configs, tmp_path: Path
) -> None:
    config = pretrain_config()
    chatty = tmp_path / "chatty"
    shutil.copytree(config.tokenizer_dir, chatty)
    (chatty / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (chatty / "additional_chat_templates").mkdir()
    (chatty / "additional_chat_templates" / "tool_use.jinja").write_text("t")
    draft = Draft(tmp_path / "draft", "checkpoint", "id")
    shape = ModelConfig(
        vocab_size=448, hidden_size=16, intermediate_size=16, n_layers=1, n_heads=1, max_position=64
    )
    model = Transformer(shape, torch.Generator().manual_seed(0))
    publish_checkpoint(draft, model, shape, chatty)
    kept = Tokenizer.open(draft.path).config["chat_template"]
    assert kept == {"default": "{{ messages[0].content }}", "tool_use": "t"}


def test_the_checkpoint_holds_model_tokenizer_metrics_and_counts(pretrain_config: Configs) -> None:
    checkpoint = pretrain(pretrain_config())
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "metrics.jsonl",
    } <= {entry.name for entry in checkpoint.manifest.files}
    assert checkpoint.counts["n_steps"] == 8
    assert checkpoint.counts["n_tokens"] == 8 * 4 * 64
    assert checkpoint.counts["n_skipped"] == 0
    assert checkpoint.counts["headline"].startswith("Hardly trained: 8 steps")
    assert checkpoint.counts["heldout_bits_per_byte"] > 0
    tokenizer = Tokenizer.open(checkpoint.path)
    settings = json.loads((checkpoint.path / "config.json").read_text())
    assert settings["vocab_size"] == 448  # 400 tokens, rounded up to a multiple of 64
    assert settings["max_position_embeddings"] == 64
    assert settings["bos_token_id"] == tokenizer.specials.bos


@pytest.mark.long
def test_transformers_loads_the_checkpoint_unchanged(pretrain_config: Configs) -> None:
    transformers = pytest.importorskip("transformers")
    checkpoint = pretrain(pretrain_config())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32)
    ours = load_model(checkpoint.path)
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours(ids)), theirs(ids).logits, atol=1e-4, rtol=1e-4)


def test_the_same_settings_again_are_skipped(pretrain_config: Configs) -> None:
    first = pretrain(pretrain_config())
    written = (first.path / "model.safetensors").stat().st_mtime_ns
    assert pretrain(pretrain_config(save_seconds=1.0)).id == first.id
    assert (first.path / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.long
def test_the_loss_falls(pretrain_config: Configs) -> None:
    checkpoint = pretrain(pretrain_config(max_steps=40))
    losses = [row["loss"] for row in read_json_lines(checkpoint.path / "metrics.jsonl")]
    assert sum(losses[-5:]) / 5 < losses[0] - 0.7


@pytest.mark.long
def test_a_model_with_latent_attention_and_experts_trains(pretrain_config: Configs) -> None:
    mla = MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8)
    moe = MoEConfig(
        n_routed_experts=4, n_experts_per_token=2, n_shared_experts=1, moe_intermediate_size=16
    )
    config = pretrain_config(max_steps=3)
    checkpoint = pretrain(replace(config, model=replace(config.model, moe=moe, mla=mla)))
    assert checkpoint.counts["n_skipped"] == 0
    assert checkpoint.counts["loss"] < 7


def test_a_shape_that_cannot_be_published_is_refused_before_training(
    pretrain_config: Configs,
) -> None:
    config = pretrain_config()
    with pytest.raises(CheckpointError, match=r"model\.mla"):
        pretrain(replace(config, model=replace(config.model, moe=MoEConfig())))
    assert not config.out_dir.with_name("checkpoint.partial").exists()


def test_tokens_of_another_tokenizer_are_refused(
    pretrain_config: Configs, tmp_path: Path, tokenizer_dir: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (tokenizer_dir / "tokenizer.json").read_text()
    described = json.loads(text)
    described["model"]["merges"] = described["model"]["merges"][:-1]
    last = max(described["model"]["vocab"], key=described["model"]["vocab"].get)
    del described["model"]["vocab"][last]
    described["added_tokens"] = [a | {"id": a["id"] - 1} for a in described["added_tokens"]]
    described["post_processor"] = None
    (other / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match="pack again with this tokenizer"):
        pretrain(pretrain_config(tokenizer_dir=other))


def test_missing_tokens_are_one_clear_line(pretrain_config: Configs, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        pretrain(pretrain_config(tokens_dir=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "wrong", [{"max_steps": 0}, {"max_steps": None, "minutes": 0.0}, {"batch_size": 0}]
)
def test_impossible_settings_are_refused(
    pretrain_config: Configs, wrong: dict[str, float | None]
) -> None:
    with pytest.raises(ConfigError):
        pretrain_config(**wrong)


@pytest.mark.long
def test_terminated_and_killed_the_run_ends_byte_for_byte_like_a_calm_one(
    pretrain_config: Configs, tmp_path: Path
) -> None:
    calm = pretrain(pretrain_config(max_steps=60, out_dir=tmp_path / "calm"))
    torn = pretrain_config(max_steps=60, out_dir=tmp_path / "torn", save_seconds=0.0)
    program = tmp_path / "train.py"
    program.write_text(
        "import time\n"
        "from pathlib import Path, PosixPath\n"
        "from codling.model.config import *\n"
        "from codling.train.config import *\n"
        "from codling.train import pretrain, trainer\n"
        "from codling.train.pretrain import PretrainConfig\n"
        "honest = trainer.Trainer._one_step\n"
        "trainer.Trainer._one_step = lambda *a: time.sleep(0.05) or honest(*a)\n"
        f"pretrain.pretrain({torn!r})\n"
    )
    for number, step in ((signal.SIGTERM, 5), (signal.SIGKILL, 15)):
        process = subprocess.Popen(
            [sys.executable, program], stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        with process:
            wait_for_step(process, tmp_path / "torn.partial" / "metrics.jsonl", step)
            process.send_signal(number)
            _, said = process.communicate(timeout=600)
        assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        assert ("saved; the same command resumes" in said) == (number == signal.SIGTERM)
    ended = pretrain(torn)
    assert ended.id == calm.id
    for name in ("model.safetensors", "config.json"):
        assert sha256_of(ended.path / name) == sha256_of(calm.path / name)
    steps = [row["step"] for row in read_json_lines(ended.path / "metrics.jsonl")]
    assert steps == list(range(60))


def wait_for_step(process: subprocess.Popen[str], metrics: Path, step: int) -> None:
    while process.poll() is None:
        if metrics.exists() and len(list(complete_lines(metrics))) > step:
            return
        time.sleep(0.02)
    raise AssertionError(f"no step {step} in {metrics}")


def complete_lines(path: Path) -> Iterator[str]:
    yield from (line for line in path.read_text().splitlines(keepends=True) if line[-1:] == "\n")
