"""A model written as GGUF is the same model: weights, logits, tokens, and what is said of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize, quantize

from codling.checkpoint.adapter import save_adapter
from codling.checkpoint.gguf_file import read_gguf_metadata
from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.store import save_hf
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.artifact import open_artifact
from codling.core.errors import CheckpointError, ConfigError, TokenizerError
from codling.export.export import ExportConfig, export
from codling.model.config import ModelConfig, RopeConfig
from export.exported import LATENT, LATENT_SHAPES, LLAMA, QWEN2, SHAPES, logits_of, save

TEXT = "class Größe(Stack):\r\n\tdef pop(self):  # 漢字, it's 1234 <|EOT|>\n\n    return x_2\n"


def export_to(folder: Path, model: Path, **more: Any) -> Path:
    """The .gguf file that export makes."""
    made = export(ExportConfig(model=model, out_dir=folder, **more))
    return made.files("*.gguf")[0]


@pytest.mark.long
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("stored", ["f32", "bf16"])
def test_a_model_comes_back_with_equal_logits(tmp_path: Path, kind: str, stored: Any) -> None:
    model = save(tmp_path / "m", SHAPES[kind])
    path = export_to(tmp_path / "out", tmp_path / "m", type=stored)
    assert load_config(path) == replace(load_config(tmp_path / "m"), init_std=0.02)
    torch.testing.assert_close(logits_of(load_model(path)), logits_of(model), rtol=0, atol=0)


@pytest.mark.parametrize("kind", LATENT_SHAPES)
def test_latent_attention_and_experts_come_back_with_equal_logits(
    tmp_path: Path, kind: str
) -> None:
    model = save(tmp_path / "m", LATENT_SHAPES[kind])
    path = export_to(tmp_path / "out", tmp_path / "m", type="bf16")
    torch.testing.assert_close(logits_of(load_model(path)), logits_of(model), rtol=0, atol=0)


def test_kv_b_is_split_and_experts_are_stacked(tmp_path: Path) -> None:
    """Sizes as llama.cpp's loader demands them; the router stays in fp32."""
    save(tmp_path / "m", LATENT)
    path = export_to(tmp_path / "out", tmp_path / "m", type="q8_0")
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    assert tensors["blk.0.attn_k_b.weight"].shape.tolist() == [16, 32, 4]
    assert tensors["blk.0.attn_v_b.weight"].shape.tolist() == [32, 24, 4]
    assert tensors["blk.1.ffn_down_exps.weight"].shape.tolist() == [32, 64, 6]
    assert tensors["blk.1.ffn_gate_inp.weight"].tensor_type.name == "F32"
    metadata = read_gguf_metadata(path)
    assert metadata["general.architecture"] == "deepseek2"
    assert metadata["deepseek2.attention.head_count_kv"] == 1
    assert metadata["deepseek2.attention.key_length"] == 32 + 8
    assert metadata["deepseek2.attention.key_length_mla"] == 16 + 8
    assert metadata["deepseek2.rope.scaling.yarn_log_multiplier"] == pytest.approx(0.0707)


@pytest.mark.long
@pytest.mark.parametrize("stored", ["f16", "q8_0", "q5_1", "q4_0"])
def test_weights_are_those_of_the_quantizer_and_the_rest_is_exact(
    tmp_path: Path, stored: Any
) -> None:
    model = save(tmp_path / "m", QWEN2)
    found = load_model(export_to(tmp_path / "out", tmp_path / "m", type=stored))
    for (name, weight), back in zip(model.named_parameters(), found.parameters(), strict=True):
        wanted = weight.detach()
        if wanted.dim() == 2:
            # The tied embedding is the output matrix too, which is never coarser than q8_0.
            coarse = stored.startswith(("q4", "q5")) and name == "embed_tokens.weight"
            wanted = torch.from_numpy(quantized(wanted, "q8_0" if coarse else stored))
        torch.testing.assert_close(back.detach(), wanted, rtol=0, atol=0)


