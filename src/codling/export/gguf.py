"""A model as one GGUF file, as llama.cpp's own converter and quantiser write it.

Input: a shape, tensors that are read one by one, and the folder of a tokenizer. Output: the file.
Pieces of a tensor are quantised on all cores and written in order.

Not here: what a shape and its tensors are called (gguf_shape.py, gguf_tensors.py), which tensor
gets which type (mixture.py), blocks of weights (block_types.py), and the file format
(checkpoint/gguf_writer.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGMLQuantizationType
from torch import Tensor

from codling.checkpoint.gguf_writer import TensorToWrite, write_gguf
from codling.checkpoint.stored import PublishedTensor
from codling.core.errors import CheckpointError
from codling.core.log import Bar
from codling.core.threads import available_cores, in_order, in_threads
from codling.export.block_types import quantize_rows
from codling.export.gguf_shape import gguf_architecture, shape_metadata
from codling.export.gguf_tensors import GgufPart, gguf_parts
from codling.export.imatrix import Importance, fit_importance
from codling.export.mixture import GgufType, choose_type, file_type
from codling.export.origin import ModelOrigin
from codling.model.config import ModelConfig
from codling.tokens.to_gguf import tokenizer_metadata
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.validation import read_tokenizer_json

_PIECE_NUMBERS = 1 << 20
"""Numbers quantised at a time."""
_QUANTIZATION_VERSION = 2


def write_gguf_model(  # noqa: PLR0913  a model in parts, and what it is called
    path: Path,
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    tokenizer_dir: Path,
    stored: GgufType,
    name: str,
    origin: ModelOrigin,
    importance: Mapping[str, Importance] | None = None,
) -> None:
    """Write the model with its weights in type `stored`, and all that llama.cpp needs to run it.

    `importance` by GGUF's names: what it holds is rounded so that what matters errs less.
    Raises CheckpointError or TokenizerError for what a GGUF file cannot say exactly.
    """
    architecture = gguf_architecture(shape)
    metadata: dict[str, Any] = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": name,
        "general.file_type": int(file_type(stored)),
        "general.quantization_version": _QUANTIZATION_VERSION,
        **origin.metadata(),
        **{f"{architecture}.{key}": value for key, value in shape_metadata(shape).items()},
        **tokenizer_metadata(
            Tokenizer.open(tokenizer_dir),
            read_tokenizer_json(tokenizer_dir / "tokenizer.json"),
            shape.vocab_size,
            architecture,
        ),
    }
    if importance:
        metadata["quantize.imatrix.entries_count"] = len(importance)
    parts = gguf_parts(tensors, shape)
    weights = fit_importance(importance, parts) if importance else {}
    with Bar(path.name, len(parts), unit="tensors") as bar:
        write_gguf(
            path,
            metadata,
            [_to_write(part, shape, stored, bar, weights) for part in parts],
        )


def _to_write(
    part: GgufPart,
    shape: ModelConfig,
    stored: GgufType,
    bar: Bar,
    weights: Mapping[str, Sequence[npt.NDArray[np.float32]]],
) -> TensorToWrite:
    kind = choose_type(part.name, part.shape, stored, shape, has_importance=bool(weights))
    known = weights.get(part.name)

    def pieces() -> Iterator[npt.NDArray[np.uint8]]:
        for index, read in enumerate(part.matrices):
            yield from _in_pieces(part, read(), kind, None if known is None else known[index])
        bar.advance(1)

    return TensorToWrite(part.name, part.shape, kind, pieces)


def _in_pieces(
    part: GgufPart,
    whole: Tensor,
    kind: GGMLQuantizationType,
    weights: npt.NDArray[np.float32] | None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """The bytes of a matrix, some rows at a time."""
    matrix = whole.view(-1, whole.shape[-1])
    step = max(1, _PIECE_NUMBERS // matrix.shape[-1])

    def store(first: int) -> npt.NDArray[np.uint8]:
        piece = matrix[first : first + step].to(torch.float32).numpy()
        try:
            return quantize_rows(piece, kind, weights).reshape(-1)
        except CheckpointError as error:
            raise CheckpointError(f"tensor {part.published} {error}") from None

    firsts = range(0, matrix.shape[0], step)
    yield from in_order(in_threads(store, firsts, available_cores()))
