"""A model's published tensors as GGUF has them: other names, some cut, some put together.

Input: the model's shape, and its tensors, which are read one by one. Output: what goes into the
file, in order, still unread.

    llama      the rows of q and k are permuted within each head, for interleaved RoPE
    deepseek2  kv_b becomes k_b [heads, kv_lora, nope], transposed, and v_b [heads, v, kv_lora]; the
               experts of a layer are stacked, one tensor per kind of matrix

Not here: the types that they are stored in (mixture.py), reading them back (checkpoint/gguf.py).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from codling.checkpoint.gguf import gguf_name, interleaved_rows, stacked_name
from codling.checkpoint.settings import model_type
from codling.checkpoint.stored import PublishedTensor
from codling.model.config import MLAConfig, ModelConfig

_EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.(\w+)\.weight")
_KV_B = "self_attn.kv_b_proj.weight"


@dataclass(frozen=True)
class GgufPart:
    """One tensor of the file, whose matrices are read one by one and follow each other."""

    name: str
    shape: tuple[int, ...]
    published: str
    """What it is, or comes from, in the model; for messages."""
    matrices: Sequence[Callable[[], Tensor]]
    """Each of shape [rows, columns], or [columns] for a vector."""


def gguf_parts(tensors: Sequence[PublishedTensor], shape: ModelConfig) -> list[GgufPart]:
    """Every tensor of the file, in the order of the model."""
    stacks: dict[str, list[PublishedTensor]] = {}
    for tensor in tensors:
        stacks.setdefault(_stack_of(tensor.name), []).append(tensor)
    return [part for name, members in stacks.items() for part in _parts(name, members, shape)]


def _stack_of(published: str) -> str:
    """The name in GGUF: one for all experts of a layer with the same kind of matrix."""
    expert = _EXPERT.fullmatch(published)
    if expert is not None:
        return stacked_name(expert[1], expert[3])
    return published if published.endswith(_KV_B) else gguf_name(published)


def _parts(name: str, members: Sequence[PublishedTensor], shape: ModelConfig) -> Iterator[GgufPart]:
    first = members[0]
    if name == first.name and shape.mla is not None:
        yield from _split_kv_b(first, shape.n_heads, shape.mla)
    elif _EXPERT.fullmatch(first.name):
        read = [member.read for member in members]
        yield GgufPart(name, (len(members), *first.shape), first.name, read)
    else:
        yield GgufPart(name, first.shape, first.name, [_permute_heads(first, shape)])


def _permute_heads(tensor: PublishedTensor, shape: ModelConfig) -> Callable[[], Tensor]:
    heads = {"q_proj": shape.n_heads, "k_proj": shape.kv_heads}.get(tensor.name.split(".")[-2])
    if heads is None or model_type(shape) != "llama":
        return tensor.read
    rows = interleaved_rows(tensor.shape[0], heads)
    return lambda: tensor.read()[rows]


def _split_kv_b(tensor: PublishedTensor, n_heads: int, mla: MLAConfig) -> Iterator[GgufPart]:
    prefix = f"blk.{tensor.name.split('.')[2]}."
    nope, value, latent = mla.qk_nope_head_dim, mla.v_head_dim, mla.kv_lora_rank

    def keys() -> Tensor:
        per_head = tensor.read().view(n_heads, nope + value, latent)
        return per_head[:, :nope].transpose(1, 2).reshape(-1, nope)

    def values() -> Tensor:
        per_head = tensor.read().view(n_heads, nope + value, latent)
        return per_head[:, nope:].reshape(-1, latent)

    yield GgufPart(prefix + "attn_k_b.weight", (n_heads, latent, nope), tensor.name, [keys])
    yield GgufPart(prefix + "attn_v_b.weight", (n_heads, value, latent), tensor.name, [values])
