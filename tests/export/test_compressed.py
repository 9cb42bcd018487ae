"""Folders with quantised weights: what lies in them, and that our loader reads it back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codling.checkpoint.compressed import pack, unpack
from codling.checkpoint.load import load_model
from codling.checkpoint.store import save_hf
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import CheckpointError, ConfigError
from codling.export.export import ExportConfig, export
from codling.export.gptq import _search_scales, quantize_gptq
from codling.export.rounding import round_matrix
from export.exported import LATENT, LLAMA, SHAPES, logits_of, save
from tiny_model import CODE

FORMATS = ["w4a16", "w8a8", "fp8", "fp8-block"]
WIDE = replace(LLAMA, hidden_size=192, intermediate_size=256, init_std=0.05)


def export_to(folder: Path, model: Path, format_name: Any, **more: Any) -> Path:
    return export(ExportConfig(model=model, format=format_name, out_dir=folder, **more)).path


def test_eight_codes_lie_in_a_word_the_first_lowest() -> None:
    """-8 is 0 and 7 is 15: 0xf8 is 0 at the bottom (8), then 7 (15)."""
    words = pack(torch.tensor([[0, 7, -8, -8, -8, -8, -8, -8]]))
    assert words.tolist() == [[0xF8]]
    assert unpack(words).tolist() == [[0, 7, -8, -8, -8, -8, -8, -8]]


def test_rounding_by_hand() -> None:
    """Peak 15 over 7.5 steps: scale 2, and half a step goes to the even code."""
    codes, scale = round_matrix(torch.tensor([[15.0, -15.0, 3.0, 1.0]]), "w4a16", 4)
    assert (codes.tolist(), scale.tolist()) == ([[7, -8, 2, 0]], [[2.0]])
    codes, scale = round_matrix(torch.tensor([[254.0, -2.0]]), "w8a8", 0)
    assert (codes.tolist(), scale.tolist()) == ([[127, -1]], [[2.0]])
    codes, scale = round_matrix(torch.tensor([[896.0, -2.0]]), "fp8", 0)
    assert (codes.float().tolist(), scale.tolist()) == ([[448.0, -1.0]], [[2.0]])


def test_a_block_of_fp8_has_a_scale_of_its_own() -> None:
    weight = torch.ones(130, 130)
    weight[129, 129] = 448.0
    codes, scale = round_matrix(weight, "fp8-block", 0)
    assert scale.shape == (2, 2)
    assert scale[1, 1] == 1.0
    assert codes[0, 0].float() == 448.0
    assert codes[129, 128].float() == 1.0


@pytest.mark.parametrize("kind", [*SHAPES, "latent"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_our_loader_reads_what_was_rounded(tmp_path: Path, kind: str, format_name: Any) -> None:
    shape = {**SHAPES, "latent": LATENT}[kind]
    save(tmp_path / "m", shape)
    exact = dict(load_model(tmp_path / "m").named_parameters())
    path = export_to(tmp_path / "out", tmp_path / "m", format_name)
    loaded = load_model(path)
    steps = {"w4a16": 1 / 14, "w8a8": 1 / 250, "fp8": 1 / 15, "fp8-block": 1 / 15}[format_name]
    for name, back in loaded.named_parameters():
        wanted = exact[name].detach()
        miss = (back.detach() - wanted).abs().max()
        assert miss <= steps * wanted.abs().max() + 1e-3, name
    assert logits_of(loaded).isfinite().all()


def test_names_types_and_config_are_compressed_tensors(tmp_path: Path) -> None:
    save(tmp_path / "m", WIDE)
    path = export_to(tmp_path / "out", tmp_path / "m", "w4a16")
    tensors = load_file(path / "model.safetensors")
    base = "model.layers.0.mlp.down_proj.weight"
    assert tensors[base + "_packed"].shape == (192, 256 // 8)
    assert tensors[base + "_packed"].dtype == torch.int32
    # 128 does not divide rows of 192: the widest group that divides all is 64.
    assert tensors[base + "_scale"].shape == (192, 256 // 64)
    assert tensors[base + "_scale"].dtype == torch.bfloat16
    assert tensors[base + "_shape"].tolist() == [192, 256]
    assert tensors["lm_head.weight"].dtype == torch.bfloat16
    found = json.loads((path / "config.json").read_text())["quantization_config"]
    assert found["format"] == "pack-quantized"
    assert found["ignore"] == ["lm_head"]
    weights = found["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["group_size"], weights["strategy"]) == (4, 64, "group")
    assert found["config_groups"]["group_0"]["input_activations"] is None


def test_latent_attention_and_gates_of_experts_are_left_and_listed(tmp_path: Path) -> None:
    save(tmp_path / "m", LATENT)
    path = export_to(tmp_path / "out", tmp_path / "m", "w8a8")
    tensors = load_file(path / "model.safetensors")
    ignored = json.loads((path / "config.json").read_text())["quantization_config"]["ignore"]
    for name in ("model.layers.1.self_attn.kv_b_proj", "model.layers.1.mlp.gate"):
        assert tensors[name + ".weight"].dtype == torch.bfloat16
        assert name in ignored
    assert tensors["model.layers.1.mlp.experts.0.up_proj.weight"].dtype == torch.int8


def test_gptq_makes_up_for_what_rounding_loses() -> None:
    """Errors of outputs on inputs whose columns depend on each other."""
    generator = torch.Generator().manual_seed(0)
    weight_OI = torch.randn(48, 256, generator=generator)
    mixing_II = torch.randn(32, 256, generator=generator)
    x_TI = torch.randn(2000, 32, generator=generator) @ mixing_II
    x_TI += 0.1 * torch.randn(2000, 256, generator=generator)
    codes, scale = quantize_gptq(weight_OI, 2 * x_TI.T @ x_TI, 128)
    plain, plain_scale = round_matrix(weight_OI, "w4a16", 128)
    errors = [
        ((c.float() * s.float().repeat_interleave(128, 1) - weight_OI) @ x_TI.T).square().mean()
        for c, s in ((codes, scale), (plain, plain_scale))
    ]
    assert errors[0] < 0.25 * errors[1]


def test_gptq_without_correlations_is_rounding_to_the_better_scale() -> None:
    """H = identity: no column can make up for another, so every code is the nearest, and each scale
    is then the one of least squares."""
    weight_OI = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    codes, scale = quantize_gptq(weight_OI, torch.eye(64), 32)
    searched_OG = _search_scales(weight_OI, torch.ones(64), 32)
    wanted = (weight_OI / searched_OG.repeat_interleave(32, 1)).round().clamp(-8, 7)
    assert torch.equal(codes.float(), wanted)
    of_groups = (8, 2, 32)
    fitted = (wanted * weight_OI).view(of_groups).sum(-1) / wanted.square().view(of_groups).sum(-1)
    torch.testing.assert_close(scale.float(), fitted, rtol=2**-7, atol=0)


def test_a_column_that_is_never_used_becomes_zero() -> None:
    hessian = torch.eye(32)
    hessian[3, 3] = 0
    codes, _ = quantize_gptq(torch.ones(4, 32), hessian, 32)
    assert codes[:, 3].eq(0).all()
    assert codes[:, 4].ne(0).all()


@pytest.mark.long
def test_calibrated_weights_come_nearer_on_the_code_itself(tmp_path: Path) -> None:
    model = save(tmp_path / "m", replace(WIDE, n_layers=1, hidden_size=64))
    (tmp_path / "a.py").write_text(CODE * 8)
    plain = export_to(tmp_path / "plain", tmp_path / "m", "w4a16")
    settings = {"calibrate": tmp_path / "a.py", "calibration_length": 64}
    better = export_to(tmp_path / "gptq", tmp_path / "m", "w4a16", **settings)
    ids = torch.tensor([open_tokenizer(plain).encode(CODE * 8)[:64]])
    with torch.no_grad():
        wanted = model(ids)
        misses = [(load_model(path)(ids) - wanted).square().mean() for path in (better, plain)]
    assert misses[0] < 0.7 * misses[1]
    assert [path.name for path in better.rglob("*gptq*")] == []


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    model = save(tmp_path / "m", LLAMA)
    with torch.no_grad():
        dict(model.named_parameters())["layers.0.mlp.up_proj.weight"][3, 4] = torch.nan
    save_hf(model, LLAMA, tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"up_proj\.weight holds NaN"):
        export_to(tmp_path / "out", tmp_path / "m", "w4a16")
    assert not (tmp_path / "out").exists()


def damage(path: Path, change: Any) -> None:
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors")


BASE = "model.layers.0.mlp.down_proj.weight"


def cut_scale(tensors: Any) -> None:
    tensors[BASE + "_scale"] = tensors[BASE + "_scale"][:, :-1].contiguous()


def add_zero_point(tensors: Any) -> None:
    tensors[BASE + "_zero_point"] = torch.zeros(3, dtype=torch.int32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(BASE + "_scale"), "no matrix of scales|belongs to no weight"),
        (lambda t: t.pop(BASE + "_packed"), "belongs to no weight"),
        (cut_scale, "does not fit"),
        (lambda t: t[BASE + "_scale"].fill_(torch.nan), "NaN"),
        (add_zero_point, "zero points"),
    ],
    ids=["no-scale", "no-weight", "short-scale", "nan", "zero-point"],
)
def test_damaged_parts_are_named(tmp_path: Path, change: Any, words: str) -> None:
    save(tmp_path / "m", WIDE)
    path = export_to(tmp_path / "out", tmp_path / "m", "w4a16")
    damage(path, change)
    with pytest.raises(CheckpointError, match=words):
        load_model(path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "w8a8", "type": "bf16"}, "leave --type out"),
        ({"format": "fp8", "calibrate": Path("c")}, "fp8 does not ask"),
        ({"format": "w4a16", "imatrix": Path("i")}, "w4a16 does not ask"),
        ({"format": "w4a16", "modelfile": True}, "Modelfile"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ExportConfig(model=Path("m"), **settings)
