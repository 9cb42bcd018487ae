"""Reading a checkpoint: a Hugging Face folder or a GGUF file becomes a Transformer.

Input: a folder with config.json and safetensors (one file, or shards with an index), or a GGUF
file. Output: a ModelConfig or a Transformer. The model is built on the meta device and takes its
weights from the memory map; nothing is held twice. Pickle files are refused: loading one may run
any code.

Not here: tokenizers (tokens/), the optimiser's state (train/).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from codling.checkpoint.adapter import ADAPTER_CONFIG, check_base, load_adapter, merge
from codling.checkpoint.compressed import expand_names, is_compressed
from codling.checkpoint.gguf import gguf_config, gguf_tensors
from codling.checkpoint.gguf_blocks import can_pack
from codling.checkpoint.gguf_file import GgufFile, GgufTensor, read_gguf
from codling.checkpoint.hub import local_path
from codling.checkpoint.names import ParameterPart, parameter_parts
from codling.checkpoint.pack import pack_tensors
from codling.checkpoint.safetensors_file import (
    COMPRESSED_DTYPES,
    DTYPES,
    SafeTensor,
    read_safetensors,
)
from codling.checkpoint.settings import from_published
from codling.checkpoint.store import CONFIG, INDEX, WEIGHTS
from codling.checkpoint.stored import StoredTensor
from codling.core.errors import CheckpointError, name_faults
from codling.core.foreign_json import read_object
from codling.core.log import Bar
from codling.model.config import ModelConfig
from codling.model.packed.convert import pack_model
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer

_SHARD_NAME = re.compile(r"[^/\\\0]{1,200}\.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PARTS = (".safetensors", ".json", ".jinja")
_MEGABYTE = 1_000_000
_SHOWN_FROM = 100 * _MEGABYTE
"""Bytes of weights from which on their reading is shown."""
Progress = Callable[[int, int], None]
"""Told how many bytes have been read, and how many there are."""


def load_config(path: Path) -> ModelConfig:
    """The shape of the checkpoint at `path`; CheckpointError if it is absent or not supported."""
    path = local_path(path)
    with name_faults(path, CheckpointError):
        if is_gguf(path):
            return gguf_config(read_gguf(path))
        return from_published(_read_json(_folder(path) / CONFIG), str(path / CONFIG))


def holds_few_bits(path: Path) -> bool:
    """Whether the matrices of a local checkpoint are stored in 4 to 8 bits that are computed as
    they are."""
    with name_faults(path, CheckpointError):
        if is_gguf(path):
            return any(map(can_pack, read_gguf(path).tensors.values()))
        return is_compressed(_read_json(_folder(path) / CONFIG), str(path / CONFIG))


def read_header(path: Path) -> GgufFile | None:
    """What a local checkpoint says of itself, where that takes long: while the caller holds it,
    nothing that opens the same file reads it again. None for folders."""
    with name_faults(path, CheckpointError):
        return read_gguf(path) if is_gguf(path) else None


def is_gguf(path: Path) -> bool:
    """Whether `path` is there, ends in .gguf and is not a folder."""
    return path.suffix.lower() == ".gguf" and path.exists() and not path.is_dir()


def load_model(  # noqa: PLR0913 -- where from, and in what shape
    path: Path,
    *,
    dtype: torch.dtype | None = torch.float32,
    device: torch.device | str = "cpu",
    adapter: Path | None = None,
    bits: Bits | None = None,
    progress: Progress | None = None,
) -> Transformer:
    """The model at `path`, or of that name on the hub, in evaluation mode, in type `dtype`.

    `dtype` None takes the stored type of the embedding, and bfloat16 for GGUF. `adapter` is added
    to the weights. `bits` packs the matrices (on the CPU): those that are stored in 4 to 8 bits as
    they are, others rounded to so many. `progress` is told how many bytes of weights have been
    read, and of how many; None shows a bar for large models.
    Raises CheckpointError, one line that names the tensor, if weights are missing, left over, of
    the wrong shape, damaged or pickled.
    """
    path = local_path(path)
    if adapter is not None:
        check_base(adapter, path)
    with name_faults(path, CheckpointError):
        loads = None if adapter is not None else bits
        model = _load(path, dtype, torch.device(device), loads, progress)
    if adapter is not None:
        merge(model, load_adapter(adapter))
        if bits is not None:
            pack_model(model, bits)
    return model


def _load(
    path: Path,
    dtype: torch.dtype | None,
    device: torch.device,
    bits: Bits | None,
    progress: Progress | None,
) -> Transformer:
    config, stored = read_stored(path)
    model = build_empty(config)
    tally = _ByteTally(stored, f"load {path.name} (MB)", progress)
    dtype = dtype or _stored_type(stored)
    placed = place_tensors(model, stored)
    with tally.bar or nullcontext():
        if bits is not None:
            placed = pack_tensors(model, placed, bits, dtype, tally.note)
        _fill(model, placed, dtype, device, tally.note)
    return model.eval()


class _ByteTally:
    """Counts the bytes of tensors that have been read, and shows them."""

    def __init__(self, stored: list[StoredTensor], label: str, progress: Progress | None) -> None:
        self._sizes = {tensor.name: _n_bytes(tensor) for tensor in stored}
        self._progress, self._n_done, self._n_all = progress, 0, sum(self._sizes.values())
        is_large = progress is None and self._n_all >= _SHOWN_FROM
        self.bar = Bar(label, self._n_all / _MEGABYTE, unit="MB") if is_large else None
        self._lock = Lock()

    def note(self, tensor: StoredTensor) -> None:
        """One more."""
        n_bytes = self._sizes[tensor.name]
        with self._lock:
            self._n_done += n_bytes
            if self._progress is not None:
                self._progress(self._n_done, self._n_all)
            if self.bar is not None:
                self.bar.advance(n_bytes / _MEGABYTE)


def _n_bytes(tensor: StoredTensor) -> int:
    """Bytes in the file, as far as the format says."""
    if isinstance(tensor, GgufTensor):
        return tensor.n_bytes
    return prod(tensor.shape) * tensor.dtype.itemsize


def read_stored(path: Path) -> tuple[ModelConfig, list[StoredTensor]]:
    """The shape of a local checkpoint, and its tensors where they lie."""
    stored: list[StoredTensor]
    if is_gguf(path):
        file = read_gguf(path)
        config = gguf_config(file)
        _check_counts(config, set(file.tensors), path, stacked=True)
        stored = list(gguf_tensors(file, config))
    else:
        config = load_config(path)
        stored = list(_stored_tensors(path))
        _check_counts(config, {tensor.name for tensor in stored}, path, stacked=False)
    return config, stored


def build_empty(config: ModelConfig) -> Transformer:
    """A model without weights, on the meta device."""
    with torch.device("meta"):
        return Transformer(config)


def _check_counts(config: ModelConfig, names: set[str], path: Path, *, stacked: bool) -> None:
    """Refuse layers and experts that the weights cannot hold, before anything is built.

    `stacked`: the experts of a layer are one tensor per kind, not one each.
    """
    n_moe = sum(config.is_moe_layer(i) for i in range(config.n_layers))
    experts = config.moe.n_routed_experts if config.moe and not stacked else 1
    if config.n_layers > len(names) or n_moe * experts > len(names):
        routed = f" and {config.moe.n_routed_experts:,} routed experts" if config.moe else ""
        raise CheckpointError(
            f"{path}: the config asks for {config.n_layers:,} layers{routed}, but the weight files "
            f"hold only {len(names):,} tensors; take both from the same checkpoint"
        )


def _stored_type(stored: list[StoredTensor]) -> torch.dtype:
    named = {tensor.name: tensor.dtype for tensor in stored}
    return named.get("model.embed_tokens.weight", torch.float32)


def _folder(path: Path) -> Path:
    if path.suffix in _PICKLES and path.is_file():
        raise CheckpointError(f"{path} is a pickle file, which may run code; use safetensors")
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}")
    if not path.is_dir():
        cure = f"; name the folder around it: {path.parent}" if path.suffix in _PARTS else ""
        raise CheckpointError(f"{path} is not a checkpoint folder{cure}")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists() and (path.parent / ADAPTER_CONFIG).exists():
        raise CheckpointError(
            f"{path.parent} is an adapter, not a model; name its base, or codling merge them"
        )
    if not path.exists():
        files = sorted(p.name for p in path.parent.glob("*.gguf"))
        cure = f"name one of its {len(files)} .gguf files, such as {files[0]}" if files else ""
        raise CheckpointError(
            f"{path.parent} has no {path.name}; {cure or 'it is not a checkpoint'}"
        )
    return read_object(path, CheckpointError, cure="download it again")


def _stored_tensors(folder: Path) -> Iterator[StoredTensor]:
    if not is_compressed(_read_json(folder / CONFIG), str(folder / CONFIG)):
        return _safe_tensors(folder, DTYPES)
    return expand_names(_safe_tensors(folder, COMPRESSED_DTYPES))


def _safe_tensors(folder: Path, dtypes: Mapping[str, torch.dtype]) -> Iterator[SafeTensor]:
    if (folder / INDEX).exists():
        for name in _shard_names(folder):
            yield from read_safetensors(folder / name, dtypes)
    elif (folder / WEIGHTS).exists():
        yield from read_safetensors(folder / WEIGHTS, dtypes)
    else:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
        reason = (
            f"only has {pickles[0]}, a pickle file, which may run code; convert it to safetensors"
            if pickles
            else f"has neither {WEIGHTS} nor {INDEX}"
        )
        raise CheckpointError(f"{folder} {reason}")


def _shard_names(folder: Path) -> list[str]:
    """The weight files that the index names, each a plain name in the folder."""
    path = folder / INDEX
    weight_map = _read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map; download it again")
    for name in weight_map.values():
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            raise CheckpointError(
                f"{path} names a file outside its folder, or one that is not a safetensors file: "
                f"{str(name)[:60]!r}"
            )
    names = sorted(set(weight_map.values()))
    for name in names:
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name} is missing; download the checkpoint again")
    return names


def place_tensors(
    model: Transformer, stored: Iterable[StoredTensor]
) -> list[tuple[StoredTensor, ParameterPart]]:
    """Which part of the model each stored tensor is; tensors that it shares are left out.

    Raises CheckpointError if one is missing, left over or of the wrong shape.
    """
    open_places = parameter_parts(model)
    parameters = dict(model.named_parameters())
    placed: list[tuple[StoredTensor, ParameterPart]] = []
    for tensor in stored:
        if _is_left_out(tensor.name, model.config):
            continue
        place = open_places.pop(tensor.name, None)
        if place is None:
            raise CheckpointError(
                f"{tensor.where}: tensor {tensor.name} does not belong to this model"
            )
        target = parameters[place.parameter]
        wanted = tuple(target[place.index].shape if place.index else target.shape)
        if tensor.shape != wanted:
            raise CheckpointError(
                f"{tensor.where}: tensor {tensor.name} has shape {list(tensor.shape)}, but the "
                f"config asks for {list(wanted)}"
            )
        placed.append((tensor, place))
    if open_places:
        first, n_more = next(iter(open_places)), len(open_places) - 1
        more = f" and {n_more} more" if n_more else ""
        raise CheckpointError(f"tensor {first}{more} missing from the checkpoint")
    return placed


def _fill(
    model: Transformer,
    placed: list[tuple[StoredTensor, ParameterPart]],
    dtype: torch.dtype,
    device: torch.device,
    note: Callable[[StoredTensor], None],
) -> None:
    """Give every parameter of a meta model its weights."""
    parameters = dict(model.named_parameters())
    weights: dict[str, Tensor] = {}
    for tensor, place in placed:
        note(tensor)
        mapped = tensor.map_as(dtype) if device.type == "cpu" and not place.index else None
        if mapped is not None:
            weights[place.parameter] = mapped
            continue
        if place.parameter not in weights:
            shape = parameters[place.parameter].shape
            weights[place.parameter] = torch.empty(shape, dtype=dtype, device=device)
        whole = weights[place.parameter]
        tensor.copy_into(whole[place.index] if place.index else whole)
    for name, weight in weights.items():
        owner, _, attribute = name.rpartition(".")
        parameter = nn.Parameter(weight, requires_grad=parameters[name].requires_grad)
        model.get_submodule(owner).register_parameter(attribute, parameter)
    model.tie()
    model.rope.build(model.rope.cos.shape[0], device)


def _is_left_out(name: str, config: ModelConfig) -> bool:
    """Tensors that some files hold although the model shares them."""
    return config.tie_embeddings and name == "lm_head.weight"
