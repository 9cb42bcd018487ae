"""What matters is measured on the user's code, kept in llama.cpp's files, and used in rounding."""

import ctypes
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize

from codling.checkpoint.stream import stream_tensors
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import CheckpointError, ConfigError
from codling.export.calibrate import LayerWalk, cut_windows, measure_importance, read_code
from codling.export.export import ExportConfig, export
from codling.export.imatrix import Importance, read_imatrix, write_imatrix
from codling.export.mixture import file_type
from export.exported import LATENT, LLAMA, SHAPES, save
from export.ggml import llama_library
from export.test_gguf_mixture import WIDE, compare
from tiny_model import CODE


def test_both_forms_of_the_file_say_the_same(tmp_path: Path) -> None:
    """Sums 8 and 2 of 4 tokens: mean squares 2 and 0.5."""
    sums = np.array([[8.0, 2.0]], np.float32)
    write_imatrix(
        tmp_path / "new", {"blk.0.attn_q.weight": Importance(sums, np.array([4], np.float32))}, 1, 4
    )
    name = b"blk.0.attn_q.weight"
    legacy = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii2f", 4, 2, 8.0, 2.0)
    (tmp_path / "old").write_bytes(legacy + struct.pack("<ii", 1, 0))
    for form in ("new", "old"):
        found = read_imatrix(tmp_path / form)["blk.0.attn_q.weight"]
        assert found.of_matrix(0).tolist() == [2.0, 0.5]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"abc",
        struct.pack("<i", 10**9),
        struct.pack("<ii", 2, 3) + b"abc" + struct.pack("<iif", 1, 1, 1.0),
        struct.pack("<ii", 1, 3) + b"abc" + struct.pack("<iif", 1, 1, float("nan")),
        struct.pack("<ii", 1, 3) + b"abc" + struct.pack("<ii", 1, -5),
    ],
    ids=["empty", "short", "count", "cut", "nan", "negative"],
)
def test_what_is_no_importance_matrix_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "bad").write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"bad.*make it again"):
        read_imatrix(tmp_path / "bad")


@pytest.mark.parametrize("shape", [SHAPES["llama"], SHAPES["qwen3"], LATENT])
def test_layer_by_layer_sees_what_the_whole_model_sees(tmp_path: Path, shape: Any) -> None:
    model = save(tmp_path / "m", shape)
    windows_WL = torch.arange(120).view(6, 20) * 2
    seen: dict[str, torch.Tensor] = {}

    def look(name: str) -> Any:
        def hook(_module: object, inputs: Any) -> None:
            seen[name] = inputs[0].reshape(-1, inputs[0].shape[-1]).square().sum(0)

        return hook

    for name in ("self_attn.o_proj", "mlp.down_proj"):
        module = model.layers[0].get_submodule(name)
        module.register_forward_pre_hook(look(name))
    with torch.no_grad():
        model(windows_WL)
    _, tensors = stream_tensors(tmp_path / "m")
    found = measure_importance(LayerWalk(shape, tensors, windows_WL))
    for ours, name in (("attn_output", "self_attn.o_proj"), ("ffn_down", "mlp.down_proj")):
        importance = found[f"blk.0.{ours}.weight"]
        np.testing.assert_allclose(importance.sums[0], seen[name], rtol=1e-4)
        assert importance.counts.tolist() == [120]
    assert not any("kv_b" in name for name in found)


def test_calibrating_rounds_better_where_it_matters(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text(CODE)
    plain = export_to(tmp_path / "plain", tmp_path / "m", "q4_0")
    better = export_to(
        tmp_path / "better", tmp_path / "m", "q4_0",
        calibrate=tmp_path / "code", calibration_length=32,
    )  # fmt: skip
    kept = better.parent / "imatrix.dat"
    importance = read_imatrix(kept)["blk.1.ffn_up.weight"].of_matrix(0)
    exact = dict(tensors_of(export_to(tmp_path / "exact", tmp_path / "m", "f32")))
    errors = [
        np.sum(
            importance
            * np.square(
                dict(tensors_of(path))["blk.1.ffn_up.weight"] - exact["blk.1.ffn_up.weight"]
            )
        )
        for path in (better, plain)
    ]
    assert errors[0] < 0.95 * errors[1]
    again = export_to(tmp_path / "again", tmp_path / "m", "q4_0", imatrix=kept)
    assert again.read_bytes() == better.read_bytes()


def export_to(folder: Path, model: Path, stored: Any, **more: Any) -> Path:
    made = export(ExportConfig(model=model, type=stored, out_dir=folder, **more))
    return made.files("*.gguf")[0]


def tensors_of(path: Path) -> list[tuple[str, np.ndarray]]:
    return [(t.name, dequantize(t.data, t.tensor_type)) for t in gguf.GGUFReader(path).tensors]


def test_an_importance_matrix_of_another_model_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    sums = np.ones((1, 7), np.float32)
    write_imatrix(
        tmp_path / "i", {"blk.0.attn_q.weight": Importance(sums, np.array([4], np.float32))}, 1, 4
    )
    with pytest.raises(CheckpointError, match=r"another model.*7 columns.*64"):
        export_to(tmp_path / "out", tmp_path / "m", "q4_0", imatrix=tmp_path / "i")
    assert not list(tmp_path.rglob("*.gguf*"))


def test_code_that_cannot_be_calibrated_on_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no source files"):
        read_code(tmp_path / "empty")
    with pytest.raises(ConfigError, match="fewer than one window"):
        cut_windows(["x = 1\n"], open_tokenizer(tmp_path / "m"), 4, 100)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"imatrix": Path("i"), "calibrate": Path("c"), "type": "q4_0"}, "not both"),
        ({"imatrix": Path("i")}, "q8_0 does not ask"),
        ({"calibrate": Path("c"), "format": "hf"}, "--format gguf"),
    ],
)
def test_calibrations_that_change_nothing_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ExportConfig(model=Path("m"), **settings)


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["q4_k_m", "q5_k_m", "q6_k", "q4_0", "q5_1"])
def test_a_weighed_file_equals_llama_quantizes(tmp_path: Path, stored: Any) -> None:
    library = llama_library()
    save(tmp_path / "m", replace(WIDE, n_layers=8))
    (tmp_path / "a.py").write_text(CODE)
    settings = {"calibrate": tmp_path / "a.py", "calibration_length": 32}
    exact = export_to(tmp_path / "exact", tmp_path / "m", "f32")
    ours = export_to(tmp_path / "ours", tmp_path / "m", stored, **settings)
    rows = {n: i.of_matrix(0) for n, i in read_imatrix(ours.parent / "imatrix.dat").items()}
    entries = (library.llama_model_imatrix_data * (len(rows) + 1))()
    for entry, (name, row) in zip(entries, rows.items(), strict=False):
        entry.name, entry.size = name.encode(), len(row)
        entry.data = row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    asked = library.llama_model_quantize_default_params()
    asked.ftype, asked.nthread, asked.imatrix = int(file_type(stored)), 2, entries
    theirs = tmp_path / "theirs.gguf"
    assert not library.llama_model_quantize(str(exact).encode(), str(theirs).encode(), asked)
    compare(ours, theirs)
