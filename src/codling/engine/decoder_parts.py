"""What the compiled loops are told of a model: tables of its matrices, its vectors, scratch memory.

Input: a model. Output: arrays. Float parameters become views of memory from numpy, so that nothing
is held twice; packed matrices stay where they are.

Shapes: as in kernels/decode_cpu.py and kernels/decode_experts.py. Not here: threads and steps
(decoder_cpu.py).
"""

from math import gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codling.engine.kernels import decode_cpu as kernels
from codling.engine.kernels.attention import new_room
from codling.model.config import ModelConfig
from codling.model.moe import Experts, MoE
from codling.model.packed.kernels import ENTRY, entry_of, new_activations, new_scratch
from codling.model.packed.linear import PackedExperts, PackedLinear
from codling.model.packed.matrix import LANES, TOP
from codling.model.packed.tile_ir import GROUP
from codling.model.transformer import Transformer

Array = np.ndarray[Any, Any]
_NONE = [0] * ENTRY
"""In the place of a matrix that a layer does not have."""


class Tables:
    """The numbers of all matrices, and their memory."""

    def __init__(self, model: Transformer) -> None:
        self.kept: list[Array] = []
        """Arrays whose addresses are in the tables."""
        config = model.config
        rows = [self._layer(block) for block in model.layers]
        head = self._entry(model.lm_head)
        model.tie()
        rows.append([head, *[_NONE] * (len(rows[0]) - 1)])
        self.entries = np.array(rows, dtype=np.int64)
        """[N + 1, 8, ENTRY]: q, k, v, o, or for latent attention the queries or their compression,
        its expansion, latents, o; gate, up, down; kv_b. The output matrix is the first of the last
        row."""
        experts = [self._experts(block.mlp) for block in model.layers]
        n_experts = config.moe.n_routed_experts if config.moe else 0
        none = [[_NONE] * 3] * n_experts
        table = np.array([each or none for each in experts], dtype=np.int64)
        self.experts = table.reshape(len(experts), n_experts, 3, ENTRY)
        """[N, X, 3, ENTRY]: gate, up and down."""
        self.is_moe = np.array([bool(each) for each in experts], dtype=np.int64)

    def _layer(self, block: Any) -> list[list[int]]:  # noqa: ANN401 -- its parts have many types
        attention, mlp = block.self_attn, block.mlp
        if hasattr(attention, "kv_b_proj"):
            compressed = hasattr(attention, "q_b_proj")
            first = attention.q_a_proj if compressed else attention.q_proj
            second = attention.q_b_proj if compressed else None
            linears = [first, second, attention.kv_a_proj_with_mqa, attention.o_proj]
            last = attention.kv_b_proj
        else:
            linears = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
            last = None
        dense = mlp.shared_experts if isinstance(mlp, MoE) else mlp
        linears += (
            [None] * 3 if dense is None else [dense.gate_proj, dense.up_proj, dense.down_proj]
        )
        return [_NONE if each is None else self._entry(each) for each in (*linears, last)]

    def _entry(self, linear: nn.Module) -> list[int]:
        if isinstance(linear, PackedLinear):
            matrix = linear.matrix
            self.kept += [matrix.codes, matrix.scales, matrix.tops]
            return entry_of(matrix)
        assert isinstance(linear, nn.Linear)
        return self._floats(self._move(linear.weight))

    def _experts(self, mlp: object) -> list[list[list[int]]]:
        """[X, 3, ENTRY], or nothing for a dense layer."""
        if not isinstance(mlp, MoE):
            return []
        experts = mlp.experts
        if isinstance(experts, PackedExperts):
            for matrix in (matrix for each in experts.experts for matrix in each):
                self.kept += [matrix.codes, matrix.scales, matrix.tops]
            return [[entry_of(matrix) for matrix in each] for each in experts.experts]
        assert isinstance(experts, Experts)
        gate_up, down = self._move(experts.gate_up_proj), self._move(experts.down_proj)
        width = gate_up.shape[1] // 2
        return [
            [self._floats(both[:width]), self._floats(both[width:]), self._floats(back)]
            for both, back in zip(gate_up, down, strict=True)
        ]

    def _move(self, weight: Tensor) -> Array:
        """The same numbers in memory from numpy, of which the parameter becomes a view."""
        moved = _zeros(tuple(weight.shape), weight.dtype)
        moved.copy_(weight.detach())
        weight.data = moved
        self.kept.append(to_array(moved))
        return self.kept[-1]

    def _floats(self, matrix: Array) -> list[int]:
        kind = kernels.FLOAT32 if matrix.dtype == np.float32 else kernels.BFLOAT16
        return [kind, *matrix.shape, 0, matrix.ctypes.data, *([0] * (ENTRY - 5))]


