"""LoRA (arXiv:2106.09685): a frozen model with small trainable matrices beside its linear layers.

Input: a model. Output: the same model, in which every linear layer of the blocks computes
W x + scale x B A x; W is frozen and may be bf16, A and B are trained. A is drawn from a generator,
B is zero, so that the model is unchanged at first.

    q k v o, gate up down    of dense models
    q_a q_b kv_a kv_b o      of latent attention

In models with routed experts all MLPs and the router stay frozen: an expert sees few tokens of a
small repository, and peft 0.21 takes the names gate_proj, up_proj and down_proj of such a model for
its stacked experts, wherever they are.

Not here: files and merging (checkpoint/adapter.py), and the loop (train/trainer.py).

Legend: R rank, I inputs, O outputs.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codling.checkpoint.names import published_name
from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer


class LoraLinear(nn.Linear):
    """A frozen linear layer and what is learned beside it: W x + b + scale x B (A x)."""

    def __init__(
        self, linear: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        """Takes over the weights of `linear`; A is uniform as in peft, within 1/sqrt(inputs)."""
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, "meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        bound = 1 / math.sqrt(linear.in_features)
        a_RI = torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)
        device = linear.weight.device
        self.lora_A = nn.Parameter(a_RI.to(device))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """[..., O]."""
        out = F.linear(x, self.weight, self.bias)
        inner_NR = F.linear(x, self.lora_A).reshape(-1, len(self.lora_A))
        # The product adds to what is there: no pass over the outputs for scale and sum.
        out_NO = torch.addmm(
            out.reshape(-1, self.out_features), inner_NR, self.lora_B.t(), alpha=self.scale
        )
        return out_NO.view_as(out)

    def merge(self) -> Tensor:
        """W + scale x B A in fp32, [O, I]."""
        return torch.addmm(
            self.weight.float(), self.lora_B.float(), self.lora_A.float(), alpha=self.scale
        )


def add_lora(
    model: Transformer, rank: int, alpha: float, generator: torch.Generator
) -> list[LoraLinear]:
    """Freeze the model and put LoRA beside the linear layers of its blocks, in their order."""
    if rank < 1 or alpha <= 0:
        raise ConfigError(f"rank is {rank} and alpha {alpha:g}; both must be positive")
    model.requires_grad_(False)
    added = []
    for name, linear in list(_linears(model)):
        layer = LoraLinear(linear, rank, alpha, generator)
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, layer)
        added.append(layer)
    return added


def matrices(model: Transformer) -> Mapping[str, tuple[Tensor, Tensor]]:
    """A and B of every adapted layer, by its published name without ".weight"."""
    return {
        published_name(name): (layer.lora_A, layer.lora_B)
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLinear)
    }


def n_lora_parameters(config: ModelConfig, rank: int) -> int:
    """How many parameters LoRA of this rank trains: rank x (inputs + outputs) of every layer."""
    with torch.device("meta"):
        model = Transformer(config)
    return sum(rank * (each.in_features + each.out_features) for _, each in _linears(model))


def _linears(model: Transformer) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers that are adapted; the output matrix is not among them."""
    for name, module in model.layers.named_modules(prefix="layers"):
        in_attention = ".self_attn." in name
        if isinstance(module, nn.Linear) and (in_attention or model.config.moe is None):
            yield name, module
