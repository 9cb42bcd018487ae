"""Opening a checkpoint for the engine: in which precision, and its tokenizer beside its weights.

Packing leaves Python alone for most of its time, and a vocabulary of 150,000 tokens takes as long
to read as the weights of a small model; read on a thread of its own, a server answers sooner.

Input: a local checkpoint. Output: its model; its tokenizer, and its tokens in order for healing.
Not here: how files are read (checkpoint/).
"""

from pathlib import Path
from threading import Thread

import torch

from codling.checkpoint.load import holds_few_bits, load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import CodlingError
from codling.engine.config import Precision
from codling.model.device import choose_device
from codling.model.packed.instructions import HERE
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer
from codling.tokens.healing import TokenIndex
from codling.tokens.tokenizer import Tokenizer

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.bfloat16,
    "int4": torch.bfloat16,
}
_BITS: dict[str, Bits] = {"int8": 8, "int4": 4}


class OpeningTokenizer:
    """Begins to read at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokenizer: Tokenizer | None = None
        self._index: TokenIndex | None = None
        self._error: Exception | None = None
        self._thread = Thread(target=self._open, name="tokenizer", daemon=True)
        self._thread.start()

    def result(self) -> tuple[Tokenizer, TokenIndex]:
        """Both, as soon as they are there; raises what reading them raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._tokenizer is not None
        assert self._index is not None
        return self._tokenizer, self._index

    def _open(self) -> None:
        try:
            self._tokenizer = open_tokenizer(self._path)
            self._index = TokenIndex(self._tokenizer)
        except Exception as error:  # noqa: BLE001 - it is raised where the tokenizer is wanted
            self._error = error


def load_weights(
    path: Path,
    precision: Precision,
    device: str | None,
    adapter: Path | None,
    opening: OpeningTokenizer,
) -> tuple[Transformer, Precision]:
    """The model, and its precision where that was "auto".

    An error of the tokenizer, which is read meanwhile, is told before one of the weights.
    """
    chosen = choose_device(device or "auto")
    try:
        if precision == "auto":
            precision = choose_precision(path, chosen)
        dtype, bits = choose_dtype(precision, chosen), _BITS.get(precision)
        model = load_model(path, dtype=dtype, device=str(chosen), adapter=adapter, bits=bits)
    except CodlingError:
        opening.result()
        raise
    return model, precision


def choose_precision(path: Path, device: torch.device) -> Precision:
    """What "auto" means for a local checkpoint: bfloat16 on a GPU; on a CPU the fastest that keeps
    bits per byte within half a percent of float32, which is int8 (docs/benchmarks.md).

    Processors without instructions for products of bytes compute floats faster, so there it is
    float32, but for files of 4 to 8 bits, which would not stay as small.
    """
    if device.type != "cpu":
        return "bfloat16"
    return "int8" if HERE != "plain" or holds_few_bits(path) else "float32"


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The type in which weights of a precision are held; that of int8 for all but decoding."""
    if precision == "auto":
        precision = "float32" if device.type == "cpu" else "bfloat16"
    return _DTYPES[precision]
