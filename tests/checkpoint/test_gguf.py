"""GGUF files written with the `gguf` package, the way llama.cpp's converter writes them."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize

from codling.checkpoint import load
from codling.checkpoint.gguf_file import read_gguf, read_gguf_metadata
from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.store import save_hf
from codling.core.errors import CheckpointError
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig
from codling.model.transformer import Transformer

LLAMA = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=64,
    init_std=0.2,
    rope=RopeConfig(theta=1e5, scaling="linear", factor=4.0),
)
QWEN2 = replace(LLAMA, attention_bias=True, tie_embeddings=True, rope=RopeConfig(theta=1e6))
QWEN3 = replace(LLAMA, qk_norm=True, tie_embeddings=True)
LATENT = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=4,
    max_position=64,
    init_std=0.2,
    rope=RopeConfig(
        scaling="yarn", factor=4.0, original_max_position=16, mscale=0.707, mscale_all_dim=0.707
    ),
    mla=MLAConfig(kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12),
    moe=MoEConfig(
        n_routed_experts=4,
        n_shared_experts=1,
        n_experts_per_token=2,
        moe_intermediate_size=32,
        routed_scaling_factor=2.0,
    ),
)
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
TOP_NAMES = {
    "embed_tokens.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
TOKENS = torch.arange(40).reshape(1, 40) % 64


def make(config: ModelConfig) -> Transformer:
    model = Transformer(config, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
    return model


def convert(model: Transformer, *, split_kv_b: bool) -> dict[str, np.ndarray]:
    """The tensors as llama.cpp's converter names, permutes, splits and stacks them."""
    config = model.config
    found: dict[str, Any] = {}
    parameter: Any
    for name, parameter in model.named_parameters():
        if name in TOP_NAMES:
            found[TOP_NAMES[name]] = parameter
            continue
        _, layer, rest = name.split(".", 2)
        if rest == "mlp.experts.down_proj":
            found[f"blk.{layer}.ffn_down_exps.weight"] = parameter
        elif rest == "mlp.experts.gate_up_proj":
            gate, up = parameter.chunk(2, dim=1)
            found[f"blk.{layer}.ffn_gate_exps.weight"] = gate
            found[f"blk.{layer}.ffn_up_exps.weight"] = up
        elif rest == "self_attn.kv_b_proj.weight" and split_kv_b:
            rows = parameter.view(config.n_heads, -1, config.mla.kv_lora_rank)
            k_b, v_b = rows.split([config.mla.qk_nope_head_dim, config.mla.v_head_dim], dim=1)
            found[f"blk.{layer}.attn_k_b.weight"] = k_b.transpose(1, 2)
            found[f"blk.{layer}.attn_v_b.weight"] = v_b
        else:
            kind, ending = rest.rsplit(".", 1)
            if config.mla is None and not (config.attention_bias or config.qk_norm):
                heads = {"self_attn.q_proj": config.n_heads, "self_attn.k_proj": config.kv_heads}
                if kind in heads:
                    halves = parameter.view(heads[kind], 2, -1, config.hidden_size)
                    parameter = halves.transpose(1, 2).reshape(parameter.shape)
            found[f"blk.{layer}.{LAYER_NAMES[kind]}.{ending}"] = parameter
    return {n: p.detach().contiguous().numpy() for n, p in found.items()}


def write(
    path: Path,
    model: Transformer,
    quantised: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    *,
    split_kv_b: bool = True,
) -> dict[str, np.ndarray]:
    """Write a file; returns the tensors as they read back after quantisation."""
    config = model.config
    dense = "qwen3" if config.qk_norm else "qwen2" if config.attention_bias else "llama"
    kind = "deepseek2" if config.mla else dense
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(config.n_layers)
    writer.add_context_length(config.max_position)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(1 if config.mla and split_kv_b else config.kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_token_list(["a", "b"])
    if config.rope.scaling == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope.factor)
    if config.mla is not None:
        add_latent(writer, config, split_kv_b)
    back = {}
    for name, tensor in convert(model, split_kv_b=split_kv_b).items():
        exact = tensor.ndim == 1 or "ffn_gate_inp" in name
        used = gguf.GGMLQuantizationType.F32 if exact else quantised
        data = gguf.quants.quantize(tensor, used)
        writer.add_tensor(name, data, raw_dtype=used)
        back[name] = dequantize(data, used).reshape(tensor.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return back


def add_latent(writer: gguf.GGUFWriter, config: ModelConfig, split_kv_b: bool) -> None:
    mla, moe, rope = config.mla, config.moe, config.rope
    writer.add_kv_lora_rank(mla.kv_lora_rank)
    if mla.q_lora_rank:
        writer.add_q_lora_rank(mla.q_lora_rank)
    writer.add_rope_dimension_count(mla.qk_rope_head_dim)
    if split_kv_b:
        writer.add_key_length(mla.kv_lora_rank + mla.qk_rope_head_dim)
        writer.add_value_length(mla.kv_lora_rank)
        writer.add_key_length_mla(mla.qk_head_dim)
        writer.add_value_length_mla(mla.v_head_dim)
    else:
        writer.add_key_length(mla.qk_head_dim)
        writer.add_value_length(mla.v_head_dim)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope.factor)
    writer.add_rope_scaling_orig_ctx_len(rope.original_max_position)
    writer.add_rope_scaling_yarn_log_mul(0.1 * rope.mscale_all_dim)
    writer.add_leading_dense_block_count(moe.first_k_dense_replace)
    writer.add_expert_count(moe.n_routed_experts)
    writer.add_expert_used_count(moe.n_experts_per_token)
    writer.add_expert_shared_count(moe.n_shared_experts)
    writer.add_expert_feed_forward_length(moe.moe_intermediate_size)
    writer.add_expert_weights_scale(moe.routed_scaling_factor)


