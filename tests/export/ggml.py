"""ggml and llama.cpp, where llama-cpp-python is installed: what they make of the same weights."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType


def llama_library() -> Any:
    """The bindings of llama.cpp; the test is skipped where there are none."""
    return pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")


def quantize_with_ggml(
    rows: np.ndarray, kind: GGMLQuantizationType, importance: np.ndarray | None = None
) -> np.ndarray:
    """What ggml_quantize_chunk makes of `rows`: bytes [n_rows, bytes of a row]."""
    folder = Path(llama_library().__file__).parent / "lib"
    quantize = ctypes.CDLL(str(next(folder.glob("libggml-base.so")))).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    block, block_bytes = GGML_QUANT_SIZES[kind]
    n_rows, n_columns = rows.shape
    out = np.zeros((n_rows, n_columns // block * block_bytes), np.uint8)
    weights = None if importance is None else importance.ctypes.data
    quantize(int(kind), rows.ctypes.data, out.ctypes.data, 0, n_rows, n_columns, weights)
    return out
