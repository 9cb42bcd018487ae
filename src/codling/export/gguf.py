"""A dense model as one GGUF file, as llama.cpp's own converter writes it.

Input: a shape, tensors that are read one by one, and the folder of a tokenizer. Output: the file.
Architectures llama, qwen2 and qwen3: the rows of llama's q and k are permuted within each head.
Vectors stay in fp32. Types of four and five bits keep the output matrix, or the embedding that
takes its place, in q8_0, and rows that are no whole number of blocks stay in f16.

Quantisation is that of the `gguf` package, equal to llama.cpp's reference bit for bit.

Not here: latent attention and experts (refused), K-quants, the file format (gguf_writer.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from gguf.quants import quantize
from torch import Tensor

from codling.checkpoint.gguf import gguf_name, interleaved_rows
from codling.checkpoint.gguf_writer import TensorToWrite, write_gguf
from codling.checkpoint.settings import model_type
from codling.checkpoint.store import PublishedTensor
from codling.core.errors import CheckpointError
from codling.core.log import Bar
from codling.export.origin import ModelOrigin
from codling.model.config import ModelConfig, RopeConfig
from codling.tokens.to_gguf import tokenizer_metadata
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.validation import read_tokenizer_json

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
_FILE_TYPES: Mapping[GgufType, LlamaFileType] = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q5_1": LlamaFileType.MOSTLY_Q5_1,
    "q5_0": LlamaFileType.MOSTLY_Q5_0,
    "q4_1": LlamaFileType.MOSTLY_Q4_1,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
}
_COARSE = ("q5_1", "q5_0", "q4_1", "q4_0")
_PIECE_NUMBERS = 1 << 20
"""Numbers quantised at a time."""
_QUANTIZATION_VERSION = 2
_CURE = "export it with --format hf"


def write_gguf_model(  # noqa: PLR0913  a model in parts, and what it is called
    path: Path,
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    tokenizer_dir: Path,
    stored: GgufType,
    name: str,
    origin: ModelOrigin,
) -> None:
    """Write the model with its weights in type `stored`, and all that llama.cpp needs to run it.

    Raises CheckpointError or TokenizerError for what a GGUF file cannot say exactly.
    """
    architecture = check_shape(shape)
    metadata: dict[str, Any] = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": name,
        "general.file_type": int(_FILE_TYPES[stored]),
        "general.quantization_version": _QUANTIZATION_VERSION,
        **origin.metadata(),
        **{f"{architecture}.{key}": value for key, value in _shape_metadata(shape).items()},
        **tokenizer_metadata(
            Tokenizer.open(tokenizer_dir),
            read_tokenizer_json(tokenizer_dir / "tokenizer.json"),
            shape.vocab_size,
            architecture,
        ),
    }
    with Bar(path.name, len(tensors), unit="tensors") as bar:
        write_gguf(
            path, metadata, [_to_write(t, shape, architecture, stored, bar) for t in tensors]
        )


def check_shape(shape: ModelConfig) -> str:
    """GGUF's name of the architecture; CheckpointError for a shape that is not written yet."""
    if shape.mla is not None or shape.moe is not None:
        raise CheckpointError(
            "models with latent attention or experts are not written as GGUF yet; export with "
            "--format hf, and convert that with llama.cpp's convert_hf_to_gguf.py"
        )
    return model_type(shape)


def _shape_metadata(shape: ModelConfig) -> dict[str, int | float | str]:
    return {
        "block_count": shape.n_layers,
        "context_length": shape.max_position,
        "embedding_length": shape.hidden_size,
        "feed_forward_length": shape.intermediate_size,
        "vocab_size": shape.vocab_size,
        "attention.head_count": shape.n_heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_size,
        "attention.value_length": shape.head_size,
        "attention.layer_norm_rms_epsilon": float(shape.rms_norm_eps),
        "rope.dimension_count": shape.head_size,
        "rope.freq_base": float(shape.rope.theta),
        **_rope_scaling(shape.rope),
    }


def _rope_scaling(rope: RopeConfig) -> dict[str, int | float | str]:
    if rope.scaling == "none":
        return {}
    found: dict[str, int | float | str] = {
        "rope.scaling.type": rope.scaling,
        "rope.scaling.factor": float(rope.factor),
    }
    if rope.scaling == "yarn":
        usual = (rope.mscale, rope.mscale_all_dim, rope.beta_fast, rope.beta_slow)
        if usual != (1.0, 0.0, 32.0, 1.0):
            raise CheckpointError(
                "GGUF has no keys for this YaRN's mscale or beta in dense models; " + _CURE
            )
        found["rope.scaling.original_context_length"] = rope.original_max_position
    return found


def _to_write(
    tensor: PublishedTensor, shape: ModelConfig, architecture: str, stored: GgufType, bar: Bar
) -> TensorToWrite:
    heads = {"q_proj": shape.n_heads, "k_proj": shape.kv_heads}
    module = tensor.name.split(".")[-2]
    rows = None
    if architecture == "llama" and module in heads:
        rows = interleaved_rows(tensor.shape[0], heads[module])
    kind = _stored_kind(tensor, stored, is_output=_is_output(tensor.name, shape))

    def pieces() -> Iterator[npt.NDArray[np.uint8]]:
        yield from _quantize_rows(tensor, rows, kind)
        bar.advance(1)

    return TensorToWrite(gguf_name(tensor.name), tensor.shape, kind, pieces)


def _is_output(name: str, shape: ModelConfig) -> bool:
    return name == ("model.embed_tokens.weight" if shape.tie_embeddings else "lm_head.weight")


def _stored_kind(
    tensor: PublishedTensor, stored: GgufType, *, is_output: bool
) -> GGMLQuantizationType:
    if len(tensor.shape) == 1:
        return GGMLQuantizationType.F32
    wanted = "q8_0" if stored in _COARSE and is_output else stored
    kind = GGMLQuantizationType[wanted.upper()]
    fits = tensor.shape[-1] % GGML_QUANT_SIZES[kind][0] == 0
    return kind if fits else GGMLQuantizationType.F16


def _quantize_rows(
    tensor: PublishedTensor, rows: Tensor | None, kind: GGMLQuantizationType
) -> Iterator[npt.NDArray[np.uint8]]:
    """The bytes of a tensor, some rows at a time."""
    whole = tensor.read()
    matrix = whole.view(-1, whole.shape[-1])
    step = max(1, _PIECE_NUMBERS // matrix.shape[-1])
    for first in range(0, matrix.shape[0], step):
        part = slice(first, first + step)
        piece = matrix[part] if rows is None else matrix[rows[part]]
        with np.errstate(over="ignore"):
            stored = quantize(piece.to(torch.float32).numpy(), kind)
        if kind == GGMLQuantizationType.F16 and not np.isfinite(stored).all():
            raise CheckpointError(
                f"tensor {tensor.name} has weights beyond the 65,504 that f16 can hold; choose "
                "--type bf16"
            )
        yield np.ascontiguousarray(stored).view(np.uint8).reshape(-1)
