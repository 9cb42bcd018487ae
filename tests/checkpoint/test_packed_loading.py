"""Matrices of checkpoints are packed as they are stored."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from codling.checkpoint.compressed import expand_names, pack
from codling.checkpoint.load import load_model
from codling.checkpoint.pack import pack_stored
from codling.checkpoint.safetensors_file import COMPRESSED_DTYPES, read_safetensors
from codling.checkpoint.store import save_hf
from codling.engine import opening
from codling.model.config import ModelConfig
from codling.model.packed import kernels
from codling.model.packed.linear import is_packed
from codling.model.packed.matrix import PackedMatrix
from codling.model.transformer import Transformer


def rows_of(matrix: PackedMatrix) -> torch.Tensor:
    entry = np.array(kernels.entry_of(matrix), dtype=np.int64)
    out = np.zeros((matrix.n_rows, matrix.n_columns), dtype=np.float32)
    rows = np.arange(matrix.n_rows)
    kernels.rows_of(entry, rows, kernels.new_scratch(matrix.n_groups), out)
    return torch.from_numpy(out)


@pytest.mark.parametrize(("group", "form"), [(32, "q4"), (128, "q4"), (256, "q4"), (None, "bytes")])
def test_integers_with_scales_keep_their_numbers(
    tmp_path: Path, group: int | None, form: str
) -> None:
    """w4a16 with groups of 32, 128 and a whole row, and int8 with a scale per row."""
    numbers = torch.Generator().manual_seed(0)
    scale = torch.rand(24, 256 // (group or 256), generator=numbers).bfloat16()
    if group is None:
        codes = torch.randint(-127, 128, (24, 256), generator=numbers).to(torch.int8)
        tensors = {"x.weight": codes, "x.weight_scale": scale}
    else:
        codes = torch.randint(-8, 8, (24, 256), generator=numbers)
        tensors = {"x.weight_packed": pack(codes), "x.weight_scale": scale}
    save_file(tensors, tmp_path / "t.safetensors")
    stored = read_safetensors(tmp_path / "t.safetensors", COMPRESSED_DTYPES)
    (tensor,) = expand_names(stored)
    matrix = pack_stored(tensor, 8)
    assert matrix.form == form
    expected = codes.float() * scale.float().repeat_interleave(group or 256, 1)
    torch.testing.assert_close(rows_of(matrix), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("instructions", "floats"), [("avx2", "int8"), ("plain", "float32")])
def test_auto_is_int8_but_for_floats_where_products_of_bytes_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instructions: str, floats: str
) -> None:
    monkeypatch.setattr(opening, "HERE", instructions)
    cpu = torch.device("cpu")
    for kind, expected in (("Q8_0", "int8"), ("F16", floats)):
        path = tmp_path / f"{kind}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        block, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        raw = np.zeros((16, 64 // block * n_bytes), dtype=np.uint8)
        writer.add_tensor("x", raw, raw_dtype=gguf.GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        assert opening.choose_precision(path, cpu) == expected
        assert opening.choose_precision(path, torch.device("cuda")) == "bfloat16"


def test_reading_into_8_bits_tells_how_far_it_is(tmp_path: Path) -> None:
    shape = ModelConfig(
        vocab_size=96, hidden_size=64, intermediate_size=96, n_layers=2, n_heads=4, init_std=0.1
    )
    model = Transformer(shape, torch.Generator().manual_seed(0)).eval()
    save_hf(model, shape, tmp_path)
    told: list[tuple[int, int]] = []
    packed = load_model(tmp_path, bits=8, progress=lambda done, of: told.append((done, of)))
    assert is_packed(packed)
    assert told[-1][0] == told[-1][1] == 4 * model.n_parameters()
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    tokens = torch.arange(20)[None]
    with torch.inference_mode():
        exact, got = model.logits(model(tokens)), packed.logits(packed(tokens))
    assert float((got - exact).norm() / exact.norm()) < 0.03
