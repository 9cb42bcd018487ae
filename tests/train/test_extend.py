"""A longer context for a checkpoint."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.train.extend import ExtendConfig, extend, extend_positions
from codling.train.pretrain import PretrainConfig, pretrain


@pytest.mark.long
def test_a_checkpoint_learns_to_read_twice_as_far(
    pretrain_config: Callable[..., PretrainConfig], tmp_path: Path
) -> None:
    short = pretrain_config()
    before = pretrain(short)
    config = ExtendConfig(
        checkpoint_dir=before.path,
        tokens_dir=short.tokens_dir,
        out_dir=tmp_path / "long",
        context=128,
        max_steps=3,
        batch_size=2,
        compile=False,
        threads=1,
        n_heldout_evals=1,
    )
    after = extend(config)
    settings = json.loads((after.path / "config.json").read_text())
    assert settings["max_position_embeddings"] == 128
    assert settings["rope_scaling"]["rope_type"] == "linear"
    assert settings["rope_scaling"]["factor"] == 2.0
    assert after.manifest.inputs[0].id == before.id
    assert after.counts["n_tokens"] == 3 * 2 * 128
    assert (after.path / "tokenizer.json").is_file()
    table = json.loads((after.path / "long-context.json").read_text())
    assert list(table["bits_per_token"]["before"]) == ["0-64", "64-128"]
    assert list(table["needles_found"]["after"]) == ["64", "128"]
    assert after.counts["rise_at_old_length_percent"] == table["rise_at_old_length_percent"]


def shape(**settings: Any) -> ModelConfig:
    old = ModelConfig(max_position=4096)
    return extend_positions(old, ExtendConfig(**settings))


def test_deepseek_coders_way_to_16k() -> None:
    new = shape(context=16384, theta=1e5, factor=4.0)
    assert (new.rope.scaling, new.rope.factor, new.rope.theta) == ("linear", 4.0, 1e5)
    assert new.max_position == 16384


def test_yarn_remembers_the_context_before() -> None:
    new = shape(context=32768, scaling="yarn", factor=40.0)
    assert (new.rope.scaling, new.rope.original_max_position) == ("yarn", 4096)


def test_a_shorter_context_and_a_second_stretch_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose a longer context"):
        shape(context=4096)
    once = shape(context=8192)
    with pytest.raises(ConfigError, match="larger factor from the first stage"):
        extend_positions(once, ExtendConfig(context=16384))
    with pytest.raises(ConfigError, match="keeps that; leave out scaling, factor"):
        extend_positions(once, ExtendConfig(context=8192, scaling="yarn", factor=4.0))
    with pytest.raises(ConfigError, match="stretches 4096 tokens to 8192, not to 16384"):
        shape(context=16384, factor=2.0)


def test_coder_v2s_second_stage_keeps_the_positions_and_only_lengthens() -> None:
    first = shape(context=32_768, scaling="yarn", factor=40.0)
    second = extend_positions(first, ExtendConfig(context=131_072))
    assert second.rope == first.rope
    assert second.max_position == 131_072
    assert extend_positions(first, ExtendConfig(context=131_072, scaling="yarn")) == second
    published = replace(first, max_position=163_840)
    assert extend_positions(published, ExtendConfig(context=131_072)) == published
