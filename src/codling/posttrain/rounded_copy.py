"""A copy of a model in 8 bits that follows it while it is trained, so that answers come faster.

Input: a model, perhaps with LoRA beside its linear layers. Output: the same model with packed
matrices in which LoRA is merged, for the compiled loop (engine/decoder_cpu.py). `follow` rounds
what has been trained since; matrices that are frozen are rounded once. Norms, biases, routers and
an embedding of its own are the trained model's very parameters.

Not here: sampling (rollout.py), the rounding (model/packed/quantize.py).
"""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codling.core.threads import available_cores
from codling.model.config import ModelConfig
from codling.model.moe import Experts
from codling.model.packed.convert import is_packable, replace_module, set_head
from codling.model.packed.linear import PackedExperts, PackedLinear
from codling.model.packed.matrix import Arena, PackedMatrix
from codling.model.packed.quantize import allocate_bits, put_floats
from codling.model.sizes import sizes
from codling.model.transformer import Transformer
from codling.posttrain.lora import LoraLinear


def rounded_bytes(config: ModelConfig) -> int:
    """What the copy of a model of this shape takes: a byte per number, and a scale for 32."""
    return sizes(config).total * 34 // 32


@dataclass(frozen=True)
class _Link:
    """What a trained module has to hand over."""

    is_trained: bool
    hand_over: Callable[[], None]


class RoundedCopy:
    """The model in 8 bits, `model`, and the way back to the one that is trained."""

    def __init__(self, source: Transformer) -> None:
        """Rounds all matrices once; `source` is on a CPU and is left as it is."""
        # Parameters are not copied: those of what stays float go on being the source's.
        memo = {id(parameter): parameter for parameter in source.parameters()}
        self.model: Transformer = copy.deepcopy(source, memo)
        self._memory = Arena()
        links = list(self._replace(source))
        self._round(links)
        self._links = [link for link in links if link.is_trained]

    def follow(self) -> None:
        """Take over what `source` has learned."""
        self._round(self._links)

    def _round(self, links: list[_Link]) -> None:
        with ThreadPoolExecutor(min(available_cores(), torch.get_num_threads())) as pool:
            list(pool.map(lambda link: link.hand_over(), links))

    def _replace(self, source: Transformer) -> Iterator[_Link]:
        """Put what computes in 8 bits into the copy."""
        for name, module in list(source.named_modules()):
            if isinstance(module, Experts):
                packed = _allocate_experts(module, self._memory)
                replace_module(self.model, name, PackedExperts(packed))
                yield _link_experts(module, packed)
            elif is_packable(name, module) and name != "lm_head":
                assert isinstance(module, nn.Linear)
                matrix = _allocate(module.weight, self._memory)
                replace_module(self.model, name, PackedLinear(matrix, module.bias))
                yield _link_matrix(module, matrix)
            elif isinstance(module, LoraLinear):
                merged = nn.Linear(module.in_features, module.out_features, bias=False)
                merged.requires_grad_(False).bias = module.bias
                replace_module(self.model, name, merged)
                yield _link_floats(module, merged.weight)
        head = _allocate(source.lm_head.weight, self._memory)
        set_head(self.model, head, source.norm.weight.dtype)
        yield _link_matrix(source.lm_head, head)


def _allocate(weight: Tensor, memory: Arena) -> PackedMatrix:
    n_rows, n_columns = weight.shape
    return allocate_bits(n_rows, n_columns, 8, memory)


def _allocate_experts(
    experts: Experts, memory: Arena
) -> list[tuple[PackedMatrix, PackedMatrix, PackedMatrix]]:
    """Gate, up and down of each."""
    pairs = zip(experts.gate_up_proj, experts.down_proj, strict=True)
    return [
        (
            _allocate(gate_up.chunk(2)[0], memory),
            _allocate(gate_up.chunk(2)[1], memory),
            _allocate(down, memory),
        )
        for gate_up, down in pairs
    ]


def _link_matrix(linear: nn.Linear, matrix: PackedMatrix) -> _Link:
    return _Link(_is_trained(linear), lambda: _put(matrix, _weight_of(linear)))


def _link_floats(linear: LoraLinear, weight: Tensor) -> _Link:
    return _Link(_is_trained(linear), lambda: _copy(weight, _weight_of(linear)))


def _link_experts(
    experts: Experts, packed: list[tuple[PackedMatrix, PackedMatrix, PackedMatrix]]
) -> _Link:
    def hand_over() -> None:
        for i, (gate, up, down) in enumerate(packed):
            for matrix, part in zip((gate, up), experts.gate_up_proj[i].chunk(2), strict=True):
                _put(matrix, part)
            _put(down, experts.down_proj[i])

    return _Link(_is_trained(experts), hand_over)


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


@torch.no_grad()
def _weight_of(linear: nn.Linear) -> Tensor:
    return linear.merge() if isinstance(linear, LoraLinear) else linear.weight


@torch.no_grad()
def _put(matrix: PackedMatrix, weight: Tensor) -> None:
    put_floats(matrix, 0, weight.float().contiguous().numpy())


@torch.no_grad()
def _copy(target: Tensor, weight: Tensor) -> None:
    target.copy_(weight)