@torch.no_grad()
def logits(model: Transformer) -> torch.Tensor:
    return model.logits(model(TOKENS))


@pytest.mark.parametrize(
    "config",
    [LLAMA, QWEN2, QWEN3, LATENT, replace(LATENT, mla=replace(LATENT.mla, q_lora_rank=32))],
    ids=["llama", "qwen2", "qwen3", "deepseek2", "deepseek2-q-lora"],
)
def test_a_converted_model_gives_the_same_logits(tmp_path: Path, config: ModelConfig) -> None:
    model = make(config)
    write(tmp_path / "model.gguf", model)
    loaded = load_model(tmp_path / "model.gguf")
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=1e-6)
    assert replace(loaded.config, init_std=0.2, head_dim=config.head_dim) == replace(
        config, n_kv_heads=loaded.config.n_kv_heads
    )


def test_a_file_with_kv_b_in_one_piece_loads_too(tmp_path: Path) -> None:
    model = make(LATENT)
    write(tmp_path / "model.gguf", model, split_kv_b=False)
    torch.testing.assert_close(logits(load_model(tmp_path / "model.gguf")), logits(model))


@pytest.mark.parametrize("name", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantised_weights_are_expanded_into_their_places(tmp_path: Path, name: str) -> None:
    model = make(LLAMA)
    stored = write(tmp_path / "model.gguf", model, gguf.GGMLQuantizationType[name])
    loaded: Any = load_model(tmp_path / "model.gguf")
    expected = torch.from_numpy(stored["token_embd.weight"])
    assert torch.equal(loaded.embed_tokens.weight, expected)
    assert torch.equal(
        loaded.layers[1].mlp.down_proj.weight, torch.from_numpy(stored["blk.1.ffn_down.weight"])
    )
    # q is permuted in the file: row 1 of head 0 there is row 4 of ours (head width 8).
    q_stored = torch.from_numpy(stored["blk.0.attn_q.weight"])
    assert torch.equal(loaded.layers[0].self_attn.q_proj.weight[4], q_stored[1])


BLOCK_TYPES = [
    t.name
    for t in gguf.GGMLQuantizationType
    if t in gguf.quants._type_traits or t.name in ("F32", "F16")
]


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_every_type_that_gguf_expands_is_read(tmp_path: Path, name: str) -> None:
    """Random bits are a valid tensor of any type; 512 columns are a multiple of every block."""
    kind = gguf.GGMLQuantizationType[name]
    block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    raw = np.random.default_rng(0).integers(0, 60, (3, 512 // block * n_bytes), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "t.gguf", "llama")
    writer.add_tensor("x", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = read_gguf(tmp_path / "t.gguf").tensors["x"]
    assert tensor.shape == (3, 512)
    expected = torch.from_numpy(np.array(dequantize(raw, kind)).reshape(3, 512))
    torch.testing.assert_close(tensor.numbers(), expected, rtol=0, atol=0, equal_nan=True)


def test_metadata_is_read_without_the_weights(tmp_path: Path) -> None:
    write(tmp_path / "model.gguf", make(QWEN2))
    metadata = read_gguf_metadata(tmp_path / "model.gguf")
    assert metadata["general.architecture"] == "qwen2"
    assert metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    assert load_config(tmp_path / "model.gguf").tie_embeddings


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def cut_metadata(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_version(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<I", 9) + data[8:])


def rename_tensor(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))


def rename_architecture(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"llama", b"lxama"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, "ends after the end of the file"),
        (cut_metadata, "cut short or damaged"),
        (other_version, "GGUF version 9"),
        (rename_tensor, "tensor blk.1.ffn_xx.weight does not belong"),
        (rename_architecture, "architecture lxama is not supported"),
        (lambda p: p.write_bytes(b"PK\3\4 a zip file"), "is not a GGUF file"),
    ],
)
def test_a_harmed_file_is_refused_in_one_line(tmp_path: Path, harm, message: str) -> None:
    path = tmp_path / "model.gguf"
    write(path, make(LLAMA))
    harm(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_held_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "t.gguf"
    for size in (32, 64):
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tensor("x", np.zeros((2, size), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        held = read_gguf(path)
        assert read_gguf(path) is held
        assert held.tensors["x"].shape == (2, size)


def test_reading_a_large_model_is_shown_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, float, float]] = []
    save_hf(Transformer(LLAMA, torch.Generator().manual_seed(0)), LLAMA, tmp_path)

    class Seen(load.Bar):
        def advance(self, n: float, note: str = "") -> None:
            super().advance(n, note)
            shown.append((self.label, self.done, self.total))

    monkeypatch.setattr(load, "Bar", Seen)
    load_model(tmp_path)
    assert shown == []  # too small to be worth a line
    monkeypatch.setattr(load, "_SHOWN_FROM", 1)
    load_model(tmp_path)
    label, done, total = shown[-1]
    assert label == f"load {tmp_path.name} (MB)"
    n_numbers = sum(p.numel() for p in load_model(tmp_path).parameters())
    assert done == pytest.approx(total) == pytest.approx(n_numbers * 4 / 1e6)
