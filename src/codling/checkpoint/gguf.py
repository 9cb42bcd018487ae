"""Loading models from GGUF files: architectures llama, qwen2 and deepseek2.

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
from typing import Any

import torch
from torch import Tensor

from codling.checkpoint.gguf_file import GgufFile, GgufTensor
from codling.core.errors import CheckpointError
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig

_ARCHITECTURES = ("llama", "qwen2", "deepseek2")
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
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


class _Settings:
    """The metadata of one architecture, whose keys start with its name."""

    def __init__(self, file: GgufFile) -> None:
        self.metadata, self.path = file.metadata, file.path
        self.kind = str(file.metadata.get("general.architecture"))

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        return self.metadata.get(f"{self.kind}.{key}", default)

    def number(self, key: str) -> int:
        value = self.get(key)
        if not isinstance(value, int):
            raise CheckpointError(
                f"{self.path}: {self.kind}.{key} is {value!r}, not a whole number"
            )
        return value


def gguf_config(file: GgufFile) -> ModelConfig:
    """The shape that the metadata describes; CheckpointError says what is not supported."""
    settings = _Settings(file)
    _refuse_variants(file, settings)
    latent = settings.kind == "deepseek2"
    heads = settings.number("attention.head_count")
    head_dim = settings.get("attention.key_length")
    return ModelConfig(
        vocab_size=file.tensors["token_embd.weight"].shape[0],
        hidden_size=settings.number("embedding_length"),
        intermediate_size=settings.number("feed_forward_length"),
        n_layers=settings.number("block_count"),
        n_heads=heads,
        n_kv_heads=None if latent else settings.get("attention.head_count_kv", heads),
        head_dim=None if latent else head_dim,
        max_position=settings.get("context_length", 2048),
        # Stored as fp32: 9.99999997e-07 was 1e-6.
        rms_norm_eps=float(f"{settings.get('attention.layer_norm_rms_epsilon', 1e-6):.6g}"),
        tie_embeddings="output.weight" not in file.tensors,
        attention_bias=settings.kind == "qwen2",
        rope=_rope(settings),
        mla=_mla(file, settings) if latent else None,
        moe=_moe(settings) if latent else None,
    )


def _refuse_variants(file: GgufFile, settings: _Settings) -> None:
    if settings.kind not in _ARCHITECTURES:
        raise CheckpointError(
            f"{file.path}: architecture {settings.kind} is not supported, only "
            f"{', '.join(_ARCHITECTURES)}"
        )
    if file.metadata.get("split.count", 0) > 1:
        raise CheckpointError(
            f"{file.path} is one part of several; join them with llama-gguf-split --merge"
        )
    if "token_embd.weight" not in file.tensors:
        raise CheckpointError(f"{file.path}: tensor token_embd.weight is missing; no model is here")
    if "rope_freqs.weight" in file.tensors:
        raise CheckpointError(f"{file.path}: RoPE with factors per frequency is not supported")
    if settings.kind != "deepseek2" and settings.get("expert_count", 0):
        raise CheckpointError(f"{file.path}: experts in architecture {settings.kind} not supported")
    # 1 is softmax; absent means softmax too.
    if settings.get("expert_gating_func", 1) not in (0, 1):
        raise CheckpointError(f"{file.path}: experts are chosen by another function than softmax")


def _rope(settings: _Settings) -> RopeConfig:
    theta = float(settings.get("rope.freq_base", 10_000.0))
    kind = settings.get("rope.scaling.type", "none")
    factor = float(settings.get("rope.scaling.factor", 1.0))
    if kind not in ("none", "linear", "yarn"):
        raise CheckpointError(f"{settings.path}: RoPE scaling {kind} is not supported")
    if kind == "none" or factor == 1.0:
        return RopeConfig(theta=theta)
    if kind == "linear":
        return RopeConfig(theta=theta, scaling="linear", factor=factor)
    # Only mscale_all_dim is stored (x 0.1); llama.cpp assumes that mscale equals it.
    strength = round(10 * float(settings.get("rope.scaling.yarn_log_multiplier", 0.0)), 6)
    return RopeConfig(
        theta=theta,
        scaling="yarn",
        factor=factor,
        original_max_position=settings.number("rope.scaling.original_context_length"),
        mscale=strength or 1.0,
        mscale_all_dim=strength,
    )


def _mla(file: GgufFile, settings: _Settings) -> MLAConfig:
    rope_dim = settings.number("rope.dimension_count")
    # Files with k_b and v_b give the sizes of the cache as key_length and value_length.
    split = "attention.key_length_mla" if _has_split_kv_b(file) else "attention.key_length"
    values = "attention.value_length_mla" if _has_split_kv_b(file) else "attention.value_length"
    return MLAConfig(
        kv_lora_rank=settings.number("attention.kv_lora_rank"),
        q_lora_rank=settings.get("attention.q_lora_rank") or None,
        qk_nope_head_dim=settings.number(split) - rope_dim,
        qk_rope_head_dim=rope_dim,
        v_head_dim=settings.number(values),
    )


def _has_split_kv_b(file: GgufFile) -> bool:
    return "blk.0.attn_k_b.weight" in file.tensors


def _moe(settings: _Settings) -> MoEConfig | None:
    if not settings.get("expert_count", 0):
        return None
    groups = settings.get("expert_group_count", 0) or 1
    return MoEConfig(
        n_routed_experts=settings.number("expert_count"),
        n_shared_experts=settings.get("expert_shared_count", 0),
        n_experts_per_token=settings.number("expert_used_count"),
        moe_intermediate_size=settings.number("expert_feed_forward_length"),
        first_k_dense_replace=settings.get("leading_dense_block_count", 0),
        topk_method="group_limited_greedy" if groups > 1 else "greedy",
        n_group=groups,
        topk_group=settings.get("expert_group_used_count", 0) or 1,
        routed_scaling_factor=float(settings.get("expert_weights_scale", 1.0)),
        norm_topk_prob=bool(settings.get("expert_weights_norm", False)),
    )


@dataclass(frozen=True)
class _JoinedKvB:
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

    def mapped(self, dtype: torch.dtype) -> Tensor | None:  # noqa: ARG002
        return None

    def copy_into(self, out: Tensor) -> None:
        heads, latent, nope = self.k_b.shape
        rows = out.view(heads, -1, latent)
        rows[:, :nope] = self.k_b.numbers().transpose(1, 2)
        rows[:, nope:] = self.v_b.numbers()


def gguf_tensors(file: GgufFile, config: ModelConfig) -> Iterator[GgufTensor | _JoinedKvB]:
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
            values = file.tensors.get(name.replace("attn_k_b", "attn_v_b"))
            if values is None:
                raise CheckpointError(f"{file.path}: tensor {name} has no attn_v_b beside it")
            yield _JoinedKvB(f"{prefix}self_attn.kv_b_proj.weight", tensor, values)
        elif kind in _STACKED:
            names = [
                f"{prefix}mlp.experts.{i}.{_STACKED[kind]}.weight" for i in range(tensor.shape[0])
            ]
            yield from tensor.slices(names)
        elif kind != "attn_v_b":
            rows = _unpermuted(tensor.shape[0], permuted[kind]) if kind in permuted else None
            yield replace(tensor, name=f"{prefix}{_IN_LAYER[kind]}.{ending}", rows=rows)


def _split(name: str, file: GgufFile) -> tuple[str, str, str]:
    match = _LAYER.fullmatch(name)
    known = {*_IN_LAYER, *_STACKED, "attn_k_b", "attn_v_b"}
    if match is None or match[2] not in known:
        raise CheckpointError(f"{file.path}: tensor {name} has no place in the model")
    return match[1], match[2], match[3]


def _unpermuted(n_rows: int, n_heads: int) -> Tensor:
    """Where stored row r belongs: row (head, i, half) of the file is (head, half, i) of the model.

    >>> _unpermuted(4, 1).tolist()
    [0, 2, 1, 3]
    """
    half = n_rows // n_heads // 2
    return torch.arange(n_rows).view(n_heads, 2, half).transpose(1, 2).flatten()
