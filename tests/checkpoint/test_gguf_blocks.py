"""The blocks of GGUF files as packed matrices: the numbers that gguf's own reader expands to."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize

from codling.checkpoint.gguf import interleaved_rows
from codling.checkpoint.gguf_blocks import can_pack, pack_blocks
from codling.checkpoint.gguf_file import GgufTensor, read_gguf
from codling.core.errors import CheckpointError
from codling.model.packed import kernels

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]


def tensor_of(path: Path, name: str, raw: np.ndarray) -> GgufTensor:  # type: ignore[type-arg]
    writer = gguf.GGUFWriter(path / "t.gguf", "llama")
    writer.add_tensor("x", raw, raw_dtype=gguf.GGMLQuantizationType[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_gguf(path / "t.gguf").tensors["x"]


def random_blocks(name: str, n_rows: int, n_columns: int) -> np.ndarray:  # type: ignore[type-arg]
    """Random codes; every 16-bit number is a plain one, wherever it may be read as a scale."""
    block, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    shape = (n_rows, n_columns // block, n_bytes)
    raw = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for at in {"Q6_K": (208,), "Q4_0": (0,), "Q5_0": (0,), "Q8_0": (0,)}.get(name, (0, 2)):
        raw[..., at + 1] &= 0xBB  # the exponent is not all ones
    return raw.reshape(n_rows, -1)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("is_permuted", [False, True])
def test_packed_blocks_hold_the_same_numbers(tmp_path: Path, name: str, is_permuted: bool) -> None:
    raw = random_blocks(name, 48, 512)
    tensor = tensor_of(tmp_path, name, raw)
    expected = np.array(dequantize(raw, tensor.kind)).reshape(48, 512)
    if is_permuted:
        places = interleaved_rows(48, 2)
        tensor = GgufTensor(
            "x", tensor.path, tensor.shape, tensor.kind, tensor.data, tensor.begin, places
        )
        expected = expected[np.argsort(places.numpy())]
        assert np.array_equal(tensor.numbers().numpy(), expected)
    assert can_pack(tensor)
    matrix = pack_blocks(tensor)
    entry = np.array(kernels.entry_of(matrix), dtype=np.int64)
    out = np.zeros((48, 512), dtype=np.float32)
    kernels.rows_of(entry, np.arange(48), kernels.new_scratch(matrix.n_groups), out)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert matrix.n_bytes <= 1.03 * tensor.n_bytes


def test_a_scale_that_is_no_number_is_refused(tmp_path: Path) -> None:
    raw = random_blocks("Q8_0", 16, 512)
    raw[3, 0:2] = 0xFF
    with pytest.raises(CheckpointError, match="tensor x holds NaN or infinities"):
        pack_blocks(tensor_of(tmp_path, "Q8_0", raw))


def test_numbers_of_other_types_are_not_packed_as_they_are(tmp_path: Path) -> None:
    raw = torch.ones(16, 512).numpy().view(np.uint8)
    assert not can_pack(tensor_of(tmp_path, "F32", raw))
