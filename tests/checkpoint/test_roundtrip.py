"""Saving and loading checkpoints, with transformers as the judge of the format."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.store import TokenIds, save_hf
from codling.core.errors import CheckpointError
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig
from codling.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=64,
    init_std=0.2,
    rope=RopeConfig(theta=1e5, scaling="linear", factor=4.0),
)
LATENT = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    max_position=64,
    init_std=0.2,
    rope=RopeConfig(scaling="yarn", factor=4.0, original_max_position=16, mscale_all_dim=0.707),
    mla=MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12),
    moe=MoEConfig(
        n_routed_experts=8, n_shared_experts=2, n_experts_per_token=3, moe_intermediate_size=16
    ),
)
TOKENS = torch.arange(40).reshape(1, 40) % 64


def make(config: ModelConfig = CONFIG) -> Transformer:
    return Transformer(config, torch.Generator().manual_seed(0)).eval()


@torch.no_grad()
def logits(model: Transformer) -> torch.Tensor:
    return model.logits(model(TOKENS))


@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000], ids=["single", "sharded"])
def test_a_saved_model_loads_equal(tmp_path: Path, max_shard_bytes: int) -> None:
    model = make()
    save_hf(model, CONFIG, tmp_path, max_shard_bytes=max_shard_bytes)
    assert load_config(tmp_path) == replace(CONFIG, head_dim=8)
    assert len(list(tmp_path.glob("*.safetensors"))) == (1 if max_shard_bytes > 20_000 else 5)
    torch.testing.assert_close(logits(load_model(tmp_path)), logits(model), rtol=0, atol=0)


@pytest.mark.long
@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000], ids=["single", "sharded"])
@pytest.mark.parametrize("bias", [False, True], ids=["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_transformers_loads_what_we_save(
    tmp_path: Path, max_shard_bytes: int, bias: bool, tied: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    model = make(replace(CONFIG, attention_bias=bias, tie_embeddings=tied))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
    save_hf(model, model.config, tmp_path / "a", max_shard_bytes=max_shard_bytes)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, logits(model), rtol=0, atol=1e-4)
    theirs.save_pretrained(tmp_path / "b")
    ours = tensors(tmp_path / "a")
    again = tensors(tmp_path / "b")
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    assert load_config(tmp_path / "b") == load_config(tmp_path / "a")


@pytest.mark.long
@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000], ids=["single", "sharded"])
def test_experts_go_through_transformers_and_back_unchanged(
    tmp_path: Path, max_shard_bytes: int
) -> None:
    transformers = pytest.importorskip("transformers")
    model = make(LATENT)
    save_hf(model, LATENT, tmp_path / "a", max_shard_bytes=max_shard_bytes)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    theirs.save_pretrained(tmp_path / "b", max_shard_size="20KB")
    ours, again = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert "model.layers.1.mlp.experts.7.down_proj.weight" in ours
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    torch.testing.assert_close(logits(load_model(tmp_path / "b")), logits(model), rtol=0, atol=0)
    assert load_config(tmp_path / "b") == LATENT


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


def test_types_are_converted_both_ways(tmp_path: Path) -> None:
    model = make()
    save_hf(model, CONFIG, tmp_path, dtype=torch.bfloat16)
    as_stored = load_model(tmp_path, dtype=None)
    assert as_stored.embed_tokens.weight.dtype == torch.bfloat16
    widened = load_model(tmp_path)
    assert widened.norm.weight.dtype == torch.float32
    expected = model.embed_tokens.weight.bfloat16().float()
    assert torch.equal(widened.embed_tokens.weight, expected)


def test_training_a_loaded_model_leaves_its_file_alone(tmp_path: Path) -> None:
    save_hf(make(), CONFIG, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = load_model(tmp_path)
    with torch.no_grad():
        model.norm.weight.mul_(2)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert model.norm.weight[0] == 2


def test_special_tokens_are_named_in_both_configs(tmp_path: Path) -> None:
    save_hf(make(), CONFIG, tmp_path, ids=TokenIds(bos=1, eos=(2, 3), pad=2))
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((tmp_path / name).read_text())
        assert (settings["bos_token_id"], settings["eos_token_id"]) == (1, [2, 3])


def test_a_smaller_save_removes_the_shards_of_a_larger_one(tmp_path: Path) -> None:
    save_hf(make(), CONFIG, tmp_path, max_shard_bytes=20_000)
    save_hf(make(), CONFIG, tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]


def edit(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    loaded = {name: t.clone() for name, t in load_file(path).items()}
    change(loaded)
    save_file(loaded, path)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4000])


def to_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def set_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: edit(f, lambda t: t.pop("model.norm.weight")), "model.norm.weight missing"),
        (
            lambda f: edit(f, lambda t: t.update({"model.extra": torch.zeros(2)})),
            "tensor model.extra does not belong",
        ),
        (
            lambda f: edit(f, lambda t: t.update({"lm_head.weight": torch.zeros(64, 31)})),
            r"lm_head.weight has shape \[64, 31\], but the config asks for \[64, 32\]",
        ),
        (
            lambda f: edit(f, lambda t: t.update({"model.norm.weight": torch.zeros(32).int()})),
            "tensor model.norm.weight has type I32",
        ),
        (cut, "does not fit into the file"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "is empty"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "not a safetensors file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 8) + b"notjson!"),
            "header is not valid JSON",
        ),
        (to_pickle, "pickle"),
        (lambda f: (f / "model.safetensors").unlink(), "has neither"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: set_config(f, model_type="gpt2"), "model_type 'gpt2' is not supported"),
        (lambda f: set_config(f, hidden_act="gelu"), "hidden_act 'gelu' is not supported"),
        (lambda f: set_config(f, hidden_size="big"), "hidden_size is 'big'"),
        (lambda f: set_config(f, rope_scaling={"type": "dynamic"}), "rope type 'dynamic'"),
        (lambda f: set_config(f, rope_scaling={"type": "linear"}), "rope_scaling: factor is None"),
        (lambda f: set_config(f, num_key_value_heads=3), "config.json: .*n_kv_heads 3"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_it(tmp_path: Path, harm, message: str) -> None:
    save_hf(make(), CONFIG, tmp_path)
    harm(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_index_may_not_point_outside_its_folder(tmp_path: Path) -> None:
    save_hf(make(), CONFIG, tmp_path, max_shard_bytes=20_000)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../other.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside its folder"):
        load_model(tmp_path)