def needs_experts_loop(config: ModelConfig) -> bool:
    """Whether a model has latent attention or experts, which decode_cpu.py does not know."""
    return config.mla is not None or config.moe is not None


def dense_parts(model: Transformer, tables: Tables) -> tuple[Any, Any, Any]:
    """Shape, tables and vectors for decode_cpu.decode: biases [N, X] and norms [N, 2, D] of
    queries, keys and values; norms [N, 2, E] and [E]."""
    heads, (scale, head_unit) = _heads(model.config), _scale_and_unit(model.config)
    return (*heads, scale, head_unit), tables.entries, _vectors(model)


def expert_parts(model: Transformer, tables: Tables) -> tuple[Any, Any, Any]:
    """The same for decode_experts.decode_experts."""
    config = model.config
    mla, moe = config.mla, config.moe
    sizes, routing = (0,) * 6, (0,) * 6
    factor = np.float32(moe.routed_scaling_factor if moe else 1)
    if mla is not None:
        sizes = (
            config.n_heads, mla.qk_nope_head_dim, mla.qk_rope_head_dim, mla.v_head_dim,
            mla.kv_lora_rank, mla.q_lora_rank or 0,
        )  # fmt: skip
    if moe is not None:
        n_group = moe.n_group if moe.topk_method == "group_limited_greedy" else 0
        routing = (
            moe.n_routed_experts, moe.n_experts_per_token, n_group, moe.topk_group,
            int(moe.selection_bias), int(moe.norm_topk_prob),
        )  # fmt: skip
    rest = (*_scale_and_unit(config), int(mla is not None))
    shape = (_heads(config), sizes, (*routing, factor), rest)
    weights = (*_vectors(model), _latent_norms(model), _routers(model))
    return shape, (tables.entries, tables.experts, tables.is_moe), weights


def _heads(config: ModelConfig) -> tuple[int, int, int, float]:
    return config.n_heads, config.kv_heads, config.head_size, float(config.rms_norm_eps)


def _scale_and_unit(config: ModelConfig) -> tuple[Any, int]:
    return np.float32(config.softmax_scale), LANES // gcd(LANES, config.head_size)


def _vectors(model: Transformer) -> tuple[Any, Any]:
    config = model.config
    attentions: list[Any] = [block.self_attn for block in model.layers]
    width = (config.n_heads + 2 * config.kv_heads) * config.head_size
    bias_NX = torch.zeros(config.n_layers, 0 if config.mla else width)
    if config.attention_bias and config.mla is None:
        biases = [[p.bias for p in (a.q_proj, a.k_proj, a.v_proj)] for a in attentions]
        bias_NX = torch.stack([torch.cat([b.float() for b in row]) for row in biases])
    norms = [
        torch.stack([b.input_layernorm.weight, b.post_attention_layernorm.weight])  # type: ignore[list-item,union-attr]
        for b in model.layers
    ]
    return (
        (to_array(bias_NX), _norms_of_heads(config, attentions)),
        (to_array(torch.stack(norms).float()), to_array(model.norm.weight.float())),
    )


def _norms_of_heads(config: ModelConfig, attentions: list[Any]) -> Array:
    """Weights of the norms of queries and keys, [N, 2, D]; [N, 0, D] where there are none."""
    if not config.qk_norm:
        return to_array(torch.empty(config.n_layers, 0, config.head_size))
    pairs = [torch.stack([a.q_norm.weight, a.k_norm.weight]) for a in attentions]
    return to_array(torch.stack(pairs).float())


def _latent_norms(model: Transformer) -> tuple[Array, Array]:
    """Weights of the norms of compressed queries [N, J] and latents [N, C]; empty without."""
    attentions: list[Any] = [block.self_attn for block in model.layers]
    return tuple(  # type: ignore[return-value]
        to_array(torch.stack([getattr(a, name).weight for a in attentions]).float())
        if hasattr(attentions[0], name)
        else np.zeros((len(attentions), 0), dtype=np.float32)
        for name in ("q_a_layernorm", "kv_a_layernorm")
    )


def _routers(model: Transformer) -> tuple[Array, Array]:
    """Routers [N, X, E] and what is added for the choice [N, X]; zeros for dense layers."""
    config = model.config
    n_experts = config.moe.n_routed_experts if config.moe else 0
    routers = np.zeros((config.n_layers, n_experts, config.hidden_size), dtype=np.float32)
    biases = np.zeros((config.n_layers, n_experts), dtype=np.float32)
    for layer, block in enumerate(model.layers):
        mlp: Any = block.mlp
        if isinstance(mlp, MoE):
            routers[layer] = to_array(mlp.gate.weight.float())
            if config.moe and config.moe.selection_bias:
                biases[layer] = to_array(mlp.gate.e_score_correction_bias.float())
    return routers, biases


