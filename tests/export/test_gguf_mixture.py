"""Which type each tensor gets: by hand, and as llama-quantize chooses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codling.checkpoint.load import load_model
from codling.export.export import ExportConfig, export
from codling.export.mixture import choose_type, file_type
from codling.model.config import ModelConfig, RopeConfig
from export.exported import LLAMA, QWEN3, save
from export.ggml import llama_library

WIDE = replace(
    LLAMA, hidden_size=256, intermediate_size=512, n_layers=16, rope=RopeConfig(), init_std=0.02
)
TYPES = ["q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q5_1", "q5_0", "q4_1", "q4_0", "q8_0"]


def names(module: str, stored: Any, shape: ModelConfig = WIDE, columns: int = 256) -> list[str]:
    """The type of a module in every layer."""
    return [
        choose_type(f"blk.{i}.{module}.weight", (64, columns), stored, shape).name
        for i in range(shape.n_layers)
    ]


def test_q4_k_m_gives_more_bits_to_some_values_and_downs() -> None:
    """Of 16 layers: 0 and 1, 14 and 15, and of those between every third, from 4 on."""
    better = {0, 1, 4, 7, 10, 13, 14, 15}
    wanted = ["Q6_K" if i in better else "Q4_K" for i in range(16)]
    assert names("attn_v", "q4_k_m") == wanted
    assert names("ffn_down", "q4_k_m") == wanted
    assert names("attn_q", "q4_k_m") == ["Q4_K"] * 16


def test_q4_k_s_gives_more_bits_to_the_first_layers() -> None:
    assert names("attn_v", "q4_k_s") == ["Q5_K"] * 4 + ["Q4_K"] * 12
    assert names("ffn_down", "q4_k_s") == ["Q5_K"] * 2 + ["Q4_K"] * 14


def test_values_of_eighty_layers_with_shared_heads_get_five_bits() -> None:
    found = names("attn_v", "q4_k_m", replace(WIDE, n_layers=80))
    assert set(found) == {"Q6_K", "Q5_K"}


def test_the_output_matrix_gets_six_bits_or_eight() -> None:
    tied = replace(WIDE, tie_embeddings=True)
    assert choose_type("output.weight", (352, 256), "q4_k_m", WIDE).name == "Q6_K"
    assert choose_type("token_embd.weight", (352, 256), "q4_k_m", WIDE).name == "Q4_K"
    assert choose_type("token_embd.weight", (352, 256), "q4_k_m", tied).name == "Q6_K"
    assert choose_type("output.weight", (352, 96), "q4_k_m", WIDE).name == "Q8_0"
    assert choose_type("output.weight", (352, 256), "q8_0", WIDE).name == "Q8_0"


def test_rows_of_no_whole_number_of_blocks_get_smaller_blocks() -> None:
    assert set(names("attn_q", "q4_k_m", columns=576)) == {"Q5_0"}
    assert set(names("attn_q", "q5_k_m", columns=576)) == {"Q5_1"}
    assert set(names("attn_q", "q6_k", columns=576)) == {"Q8_0"}
    assert set(names("attn_q", "q6_k", columns=72)) == {"F16"}


def test_vectors_and_gates_of_experts_stay_exact() -> None:
    assert choose_type("blk.0.attn_norm.weight", (256,), "q4_k_m", WIDE).name == "F32"
    assert choose_type("blk.1.ffn_gate_inp.weight", (8, 256), "q4_0", WIDE).name == "F32"


@pytest.mark.long
def test_a_file_of_k_quants_is_read_back(tmp_path: Path) -> None:
    """Our loader's weights are those that the gguf package reads, and near the model's."""
    shape = replace(QWEN3, hidden_size=256, intermediate_size=256, init_std=0.02)
    model = save(tmp_path / "m", shape)
    made = export(ExportConfig(model=tmp_path / "m", type="q4_k_m", out_dir=tmp_path / "out"))
    path = made.files("*.gguf")[0]
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}
    assert kinds["blk.0.ffn_down.weight"] == "Q4_K"
    assert kinds["blk.1.ffn_down.weight"] == "Q6_K"
    assert kinds["token_embd.weight"] == "Q6_K"
    for weight, back in zip(model.parameters(), load_model(path).parameters(), strict=True):
        error = (weight - back).detach().square().mean().sqrt()
        assert error < (0.1 * weight.detach().std() if weight.dim() == 2 else 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("tied", [False, True])
def test_a_file_equals_llama_quantizes(tmp_path: Path, stored: Any, tied: bool) -> None:
    """Every tensor has the type that llama.cpp gives it, and nearly every block its bytes."""
    library = llama_library()
    save(tmp_path / "m", replace(WIDE, tie_embeddings=tied))
    exact = export_to(tmp_path / "exact", tmp_path / "m", "f32")
    ours = export_to(tmp_path / "ours", tmp_path / "m", stored)
    theirs = tmp_path / "theirs.gguf"
    settings = library.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = int(file_type(stored)), 2
    assert not library.llama_model_quantize(str(exact).encode(), str(theirs).encode(), settings)
    compare(ours, theirs)


def export_to(folder: Path, model: Path, stored: Any) -> Path:
    made = export(ExportConfig(model=model, type=stored, out_dir=folder))
    return made.files("*.gguf")[0]


def compare(ours: Path, theirs: Path) -> None:
    found = {t.name: t for t in gguf.GGUFReader(theirs).tensors}
    for tensor in gguf.GGUFReader(ours).tensors:
        other = found.pop(tensor.name)
        assert tensor.tensor_type == other.tensor_type, tensor.name
        block_bytes = gguf.GGML_QUANT_SIZES[tensor.tensor_type][1]
        pairs = [
            np.asarray(t.data).view(np.uint8).reshape(-1, block_bytes) for t in (tensor, other)
        ]
        assert (pairs[0] == pairs[1]).all(axis=1).mean() >= 0.97, tensor.name
    assert not found
