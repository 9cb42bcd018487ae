"""A checkpoint's tensors one by one, an adapter added on the way: for models larger than memory.

Input: a Hugging Face folder or a GGUF file, and an adapter. Output: the shape, and every tensor
under its published name, in the order of the model, read when it is asked for. All names and shapes
are checked before the first is read.

Not here: a model to compute with (load.py), writing (store.py, gguf_writer.py).
"""

from pathlib import Path

import torch
from torch import Tensor

from codling.checkpoint.adapter import LowRank, check_base, load_adapter, match_changes
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import build_empty, place_tensors, read_stored
from codling.checkpoint.names import parameter_parts
from codling.checkpoint.safetensors_file import SafeTensor
from codling.checkpoint.stored import PublishedTensor, StoredTensor
from codling.core.errors import CheckpointError, name_faults
from codling.model.config import ModelConfig


def stream_tensors(
    path: Path, adapter: Path | None = None
) -> tuple[ModelConfig, list[PublishedTensor]]:
    """The shape of the model at `path`, and its tensors; a tied output matrix is left out.

    A tensor comes in its stored type, from GGUF or changed by the adapter in fp32.
    Raises CheckpointError as load_model does.
    """
    path = local_path(path)
    if adapter is not None:
        check_base(adapter, path)
    with name_faults(path, CheckpointError):
        config, stored = read_stored(path)
        model = build_empty(config)
        found = {tensor.name: tensor for tensor, _ in place_tensors(model, stored)}
    changes: dict[str, LowRank] = {}
    if adapter is not None:
        loaded = load_adapter(adapter)
        match_changes(model, loaded)
        changes = {f"{name}.weight": change for name, change in loaded.changes.items()}
    ordered = (found[name] for name in parameter_parts(model))
    return config, [_offer(tensor, changes.get(tensor.name)) for tensor in ordered]


def _offer(tensor: StoredTensor, change: LowRank | None) -> PublishedTensor:
    return PublishedTensor(tensor.name, tensor.shape, lambda: _read(tensor, change))


def _read(tensor: StoredTensor, change: LowRank | None) -> Tensor:
    exact = tensor.dtype if isinstance(tensor, SafeTensor) else torch.float32
    out = torch.empty(tensor.shape, dtype=exact)
    tensor.copy_into(out)
    return out if change is None else out.float() + change.delta()
