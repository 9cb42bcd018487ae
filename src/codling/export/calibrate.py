"""The user's own code through a model, layer by layer: what its matrices are multiplied with.

Input: a model's shape and tensors, which are read as they are needed, and a file or a folder of
code. Output: each block in turn with its weights, and the hidden states of all windows before it.
Memory holds the embedding, one block and the hidden states, not the model.

Not here: the files that hold what `measure_importance` finds (imatrix.py).

Legend: W windows, L tokens of a window, E hidden width.
"""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codling.checkpoint.gguf import gguf_name
from codling.checkpoint.load import build_empty
from codling.checkpoint.names import parameter_parts
from codling.checkpoint.stored import PublishedTensor
from codling.core.errors import ConfigError
from codling.core.folder_walk import files_below
from codling.core.languages.table import SNIFF_BYTES, detect
from codling.core.log import Bar
from codling.export.imatrix import Importance
from codling.model.config import ModelConfig
from codling.tokens.tokenizer import Tokenizer

_MAX_FILE_BYTES = 1_000_000
_AT_A_TIME = 4
_BINARY = b"\0"
"""A byte that no text in UTF-8 holds; git tells files apart by it."""
Observer = Callable[[str, Tensor], None]
"""Is told the name of a matrix in its block, and what it is multiplied with, [tokens, columns]."""


def read_code(path: Path) -> list[str]:
    """The texts of a file, or of the source files below a folder, in an order drawn by chance.

    Files of more than a megabyte, and what is no text, are passed over. Raises ConfigError if
    nothing is left.
    """
    files = [path] if path.is_file() else files_below(path, lambda name: not name.startswith("."))
    random.Random(0).shuffle(files)
    texts = []
    for file in files:
        if file.stat().st_size > _MAX_FILE_BYTES and file != path:
            continue
        raw = file.read_bytes()
        if _BINARY in raw:
            continue
        if file == path or detect(file.name, raw[:SNIFF_BYTES]) is not None:
            texts.append(raw.decode("utf-8", errors="ignore"))
    if not any(texts):
        raise ConfigError(f"export: no source files to calibrate on in {path}; name another folder")
    return texts


def name_code(texts: Sequence[str]) -> str:
    """A digest of the texts: other texts make another artefact."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def cut_windows(texts: Sequence[str], tokenizer: Tokenizer, count: int, length: int) -> Tensor:
    """At most `count` windows of `length` tokens, [W, L]; ConfigError if there is not even one."""
    stream: list[int] = []
    for text in texts:
        stream += tokenizer.encode(text)
        if len(stream) >= count * length:
            break
    n_windows = min(count, len(stream) // length)
    if not n_windows:
        raise ConfigError(
            f"export: the code to calibrate on has {len(stream)} tokens, fewer than one window of "
            f"{length}; name more of it, or lower calibration_length"
        )
    return torch.tensor(stream[: n_windows * length]).view(n_windows, length)


class LayerWalk:
    """Windows of tokens on their way through a model, one block in memory at a time."""

    def __init__(
        self, shape: ModelConfig, tensors: Sequence[PublishedTensor], windows_WL: Tensor
    ) -> None:
        self._model = build_empty(shape)
        self._parts = parameter_parts(self._model)
        self._tensors = {tensor.name: tensor for tensor in tensors}
        embedding = self._tensors["model.embed_tokens.weight"].read()
        self._hidden = [embedding[part].float() for part in torch.split(windows_WL, _AT_A_TIME)]
        self._model.rope.build(windows_WL.shape[1], torch.device("cpu"))
        self._rotation = self._model.rope.span(0, windows_WL.shape[1])

    def blocks(self, what: str) -> Iterator[tuple[str, nn.Module]]:
        """Every block with its weights in fp32, and what its names begin with.

        Afterwards the windows have gone through it as the caller left it.
        """
        with Bar(what, len(self._model.layers), unit="layers") as bar:
            for index, block in enumerate(self._model.layers):
                prefix = f"layers.{index}."
                self._fill(block, prefix)
                yield f"model.{prefix}", block
                self._hidden = list(self._through(block))
                block.to("meta")
                bar.advance(1)

    @torch.no_grad()
    def run(self, block: nn.Module) -> None:
        """The windows through `block`, whose outputs are dropped: for those who watch it.

        A dense block's last matrix is shown what it is given, and not multiplied.
        """
        last = getattr(block.mlp, "down_proj", None)
        stop = contextlib.nullcontext() if last is None else _stop_before(last)
        with stop:
            for hidden_WLE in self._hidden:
                with contextlib.suppress(_SeenEnoughError):
                    block(hidden_WLE, self._rotation)

    @torch.no_grad()
    def _through(self, block: nn.Module) -> Iterator[Tensor]:
        for hidden_WLE in self._hidden:
            yield block(hidden_WLE, self._rotation)

    def _fill(self, block: nn.Module, prefix: str) -> None:
        weights: dict[str, Tensor] = {}
        shapes = {name: parameter.shape for name, parameter in block.named_parameters()}
        for published, place in self._parts.items():
            if place.parameter.startswith(prefix):
                name = place.parameter.removeprefix(prefix)
                if name not in weights:
                    weights[name] = torch.empty(shapes[name])
                weights[name][place.index or ...] = self._tensors[published].read().float()
        for name, weight in weights.items():
            owner, _, attribute = name.rpartition(".")
            parameter = nn.Parameter(weight, requires_grad=False)
            block.get_submodule(owner).register_parameter(attribute, parameter)


class _SeenEnoughError(Exception):
    """Ends the way of some windows through a block."""


@contextmanager
def _stop_before(module: nn.Module) -> Iterator[None]:
    """While it lasts, `module` ends the pass once it is given its inputs, and others saw them."""

    def stop(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        raise _SeenEnoughError

    handle = module.register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def watch(block: nn.Module, observer: Observer) -> Iterator[None]:
    """While it lasts, `observer` sees what each nn.Linear of `block` is given."""

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            observer(name, inputs[0].reshape(-1, inputs[0].shape[-1]))

        return hook

    handles = [
        module.register_forward_pre_hook(hook_of(name))
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def measure_importance(walk: LayerWalk) -> dict[str, Importance]:
    """The sum of squares per column of every dense matrix, under its name in GGUF."""
    found: dict[str, Importance] = {}
    for prefix, block in walk.blocks("importance"):
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def add(name: str, x: Tensor, sums: Any = sums, counts: Any = counts) -> None:  # noqa: ANN401
            sums[name] = sums.get(name, 0) + x.double().square().sum(0)
            counts[name] = counts.get(name, 0) + len(x)

        with watch(block, add):
            walk.run(block)
        for name, total in sums.items():
            if name.endswith("kv_b_proj"):
                continue  # its halves are matrices of their own in GGUF
            count = np.array([counts[name]], np.float32)
            one_row = total.float().numpy()[None]
            found[gguf_name(f"{prefix}{name}.weight")] = Importance(one_row, count)
    return found
