"""Our parameter names and the published ones.

The published names are ours with "model." in front, except for routed experts: we keep all experts
of a layer in one tensor per kind, the files hold one tensor per expert and projection.

    ours       layers.3.mlp.experts.gate_up_proj [experts, 2 x width, hidden]
    published  model.layers.3.mlp.experts.7.gate_proj.weight and ...experts.7.up_proj.weight

Not here: reading and writing files (load.py, store.py), GGUF's names (gguf.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codling.model.transformer import Transformer

_EXPERTS = ".mlp.experts."
_BUFFER = re.compile(
    r"(.*\.)?(rotary_emb\.(inv_freq|cos_cached|sin_cached|original_inv_freq)"
    r"|(attn|self_attn|attention)\.(masked_bias|bias|causal_mask)"
    r"|(embeddings\.)?position_ids)"
)
"""Tables that older versions of transformers stored beside the weights."""


@dataclass(frozen=True)
class ParameterPart:
    """Where a published tensor lives in the model: a parameter, or a part of one."""

    parameter: str
    index: tuple[int | slice, ...] = ()


def parameter_parts(model: Transformer) -> dict[str, ParameterPart]:
    """Every published name of this model, in the order of its parameters."""
    return dict(_parameter_parts(model))


def _parameter_parts(model: Transformer) -> Iterator[tuple[str, ParameterPart]]:
    # named_parameters lists a tied output matrix once, under the embedding's name.
    for name, parameter in model.named_parameters():
        if _EXPERTS in name:
            yield from _expert_parts(name, parameter.shape)
        else:
            yield published_name(name), ParameterPart(name)


def _expert_parts(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, ParameterPart]]:
    layer, kind = name.split(_EXPERTS)
    for expert in range(shape[0]):
        prefix = f"model.{layer}{_EXPERTS}{expert}."
        if kind == "gate_up_proj":
            width = shape[1] // 2
            yield prefix + "gate_proj.weight", ParameterPart(name, (expert, slice(0, width)))
            yield prefix + "up_proj.weight", ParameterPart(name, (expert, slice(width, 2 * width)))
        else:
            yield prefix + f"{kind}.weight", ParameterPart(name, (expert,))


def published_name(name: str) -> str:
    """The published name of a parameter that is not of a routed expert.

    >>> published_name("layers.0.self_attn.q_proj.weight"), published_name("lm_head.weight")
    ('model.layers.0.self_attn.q_proj.weight', 'lm_head.weight')
    """
    return name if name.startswith("lm_head.") else f"model.{name}"


def is_buffer(name: str) -> bool:
    """Whether a tensor is a table that every model computes for itself, such as a causal mask.

    >>> is_buffer("model.layers.0.self_attn.rotary_emb.cos_cached")
    True
    >>> is_buffer("model.layers.0.self_attn.q_proj.bias")
    False
    """
    return _BUFFER.fullmatch(name) is not None
