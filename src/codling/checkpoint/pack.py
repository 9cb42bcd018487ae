"""Reading the matrices of a checkpoint into few bits, without holding them as float numbers.

Input: stored tensors and where in the model they go. Output: the model with packed matrices. What
is stored in 4 to 8 bits is computed as it is stored; everything else is rounded as asked, a matrix
at a time. An embedding of its own stays in the file and is read row by row.

Not here: which tensor goes where (load.py), the blocks of GGUF (gguf_blocks.py).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from gguf.quants import dequantize
from torch import Tensor

from codling.checkpoint.compressed import QuantizedTensor
from codling.checkpoint.gguf_blocks import can_pack, pack_blocks
from codling.checkpoint.gguf_file import GgufTensor
from codling.checkpoint.names import ParameterPart
from codling.checkpoint.stored import StoredTensor
from codling.core.errors import CheckpointError
from codling.core.threads import available_cores
from codling.model.moe import Experts
from codling.model.packed.convert import is_packable, replace_module, set_head
from codling.model.packed.linear import MappedEmbedding, PackedExperts, PackedLinear
from codling.model.packed.matrix import Arena, Array, PackedMatrix, pack_codes
from codling.model.packed.quantize import Bits, allocate_bits, put_floats
from codling.model.packed.tile_ir import GROUP
from codling.model.transformer import Transformer

Placed = tuple[StoredTensor, ParameterPart]
_NUMBERS_AT_A_TIME = 1 << 22
_EMBEDDING, _HEAD = "embed_tokens.weight", "lm_head.weight"


def pack_tensors(
    model: Transformer,
    placed: Iterable[Placed],
    bits: Bits,
    dtype: torch.dtype,
    note: Callable[[StoredTensor], None],
) -> list[Placed]:
    """Put packed matrices into a meta model; gives the tensors that are to be read as floats.

    `note` is called with each tensor that has been read.
    """
    memory = Arena()
    todo: list[Placed] = []
    rest: list[Placed] = []
    for tensor, place in placed:
        (todo if _is_packed(model, place.parameter) else rest).append((tensor, place))

    def pack(item: Placed) -> PackedMatrix:
        matrix = pack_stored(item[0], bits, memory)
        note(item[0])
        return matrix

    with ThreadPoolExecutor(available_cores()) as pool:
        matrices = list(pool.map(pack, todo))
    experts: dict[str, dict[str, PackedMatrix]] = {}
    for (tensor, place), matrix in zip(todo, matrices, strict=True):
        owner, _, _ = place.parameter.rpartition(".")
        if place.parameter in (_EMBEDDING, _HEAD):
            set_head(model, matrix, dtype)
        elif place.index:
            experts.setdefault(owner, {})[tensor.name] = matrix
        else:
            bias: Any = model.get_submodule(owner).bias
            replace_module(model, owner, PackedLinear(matrix, bias))
    for owner, found in experts.items():
        _put_experts(model, owner, found)
    return [item for item in rest if not _map_embedding(model, dtype, *item)]


def pack_stored(tensor: StoredTensor, bits: Bits, memory: Arena | None = None) -> PackedMatrix:
    """A stored matrix as it is stored, where that is in few bits, or rounded."""
    if isinstance(tensor, GgufTensor) and can_pack(tensor):
        return pack_blocks(tensor, memory)
    stored = tensor.codes() if isinstance(tensor, QuantizedTensor) else None
    if stored is not None and (matrix := _pack_integers(*stored)) is not None:
        return matrix
    n_rows, n_columns = tensor.shape
    matrix = allocate_bits(n_rows, n_columns, bits, memory)
    values = tensor.map_as(tensor.dtype)
    if values is None:
        values = torch.empty(tensor.shape, dtype=tensor.dtype)
        tensor.copy_into(values)
    step = max(16, _NUMBERS_AT_A_TIME // n_columns // 16 * 16)
    for first in range(0, n_rows, step):
        put_floats(matrix, first, values[first : first + step].float().numpy())
    return matrix


def _pack_integers(codes_NM: Tensor, scale_NS: Tensor) -> PackedMatrix | None:
    """Integers of 4 or 8 bits with a scale per group, where a kernel knows groups of this size."""
    n_columns, n_scales = codes_NM.shape[1], scale_NS.shape[1]
    group = n_columns // n_scales
    is_row = n_scales == 1
    n_units = group // GROUP
    if not is_row and (group % GROUP or n_units & (n_units - 1)):
        return None
    low, high = int(codes_NM.min()), int(codes_NM.max())
    form, zero = ("q4", 8) if low >= -8 and high <= 7 else ("bytes", 128)
    codes = (codes_NM.to(torch.int16) + zero).to(torch.uint8)
    if not scale_NS.isfinite().all() or scale_NS.abs().max() > torch.finfo(torch.float16).max:
        return None
    return pack_codes(form, codes.numpy(), scale_NS.numpy(), group=None if is_row else group)


def _is_packed(model: Transformer, parameter: str) -> bool:
    owner, _, attribute = parameter.rpartition(".")
    if parameter == _EMBEDDING:
        return model.config.tie_embeddings
    module = model.get_submodule(owner)
    return isinstance(module, Experts) or (attribute == "weight" and is_packable(owner, module))


def _put_experts(model: Transformer, owner: str, found: dict[str, PackedMatrix]) -> None:
    kinds = ("gate_proj", "up_proj", "down_proj")
    prefix = f"model.{owner}."
    n_experts = len(found) // len(kinds)
    experts = [
        tuple(found[f"{prefix}{i}.{kind}.weight"] for kind in kinds) for i in range(n_experts)
    ]
    replace_module(model, owner, PackedExperts(experts))  # type: ignore[arg-type]


def _map_embedding(
    model: Transformer, dtype: torch.dtype, tensor: StoredTensor, place: ParameterPart
) -> bool:
    """Leave an embedding of its own in its GGUF file."""
    if place.parameter != _EMBEDDING or not isinstance(tensor, GgufTensor):
        return False
    raw = tensor.raw_rows(0, tensor.shape[0])

    def rows(ids_R: Array) -> Array:
        numbers: Array = dequantize(np.ascontiguousarray(raw[ids_R]), tensor.kind)
        if not np.isfinite(numbers).all():
            raise CheckpointError(tensor.not_finite)
        return numbers.astype(np.float32, copy=False)

    replace_module(model, "embed_tokens", MappedEmbedding(rows, dtype))
    return True
