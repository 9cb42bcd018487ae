"""A longer context for a checkpoint."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from codling.core.errors import ConfigError
from codling.export.export import ExportConfig, export
from codling.model.config import ModelConfig
from codling.tokens.token_files import check_tokenizer
from codling.tokens.tokenizer import Tokenizer
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


@pytest.mark.slow
def test_a_gguf_file_and_a_run_are_extended_as_their_checkpoint_is(
    pretrain_config: Callable[..., PretrainConfig], tmp_path: Path
) -> None:
    short = pretrain_config(max_steps=1, n_heldout_evals=0, out_dir=tmp_path / "run" / "checkpoint")
    made = pretrain(short)
    file = export(
        ExportConfig(model=made.path, type="f32", out_dir=tmp_path / "gguf", modelfile=False)
    )
    weights = []
    for number, source in enumerate((made.path, tmp_path / "run", file.path)):
        config = ExtendConfig(
            checkpoint_dir=source,
            tokens_dir=short.tokens_dir,
            out_dir=tmp_path / f"long-{number}",
            context=128,
            max_steps=1,
            batch_size=1,
            compile=False,
            threads=1,
            n_heldout_evals=1,
            n_needles=0,
        )
        weights.append(load_file(extend(config).path / "model.safetensors"))
    for other in weights[1:]:
        for name, tensor in weights[0].items():
            assert_close(other[name], tensor, atol=1e-2, rtol=1e-2)
    assert Tokenizer.open(tmp_path / "long-2").vocab_size == 400


def test_tokens_of_another_tokenizer_of_the_same_size_are_refused(
    tokens_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    own = Tokenizer.open(tokenizer_dir)
    check_tokenizer(tokens_dir, own, tokenizer_dir)
    other = tmp_path / "other"
    shutil.copytree(tokenizer_dir, other)
    stored = json.loads((other / "tokenizer.json").read_text())
    words = stored["model"]["vocab"]
    text = [word for word in words if not own.is_special(words[word])]
    turned = dict(zip(text, [words[word] for word in reversed(text)], strict=True))
    stored["model"]["vocab"] = words | turned
    (other / "tokenizer.json").write_text(json.dumps(stored))
    assert Tokenizer.open(other).vocab_size == own.vocab_size
    with pytest.raises(ConfigError, match="were made with another tokenizer than that of"):
        check_tokenizer(tokens_dir, Tokenizer.open(other), other)


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
