"""`codling info`: the sentences hold the published numbers."""

from pathlib import Path

import pytest
import torch

from codling.checkpoint.info import InfoConfig, describe, info
from codling.checkpoint.store import save_hf
from codling.core.errors import CheckpointError, ConfigError
from codling.model.config import ModelConfig
from codling.model.presets import PRESETS
from codling.model.transformer import Transformer


def test_v2_lite_is_explained_with_its_published_numbers() -> None:
    text = describe("v2-lite")
    for part in (
        "15,706,484,224 (15.7B)",
        "2,451,435,008",
        "15,552 numbers",
        "latent",
        "64 routed",
    ):
        assert part.lower() in text.lower()


def test_the_saving_of_the_cache_is_given_both_ways() -> None:
    text = describe("v2")
    assert "93.3% smaller as published" in text
    assert "82.24% at equal precision" in text


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_explained(name: str) -> None:
    assert "memory to train" in describe(name)


def test_a_folder_is_explained_from_its_config(tmp_path: Path) -> None:
    config = ModelConfig(vocab_size=100, hidden_size=32, n_heads=4, n_kv_heads=2, n_layers=2)
    with torch.device("cpu"):
        save_hf(Transformer(config), config, tmp_path)
    assert "Grouped-query attention (GQA), 4 heads of 8 over 2 key/value heads" in describe(
        str(tmp_path)
    )


def test_the_verb_takes_the_context_of_the_arithmetic() -> None:
    # 64 more tokens: 2 x 24 layers x 16 heads x 2 x 128 x 64 = 12.6 MFLOP more than 2 x active.
    text = info(InfoConfig(model="coder-1.3b", context=64))
    assert "2.57 GFLOP at context 64" in text


def test_what_is_neither_model_nor_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean v2-lite"):
        describe("v2-lit")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        describe(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["/nope", "runs/nope/checkpoint", "./x.gguf", "x.gguf", "~/models/a"]
)
def test_a_place_without_a_checkpoint_is_named_as_one(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*; presets are coder-1.3b, "):
        describe(name)


def test_a_weight_file_is_told_that_its_folder_is_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=f"name the folder around it: {tmp_path}$"):
        describe(str(tmp_path / "model.safetensors"))
