"""Loading models from GGUF files: architectures llama, qwen2, qwen3 and deepseek2.

Input: a GGUF file. Output: its ModelConfig, and its tensors under the published names. llama.cpp's
converter changed some of them, which is undone here:

    llama      the rows of q and k are permuted within each head, for interleaved RoPE
    deepseek2  kv_b is split into k_b [heads, kv_lora, nope], transposed, and v_b
               [heads, v, kv_lora]; the experts of a layer are stacked

Not here: the file format (gguf_file.py), tokenizers in the metadata (tokens/), writing (export/).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codling.checkpoint.gguf_file import GgufFile, GgufTensor
from codling.checkpoint.validation import Settings
from codling.core.errors import CheckpointError, ConfigError
from codling.model.config import (
    MAX_EXPERTS,
    MAX_HEADS,
    MAX_LAYERS,
    MAX_POSITION,
    MAX_VOCAB,
    MAX_WIDTH,
    MLAConfig,
    ModelConfig,
    MoEConfig,
    RopeConfig,
)

_ARCHITECTURES = ("llama", "qwen2", "qwen3", "deepseek2")
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_kv_b": "self_attn.kv_b_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}
_STACKED = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}
_TOP_OF = {ours: theirs for theirs, ours in _TOP.items()}
_IN_LAYER_OF = {ours: theirs for theirs, ours in _IN_LAYER.items()}
_STACKED_OF = {ours: theirs for theirs, ours in _STACKED.items()}
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def gguf_name(published: str) -> str:
    """What a tensor is called in the file that it goes into as it is.

    >>> gguf_name("model.layers.3.self_attn.q_proj.bias"), gguf_name("lm_head.weight")
    ('blk.3.attn_q.bias', 'output.weight')
    """
    if published in _TOP_OF:
        return _TOP_OF[published]
    _, _, layer, rest = published.split(".", 3)
    kind, _, ending = rest.rpartition(".")
    return f"blk.{layer}.{_IN_LAYER_OF[kind]}.{ending}"


def stacked_name(layer: str, projection: str) -> str:
    """What the tensor is called that holds one matrix of every routed expert of a layer.

    >>> stacked_name("3", "gate_proj")
    'blk.3.ffn_gate_exps.weight'
    """
    return f"blk.{layer}.{_STACKED_OF[projection]}.weight"


def gguf_config(file: GgufFile) -> ModelConfig:
    """The shape that the metadata describes; CheckpointError says what is not supported."""
    kind = file.metadata.get("general.architecture")
    if not isinstance(kind, str) or kind not in _ARCHITECTURES:
        raise CheckpointError(
            f"{file.path}: architecture {str(kind)[:60]} is not supported, only "
            f"{', '.join(_ARCHITECTURES)}"
        )
    settings = Settings(file.metadata, str(file.path), f"{kind}.")
    _refuse_variants(file, settings)
    try:
        return _shape(file, settings, kind)
    except ConfigError as error:
        raise CheckpointError(f"{file.path}: {error}") from None


def _shape(file: GgufFile, settings: Settings, kind: str) -> ModelConfig:
    latent = kind == "deepseek2"
    layers = settings.read_integer("block_count", 1, MAX_LAYERS)
    heads = settings.read_integer("attention.head_count", 1, MAX_HEADS)
    epsilon = settings.read_number("attention.layer_norm_rms_epsilon", 0, 1, 1e-6)
    return ModelConfig(
        vocab_size=_n_rows(file),
        hidden_size=settings.read_integer("embedding_length", 1, MAX_WIDTH),
        intermediate_size=settings.read_integer("feed_forward_length", 1, 4 * MAX_WIDTH),
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=None if latent else _kv_heads(settings, heads),
        head_dim=None
        if latent
        else settings.read_optional_integer("attention.key_length", 2, MAX_WIDTH),
        max_position=settings.read_integer("context_length", 1, MAX_POSITION, 2048),
        # Stored as fp32: 9.99999997e-07 was 1e-6.
        rms_norm_eps=float(f"{epsilon:.6g}"),
        tie_embeddings="output.weight" not in file.tensors,
        attention_bias=kind == "qwen2",
        qk_norm=kind == "qwen3",
        rope=_rope(settings),
        mla=_mla(file, settings) if latent else None,
        moe=_moe(settings, layers) if latent else None,
    )


def _n_rows(file: GgufFile) -> int:
    shape = file.tensors["token_embd.weight"].shape
    if len(shape) != 2 or not 1 <= shape[0] <= MAX_VOCAB:
        raise CheckpointError(f"{file.path}: tensor token_embd.weight has shape {list(shape)}")
    return shape[0]


def _kv_heads(settings: Settings, heads: int) -> int:
    """The key and value heads; newer converters write one number per layer."""
    key = "attention.head_count_kv"
    stated = settings.get(key)
    if isinstance(stated, list):
        if not stated or any(each != stated[0] for each in stated):
            settings.refuse(key, "layers with different numbers of heads are not supported")
        settings = Settings({settings.prefix + key: stated[0]}, settings.where, settings.prefix)
    return settings.read_integer(key, 1, heads, heads)


def _refuse_variants(file: GgufFile, settings: Settings) -> None:
    whole = Settings(file.metadata, settings.where)
    if whole.read_integer("split.count", 0, 1 << 16, 0) > 1:
        raise CheckpointError(
            f"{file.path} is one part of several; join them with llama-gguf-split --merge"
        )
    if "token_embd.weight" not in file.tensors:
        raise CheckpointError(f"{file.path}: tensor token_embd.weight is missing; no model is here")
    if "rope_freqs.weight" in file.tensors:
        raise CheckpointError(f"{file.path}: RoPE with factors per frequency is not supported")
    if settings.prefix != "deepseek2." and settings.read_integer("expert_count", 0, MAX_EXPERTS, 0):
        raise CheckpointError(
            f"{file.path}: experts in architecture {settings.prefix[:-1]} not supported"
        )
    # 1 is softmax; absent means softmax too.
    if settings.get("expert_gating_func") not in (None, 0, 1):
        raise CheckpointError(f"{file.path}: experts are chosen by another function than softmax")


def _rope(settings: Settings) -> RopeConfig:
    theta = settings.read_number("rope.freq_base", 1.01, 1e15, 10_000.0)
    kind = settings.read_text("rope.scaling.type", "none")
    # 0 stands for absent in some converters' files.
    factor = settings.read_number("rope.scaling.factor", 0, 1e6, 1.0) or 1.0
    if kind not in ("none", "linear", "yarn"):
        raise CheckpointError(f"{settings.where}: RoPE scaling {kind[:60]} is not supported")
    if kind == "none" or factor == 1.0:
        return RopeConfig(theta=theta)
    if kind == "linear":
        return RopeConfig(theta=theta, scaling="linear", factor=factor)
    # Only mscale_all_dim is stored (x 0.1); llama.cpp assumes that mscale equals it.
    strength = round(10 * settings.read_number("rope.scaling.yarn_log_multiplier", 0, 10, 0.0), 6)
    return RopeConfig(
        theta=theta,
        scaling="yarn",
        factor=factor,
        original_max_position=settings.read_integer(
            "rope.scaling.original_context_length", 1, MAX_POSITION
        ),
        mscale=strength or 1.0,
        mscale_all_dim=strength,
    )


def _mla(file: GgufFile, settings: Settings) -> MLAConfig:
    rope_dim = settings.read_integer("rope.dimension_count", 2, MAX_WIDTH)
    # Files with k_b and v_b give the sizes of the cache as key_length and value_length.
    split = "attention.key_length_mla" if _has_split_kv_b(file) else "attention.key_length"
    values = "attention.value_length_mla" if _has_split_kv_b(file) else "attention.value_length"
    return MLAConfig(
        kv_lora_rank=settings.read_integer("attention.kv_lora_rank", 1, MAX_WIDTH),
        q_lora_rank=settings.read_integer("attention.q_lora_rank", 0, MAX_WIDTH, 0) or None,
        qk_nope_head_dim=settings.read_integer(split, rope_dim + 1, MAX_WIDTH) - rope_dim,
        qk_rope_head_dim=rope_dim,
        v_head_dim=settings.read_integer(values, 1, MAX_WIDTH),
    )


def _has_split_kv_b(file: GgufFile) -> bool:
    return "blk.0.attn_k_b.weight" in file.tensors


def _moe(settings: Settings, n_layers: int) -> MoEConfig | None:
    experts = settings.read_integer("expert_count", 0, MAX_EXPERTS, 0)
    first_dense = settings.read_integer("leading_dense_block_count", 0, MAX_LAYERS, 0)
    if not experts or first_dense >= n_layers:
        return None
    groups = settings.read_integer("expert_group_count", 0, experts, 0) or 1
    return MoEConfig(
        n_routed_experts=experts,
        n_shared_experts=settings.read_integer("expert_shared_count", 0, MAX_EXPERTS, 0),
        n_experts_per_token=settings.read_integer("expert_used_count", 1, experts),
        moe_intermediate_size=settings.read_integer("expert_feed_forward_length", 1, MAX_WIDTH),
        first_k_dense_replace=first_dense,
        topk_method="group_limited_greedy" if groups > 1 else "greedy",
        n_group=groups,
        topk_group=settings.read_integer("expert_group_used_count", 0, groups, 0) or 1,
        routed_scaling_factor=settings.read_number("expert_weights_scale", 1e-6, 1e6, 1.0),
        norm_topk_prob=settings.read_flag("expert_weights_norm"),
    )


@dataclass(frozen=True)
class _KvB:
    """kv_b, whose rows are per head [k_nope | v], from the two tensors that it was split into."""

    name: str
    k_b: GgufTensor
    v_b: GgufTensor

    @property
    def shape(self) -> tuple[int, ...]:
        heads, latent, nope = self.k_b.shape
        return (heads * (nope + self.v_b.shape[1]), latent)

    @property
    def dtype(self) -> torch.dtype:
        return self.k_b.dtype

    @property
    def where(self) -> str:
        return self.k_b.where

    def map_as(self, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        return None

    def copy_into(self, out: Tensor) -> None:
        heads, latent, nope = self.k_b.shape
        rows = out.view(heads, -1, latent)
        rows[:, :nope] = self.k_b.numbers().transpose(1, 2)
        rows[:, nope:] = self.v_b.numbers()


def gguf_tensors(file: GgufFile, config: ModelConfig) -> Iterator[GgufTensor | _KvB]:
    """Every tensor under its published name, as the published checkpoint has it."""
    permuted = {"attn_q": config.n_heads, "attn_k": config.kv_heads}
    if file.metadata["general.architecture"] != "llama":
        permuted = {}
    for name, tensor in file.tensors.items():
        if name in _TOP:
            yield replace(tensor, name=_TOP[name])
            continue
        layer, kind, ending = _split(name, file)
        prefix = f"model.layers.{layer}."
        if kind == "attn_k_b":
            yield _join_kv_b(tensor, f"{prefix}self_attn.kv_b_proj.weight", file)
        elif kind in _STACKED:
            yield from _experts(tensor, f"{prefix}mlp.experts.", _STACKED[kind])
        elif kind != "attn_v_b":
            rows = None
            if kind in permuted and ending == "weight":
                rows = _rows_of(tensor, permuted[kind])
            yield replace(tensor, name=f"{prefix}{_IN_LAYER[kind]}.{ending}", rows=rows)


def _join_kv_b(k_b: GgufTensor, name: str, file: GgufFile) -> _KvB:
    v_b = file.tensors.get(k_b.name.replace("attn_k_b", "attn_v_b"))
    if v_b is None:
        raise CheckpointError(f"{k_b.path}: tensor {k_b.name} has no attn_v_b beside it")
    if len(k_b.shape) != 3 or len(v_b.shape) != 3 or v_b.shape[0::2] != k_b.shape[:2]:
        raise CheckpointError(
            f"{k_b.path}: tensor {k_b.name} of shape {list(k_b.shape)} does not fit "
            f"attn_v_b of shape {list(v_b.shape)}"
        )
    return _KvB(name, k_b, v_b)


def _experts(tensor: GgufTensor, prefix: str, kind: str) -> list[GgufTensor]:
    if len(tensor.shape) != 3 or tensor.shape[0] > MAX_EXPERTS:
        raise CheckpointError(
            f"{tensor.path}: tensor {tensor.name} has shape {list(tensor.shape)}, but must have "
            "one matrix per expert"
        )
    return tensor.slices([f"{prefix}{i}.{kind}.weight" for i in range(tensor.shape[0])])


def _rows_of(tensor: GgufTensor, n_heads: int) -> Tensor:
    if len(tensor.shape) != 2 or tensor.shape[0] % (2 * n_heads):
        raise CheckpointError(
            f"{tensor.path}: tensor {tensor.name} has shape {list(tensor.shape)}, whose rows do "
            f"not divide into {n_heads} heads"
        )
    return interleaved_rows(tensor.shape[0], n_heads)


def _split(name: str, file: GgufFile) -> tuple[str, str, str]:
    match = _LAYER.fullmatch(name)
    known = {*_IN_LAYER, *_STACKED, "attn_k_b", "attn_v_b"}
    if match is None or match[2] not in known:
        raise CheckpointError(f"{file.path}: tensor {name} does not belong to the model")
    return match[1], match[2], match[3]


def interleaved_rows(n_rows: int, n_heads: int) -> Tensor:
    """Where stored row r belongs: row (head, i, half) of the file is (head, half, i) of the model.

    So `model[interleaved_rows(...)]` is what the file holds.

    >>> interleaved_rows(4, 1).tolist()
    [0, 2, 1, 3]
    """
    half = n_rows // n_heads // 2
    return torch.arange(n_rows).view(n_heads, 2, half).transpose(1, 2).flatten()
