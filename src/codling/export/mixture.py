"""Which type each tensor of a GGUF file is stored in: the mixtures that llama-quantize makes.

Input: the type that the user asked for, a tensor's name in GGUF and its shape, and the model's
shape. Output: a type of ggml.

A mixture gives more bits to what rounding hurts most: the output matrix, and attn_v and ffn_down in
the first and last eighth of the layers and in every third between. Vectors, biases and the gates of
experts stay in fp32. Rows that a type's blocks do not divide get a type of smaller blocks.

The rules: llama-quant.cpp of llama.cpp.

Not here: the blocks themselves (block_types.py).
"""

import re
from typing import Literal

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from codling.model.config import ModelConfig

GgufType = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s",
    "q5_1", "q5_0", "q4_1", "q4_0",
]  # fmt: skip
_PLAIN = ("f32", "f16", "bf16")
_Q4_0, _Q4_1 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1
_Q5_0, _Q5_1 = GGMLQuantizationType.Q5_0, GGMLQuantizationType.Q5_1
_Q4_K, _Q5_K = GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q5_K
_Q6_K, _Q8_0 = GGMLQuantizationType.Q6_K, GGMLQuantizationType.Q8_0
_F16, _F32 = GGMLQuantizationType.F16, GGMLQuantizationType.F32
_SMALLER_BLOCKS = {_Q4_K: _Q5_0, _Q5_K: _Q5_1, _Q6_K: _Q8_0}
_OF_IMPORTANCE = {_Q4_0: _Q4_1, _Q5_0: _Q5_1}
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")
_LAYERS_OF_70B = 80
_EXPERTS_OF_MIXTRAL = 8


def file_type(stored: GgufType) -> LlamaFileType:
    """What the file says of its type as a whole.

    >>> file_type("q4_k_m").name
    'MOSTLY_Q4_K_M'
    """
    return LlamaFileType["ALL_F32" if stored == "f32" else f"MOSTLY_{stored.upper()}"]


def choose_type(
    name: str,
    tensor_shape: tuple[int, ...],
    stored: GgufType,
    model: ModelConfig,
    *,
    has_importance: bool = False,
) -> GGMLQuantizationType:
    """The type of the tensor that GGUF calls `name` in a file of type `stored`."""
    if len(tensor_shape) == 1 or name.endswith("ffn_gate_inp.weight"):
        return _F32
    base = _base_type(stored)
    if stored in _PLAIN:
        return base
    output = "token_embd.weight" if model.tie_embeddings else "output.weight"
    if name == output:
        wanted = _type_of_output(base, tensor_shape[-1])
    else:
        wanted = _type_in_layer(name, stored, base, model, has_importance=has_importance)
    return _fit_rows(wanted, tensor_shape[-1])


def _base_type(stored: GgufType) -> GGMLQuantizationType:
    return GGMLQuantizationType[stored.upper().removesuffix("_M").removesuffix("_S")]


def _type_of_output(base: GGMLQuantizationType, n_columns: int) -> GGMLQuantizationType:
    whole_blocks = n_columns % GGML_QUANT_SIZES[base][0] == 0
    return _Q6_K if whole_blocks and base != _Q8_0 else _Q8_0


def _type_in_layer(
    name: str,
    stored: GgufType,
    base: GGMLQuantizationType,
    model: ModelConfig,
    *,
    has_importance: bool,
) -> GGMLQuantizationType:
    match = _LAYER.fullmatch(name)
    if match is None:
        return base
    layer, module = int(match[1]), match[2]
    if module == "attn_v":
        return _type_of_values(layer, stored, base, model)
    if module.startswith("ffn_down"):
        return _type_of_down(layer, stored, base, model, has_importance=has_importance)
    if module == "attn_output" and base == _Q4_K and _is_mixtral_like(model):
        return _Q5_K
    return base


def _type_of_values(
    layer: int, stored: GgufType, base: GGMLQuantizationType, model: ModelConfig
) -> GGMLQuantizationType:
    wanted = base
    if stored.endswith("_m") and _gets_more_bits(layer, model.n_layers):
        wanted = _Q6_K
    elif stored == "q4_k_s" and layer < 4:
        wanted = _Q5_K
    # Eight query heads share one value head there: the matrix is small and its errors are not.
    shared = model.n_layers == _LAYERS_OF_70B and model.kv_heads < model.n_heads
    return _Q5_K if shared and wanted == _Q4_K else wanted


def _type_of_down(
    layer: int,
    stored: GgufType,
    base: GGMLQuantizationType,
    model: ModelConfig,
    *,
    has_importance: bool,
) -> GGMLQuantizationType:
    early = layer < model.n_layers // 8
    if stored.endswith("_m") and _gets_more_bits(layer, model.n_layers):
        return _Q6_K
    if stored == "q4_k_s" and early:
        return _Q5_K
    return _OF_IMPORTANCE.get(base, base) if has_importance and early else base


def _gets_more_bits(layer: int, n_layers: int) -> bool:
    """The first and the last eighth, and every third layer between.

    >>> [layer for layer in range(24) if _gets_more_bits(layer, 24)]
    [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]
    """
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def _is_mixtral_like(model: ModelConfig) -> bool:
    return model.moe is not None and model.moe.n_routed_experts == _EXPERTS_OF_MIXTRAL


def _fit_rows(wanted: GGMLQuantizationType, n_columns: int) -> GGMLQuantizationType:
    """`wanted`, or a type whose blocks divide the rows.

    >>> [_fit_rows(GGMLQuantizationType.Q4_K, n).name for n in (512, 576, 72)]
    ['Q4_K', 'Q5_0', 'F16']
    """
    for kind in (wanted, _SMALLER_BLOCKS.get(wanted, wanted)):
        if n_columns % GGML_QUANT_SIZES[kind][0] == 0:
            return kind
    return _F16