def quantized(weight: torch.Tensor, stored: str) -> np.ndarray:
    kind = gguf.GGMLQuantizationType[stored.upper()]
    return dequantize(quantize(weight.numpy(), kind), kind)


def test_a_block_of_q8_0_by_hand() -> None:
    """Scale 254 / 127 = 2: every number is half of what it was, rounded."""
    numbers = np.array([254.0, -3.0, 4.0] + [0.0] * 29, dtype=np.float32)
    stored = quantize(numbers, gguf.GGMLQuantizationType.Q8_0)
    assert stored[:2].view(np.float16)[0] == 2.0
    assert stored[2:].view(np.int8).tolist()[:4] == [127, -2, 2, 0]


def test_rows_that_are_no_whole_number_of_blocks_stay_in_f16(tmp_path: Path) -> None:
    shape = replace(LLAMA, intermediate_size=72)
    save(tmp_path / "m", shape)
    reader = gguf.GGUFReader(export_to(tmp_path / "out", tmp_path / "m", type="q4_0"))
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0"
    assert kinds["output.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"


@pytest.mark.long
def test_the_gguf_package_reads_the_same_metadata_and_shapes(tmp_path: Path) -> None:
    save(tmp_path / "m", QWEN2)
    path = export_to(tmp_path / "out", tmp_path / "m", license="Apache-2.0", name="tiny")
    reader = gguf.GGUFReader(path)
    found = {field.name: field.contents() for field in reader.fields.values()}
    assert path.name == "tiny-q8_0.gguf"
    assert {k: v for k, v in found.items() if k in read_gguf_metadata(path)} == (
        read_gguf_metadata(path)
    )
    assert found["general.architecture"] == "qwen2"
    assert found["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    assert found["general.license"] == "Apache-2.0"
    assert found["qwen2.context_length"] == 256
    assert found["qwen2.rope.scaling.original_context_length"] == 64
    shapes = {tensor.name: tensor.shape.tolist()[::-1] for tensor in reader.tensors}
    assert shapes["token_embd.weight"] == [352, 64]
    assert shapes["blk.1.attn_k.bias"] == [32]
    assert "output.weight" not in shapes


@pytest.mark.long
@pytest.mark.parametrize("splits", ["coder-v1", "qwen2"])
def test_the_tokenizer_comes_back_with_equal_ids(tmp_path: Path, splits: Any) -> None:
    save(tmp_path / "m", LLAMA, splits)
    path = export_to(tmp_path / "out", tmp_path / "m")
    ours, again = open_tokenizer(tmp_path / "m"), open_tokenizer(path)
    assert again.encode(TEXT) == ours.encode(TEXT)
    assert again.specials == ours.specials
    assert again.adds_bos == ours.adds_bos
    assert again.fim_mode == "spm"
    assert again.config["chat_template"] == ours.config["chat_template"]
    metadata = read_gguf_metadata(path)
    assert metadata["tokenizer.ggml.pre"] == {"coder-v1": "deepseek-coder"}.get(splits, splits)
    assert metadata["tokenizer.ggml.fim_pre_token_id"] == ours.specials.fim_begin
    assert metadata["tokenizer.ggml.fim_suf_token_id"] == ours.specials.fim_hole
    assert metadata["tokenizer.ggml.fim_mid_token_id"] == ours.specials.fim_end
    assert metadata["tokenizer.ggml.tokens"][-1] == "[PAD351]"
    assert metadata["tokenizer.ggml.token_type"][-1] == 5


@pytest.mark.long
def test_an_adapter_is_merged_on_the_way(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    generator = torch.Generator().manual_seed(1)
    pairs = {
        f"model.layers.{name}": (
            torch.randn(4, 64, generator=generator),
            torch.randn(64, 4, generator=generator),
        )
        for name in ("0.self_attn.q_proj", "1.self_attn.o_proj")
    }
    save_adapter(pairs, tmp_path / "a", rank=4, alpha=8, base_name="m")
    path = export_to(tmp_path / "out", tmp_path / "m", adapter=tmp_path / "a", type="f32")
    wanted = load_model(tmp_path / "m", adapter=tmp_path / "a")
    torch.testing.assert_close(logits_of(load_model(path)), logits_of(wanted), rtol=0, atol=0)
    learned_from = [Path(each.path) for each in open_artifact(tmp_path / "out").manifest.inputs]
    assert learned_from == [tmp_path / "m", tmp_path / "m" / "config.json", tmp_path / "a"]


@pytest.mark.long
def test_what_is_exported_can_be_exported_again(tmp_path: Path) -> None:
    """From GGUF to GGUF: the same weights, the licence kept; a folder stands for its one file."""
    save(tmp_path / "m", LLAMA)
    first = export_to(tmp_path / "one", tmp_path / "m", type="f16", license="MIT")
    again = export_to(tmp_path / "two", tmp_path / "one", type="f16")
    one, two = load_model(first), load_model(again)
    torch.testing.assert_close(logits_of(two), logits_of(one), rtol=0, atol=0)
    assert read_gguf_metadata(again)["general.license"] == "MIT"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (
            replace(
                LATENT,
                rope=RopeConfig(
                    scaling="yarn", factor=4.0, original_max_position=64, mscale_all_dim=0.7
                ),
            ),
            "mscale",
        ),
        (
            replace(
                LLAMA,
                rope=RopeConfig(
                    scaling="yarn", factor=4.0, original_max_position=64, beta_fast=16.0
                ),
            ),
            "beta",
        ),
        (
            replace(
                LLAMA,
                rope=RopeConfig(
                    scaling="yarn", factor=4.0, original_max_position=64, mscale_all_dim=0.7
                ),
            ),
            "mscale",
        ),
    ],
)
def test_what_gguf_cannot_say_is_refused(tmp_path: Path, shape: ModelConfig, words: str) -> None:
    save(tmp_path / "m", shape)
    with pytest.raises(CheckpointError, match=rf"{words}.*--format hf"):
        export_to(tmp_path / "out", tmp_path / "m")
    assert not (tmp_path / "out").exists()


def test_a_weight_too_large_for_f16_is_refused(tmp_path: Path) -> None:
    model = save(tmp_path / "m", LLAMA)
    with torch.no_grad():
        model.embed_tokens.weight[3, 4] = 1e5
    save_hf(model, LLAMA, tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"model\.embed_tokens\.weight.*--type bf16"):
        export_to(tmp_path / "out", tmp_path / "m", type="f16")
    assert not list(tmp_path.rglob("*.gguf*"))


@pytest.mark.parametrize("stored", ["q4_0", "bf16"])
def test_a_weight_that_is_no_number_is_refused(tmp_path: Path, stored: Any) -> None:
    model = save(tmp_path / "m", LLAMA)
    with torch.no_grad():
        model.embed_tokens.weight[3, 4] = torch.nan
    save_hf(model, LLAMA, tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"model\.embed_tokens\.weight holds NaN"):
        export_to(tmp_path / "out", tmp_path / "m", type=stored)
    assert not list(tmp_path.rglob("*.gguf*"))


def test_an_unknown_splitter_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    file = tmp_path / "m" / "tokenizer.json"
    raw = json.loads(file.read_text("utf-8"))
    raw["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Punctuation", "behavior": "Isolated"})
    file.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"splitter.*--format hf"):
        export_to(tmp_path / "out", tmp_path / "m")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "hf", "type": "q8_0"}, "--format gguf, or one of bf16, f16, f32"),
        ({"format": "hf", "modelfile": True}, "Modelfile"),
        ({"name": "a/b"}, "without a slash"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        ExportConfig(model=Path("m"), **settings)
