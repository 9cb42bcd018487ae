"""Gradient checkpointing: the same losses and gradients, from fewer kept numbers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from codling.model.config import ModelConfig, MoEConfig
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig
from codling.train.step import LossStep
from posttrain.tiny_base import LATENT, SHAPE

EXPERTS = replace(
    LATENT, moe=MoEConfig(n_routed_experts=4, n_experts_per_token=2, moe_intermediate_size=16)
)


def learn(shape: ModelConfig, *, recompute: bool) -> tuple[Tensor, list[Tensor], int, int]:
    """The loss and gradients of one batch, the bytes kept and the passes through blocks."""
    model = Transformer(shape, torch.Generator().manual_seed(0)).train()
    model.recompute = recompute
    passes, kept = [], []
    for block in model.layers:
        block.register_forward_pre_hook(lambda *_: passes.append(1))

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    ids = torch.randint(0, shape.vocab_size, (2, 33), generator=torch.Generator().manual_seed(1))
    documents = torch.ones(2, 32, dtype=torch.int64)
    documents[:, 20:] = 2
    step = LossStep(model, compiled=False, experts=ExpertsConfig(expert_alpha=0.01))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step.loss(ids[:, :-1], ids[:, 1:], documents)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return loss.detach(), gradients, sum(kept), len(passes)


@pytest.mark.parametrize("shape", [SHAPE, LATENT, EXPERTS], ids=["dense", "latent", "experts"])
def test_what_is_computed_again_gives_the_same_gradients(shape: ModelConfig) -> None:
    loss, gradients, kept, passes = learn(shape, recompute=False)
    same, others, kept_less, more_passes = learn(shape, recompute=True)
    assert torch.equal(same, loss)
    assert len(others) == len(gradients)
    for other, own in zip(others, gradients, strict=True):
        torch.testing.assert_close(other, own, atol=0, rtol=0)
    assert (passes, more_passes) == (shape.n_layers, 2 * shape.n_layers)
    assert kept_less < kept / 2


def test_nothing_is_computed_again_without_gradients() -> None:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    model.recompute = True
    passes: list[int] = []
    for block in model.layers:
        block.register_forward_pre_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        model(torch.zeros(1, 4, dtype=torch.int64))
    assert len(passes) == SHAPE.n_layers