def new_rooms(
    config: ModelConfig, n_rows: int, n_threads: int, max_length: int
) -> tuple[Any, Any, Any]:
    """Memory that all threads share, that each has for itself, and for rounded activations."""
    moe = config.moe
    n_items = n_rows * (moe.n_experts_per_token if moe else 0)
    shared = _shared_rooms(config, n_rows, n_items)
    n_groups = -(-max(array.shape[1] for array in shared) // TOP) * (TOP // GROUP)
    works = tuple(
        (
            *_activations(kernels.FEW, n_groups),
            np.zeros(n_rows * config.hidden_size, dtype=np.float32),
            (np.zeros(max_length, dtype=np.float32), new_room(config.head_size)),
            new_scratch(n_groups),
            *(_own_rooms(config, n_rows, n_items) if needs_experts_loop(config) else ()),
        )
        for _ in range(n_threads)
    )
    return shared, works, _activations(max(n_rows, n_items), n_groups)


def _shared_rooms(config: ModelConfig, n_rows: int, n_items: int) -> tuple[Array, ...]:
    """For each token: itself; queries, keys and values; attention; latents and compressed queries;
    gate and up. For experts: scores; gate, up and down of each item; gate and up of the shared."""
    mla, moe, heads = config.mla, config.moe, config.n_heads
    qkv, att = (heads + 2 * config.kv_heads) * config.head_size, heads * config.head_size
    latent: tuple[int, ...] = ()
    if mla is not None:
        qkv, att = heads * mla.qk_head_dim, heads * mla.v_head_dim
    if needs_experts_loop(config):
        latent = _latent_widths(config)
    inner = (config.intermediate_size,) * 2
    rooms = [_zeros_of(n_rows, n) for n in (config.hidden_size, qkv, att, *latent, *inner)]
    if needs_experts_loop(config):
        width, n_shared = (moe.moe_intermediate_size, moe.n_shared_experts) if moe else (0, 0)
        rooms.append(_zeros_of(n_rows, moe.n_routed_experts if moe else 0))
        rooms += [_zeros_of(n_items, n) for n in (width, width, config.hidden_size)]
        rooms += [_zeros_of(n_rows, width * n_shared) for _ in range(2)]
    return tuple(rooms)


def _own_rooms(config: ModelConfig, n_rows: int, n_items: int) -> tuple[Any, ...]:
    """For each thread: a query in the latent space; compressed queries; scores of a token, twice;
    experts and weights of all tokens; items; and the tokens of one expert, as floats and bytes."""
    moe = config.moe
    n_experts, n_chosen = (moe.n_routed_experts, moe.n_experts_per_token) if moe else (0, 0)
    n_groups = -(-config.hidden_size // TOP) * (TOP // GROUP)
    latent, compressed = _latent_widths(config)
    return (
        np.zeros(latent, dtype=np.float32),
        np.zeros(n_rows * compressed, dtype=np.float32),
        _zeros_of(2, n_experts),
        np.zeros((n_rows, n_chosen), dtype=np.int64),
        _zeros_of(n_rows, n_chosen),
        np.zeros((n_items, 3), dtype=np.int64),
        (np.zeros(n_rows * config.hidden_size, np.float32), *_activations(n_rows, n_groups)),
    )


def _latent_widths(config: ModelConfig) -> tuple[int, int]:
    """Of latents with the rotated key, and of compressed queries."""
    mla = config.mla
    if mla is None:
        return 0, 0
    return mla.kv_lora_rank + mla.qk_rope_head_dim, mla.q_lora_rank or 0


def _activations(n_tokens: int, n_groups: int) -> tuple[Array, Array]:
    bytes_RM, factors_RF = new_activations(n_tokens, n_groups)
    return bytes_RM.reshape(-1), factors_RF.reshape(-1)


def _zeros_of(n_rows: int, width: int) -> Array:
    return np.zeros((n_rows, width), dtype=np.float32)


def to_array(tensor: Tensor) -> Array:
    """The same memory as a numpy array; bfloat16 as its bits."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    array: Array = tensor.numpy()
    return array


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in memory from numpy: not touched before use, and in huge pages where Linux has them.

    Reading a model's weights from huge pages is up to three times as fast as from torch's.
    """
    kinds = {torch.float32: np.float32, torch.bfloat16: np.uint16}
    return torch.from_numpy(np.zeros(shape, dtype=kinds[dtype])).view(dtype)
