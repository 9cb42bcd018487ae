"""A dense model as one GGUF file, as llama.cpp's own converter writes it.

Input: a shape, tensors that are read one by one, and the folder of a tokenizer. Output: the file.
Architectures llama, qwen2 and qwen3: the rows of llama's q and k are permuted within each head.
Pieces of a tensor are quantised on all cores and written in order.

Not here: latent attention and experts (refused), which tensor gets which type (mixture.py), blocks
of weights (block_types.py), the file format (gguf_writer.py).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGMLQuantizationType
from torch import Tensor

from codling.checkpoint.gguf import gguf_name, interleaved_rows
from codling.checkpoint.gguf_writer import TensorToWrite, write_gguf
from codling.checkpoint.settings import model_type
from codling.checkpoint.store import PublishedTensor
from codling.core.errors import CheckpointError
from codling.core.log import Bar
from codling.core.shards import available_cores
from codling.core.threads import in_order, in_threads
from codling.export.block_types import quantize_rows
from codling.export.mixture import GgufType, choose_type, file_type
from codling.export.origin import ModelOrigin
from codling.model.config import ModelConfig, RopeConfig
from codling.tokens.to_gguf import tokenizer_metadata
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.validation import read_tokenizer_json

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
        "general.file_type": int(file_type(stored)),
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
    name = gguf_name(tensor.name)
    kind = choose_type(name, tensor.shape, stored, shape)

    def pieces() -> Iterator[npt.NDArray[np.uint8]]:
        yield from _in_pieces(tensor, rows, kind)
        bar.advance(1)

    return TensorToWrite(name, tensor.shape, kind, pieces)


def _in_pieces(
    tensor: PublishedTensor, rows: Tensor | None, kind: GGMLQuantizationType
) -> Iterator[npt.NDArray[np.uint8]]:
    """The bytes of a tensor, some rows at a time."""
    whole = tensor.read()
    matrix = whole.view(-1, whole.shape[-1])
    step = max(1, _PIECE_NUMBERS // matrix.shape[-1])

    def store(first: int) -> npt.NDArray[np.uint8]:
        part = slice(first, first + step)
        piece = matrix[part] if rows is None else matrix[rows[part]]
        try:
            return quantize_rows(piece.to(torch.float32).numpy(), kind).reshape(-1)
        except CheckpointError as error:
            raise CheckpointError(f"tensor {tensor.name} {error}") from None

    firsts = range(0, matrix.shape[0], step)
    yield from in_order(in_threads(store, firsts, available_cores()))
