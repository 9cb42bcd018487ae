"""LoRA in training equals merged weights: the same logits, and gradients by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from codling.checkpoint.adapter import Adapter, LowRank, merge
from codling.model.config import ModelConfig, MoEConfig
from codling.model.transformer import Transformer
from codling.posttrain.lora import LoraLinear, add_lora, matrices, n_lora_parameters
from posttrain.tiny_base import LATENT

DENSE = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=64,
    init_std=0.2,
)
QWEN = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=64,
    init_std=0.2,
    tie_embeddings=True,
    attention_bias=True,
)
V2 = replace(
    LATENT,
    moe=MoEConfig(
        n_routed_experts=8, n_shared_experts=2, n_experts_per_token=3, moe_intermediate_size=16
    ),
)
SHAPES = [pytest.param(s, id=i) for s, i in ((DENSE, "llama"), (QWEN, "qwen2"), (V2, "v2"))]
TOKENS = torch.arange(40).reshape(1, 40) % 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(config: ModelConfig) -> Transformer:
    return Transformer(config, generator()).eval()


def trained(config: ModelConfig, rank: int = 4, alpha: float = 8.0) -> Transformer:
    """A model whose matrices B are as if something had been learned."""
    model = make(config)
    for layer in add_lora(model, rank, alpha, generator(1)):
        layer.lora_B.data.normal_(0, 0.1, generator=generator(2))
    return model


@torch.no_grad()
def logits(model: Transformer) -> torch.Tensor:
    return model.logits(model(TOKENS))


def test_a_layer_by_hand() -> None:
    layer = LoraLinear(torch.nn.Linear(2, 1, bias=False), 1, 2.0, generator())
    layer.weight.data = torch.tensor([[1.0, 10.0]])
    layer.lora_A.data = torch.tensor([[3.0, 0.0]])
    layer.lora_B.data = torch.tensor([[0.5]])
    # 1 x 1 + 10 x 1, and 2/1 x 0.5 x (3 x 1 + 0 x 1)
    assert layer(torch.ones(2)).tolist() == [14.0]


@pytest.mark.parametrize("config", SHAPES)
def test_a_model_begins_as_it_was(config: ModelConfig) -> None:
    plain, adapted = make(config), make(config)
    add_lora(adapted, 4, 8.0, generator())
    torch.testing.assert_close(logits(adapted), logits(plain), rtol=0, atol=0)


@pytest.mark.parametrize("config", SHAPES)
def test_beside_the_weights_equals_merged_into_them(config: ModelConfig) -> None:
    adapted, merged = trained(config), make(config)
    changes = {n: LowRank(a, b, 8.0 / 4) for n, (a, b) in matrices(adapted).items()}
    merge(merged, Adapter(changes=changes, where="here"))
    assert not torch.equal(logits(merged), logits(make(config)))
    torch.testing.assert_close(logits(adapted), logits(merged), rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", SHAPES)
def test_gradients_equal_those_of_the_merged_weight(config: ModelConfig) -> None:
    """dL/dB = scale dL/dW A^T and dL/dA = scale B^T dL/dW, with dL/dW of the merged model."""
    adapted, merged = trained(config).train(), make(config).train()
    pairs = matrices(adapted)
    changes = {n: LowRank(a.detach(), b.detach(), 2.0) for n, (a, b) in pairs.items()}
    merge(merged, Adapter(changes=changes, where="here"))
    for model in (adapted, merged):
        model.logits(model(TOKENS)).logsumexp(-1).sum().backward()
    for name, (a, b) in pairs.items():
        d_weight: Any = merged.get_submodule(name.removeprefix("model.")).weight.grad
        torch.testing.assert_close(b.grad, 2.0 * d_weight @ a.detach().T, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(a.grad, 2.0 * b.detach().T @ d_weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", SHAPES)
def test_only_the_small_matrices_are_trained(config: ModelConfig) -> None:
    model = trained(config)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert names
    assert all(n.endswith(("lora_A", "lora_B")) for n in names)
    n_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert n_trained == n_lora_parameters(config, 4)


def test_every_linear_layer_is_adapted_and_of_models_with_experts_those_of_the_attention() -> None:
    ends = {n.split("layers.1.")[-1] for n in matrices(trained(V2)) if "layers.1." in n}
    latent = {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"}
    assert ends == {f"self_attn.{n}" for n in latent}
    ends = {n.split("layers.1.")[-1] for n in matrices(trained(DENSE)) if "layers.1." in n}
    attention, mlp = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj", "down_proj"}
    assert ends == {f"self_attn.{n}" for n in attention} | {f"mlp.{n}" for n in mlp}


def test_the_same_seed_draws_the_same_matrices() -> None:
    one, other = (matrices(trained(DENSE)) for _ in range(2))
    assert all(torch.equal(one[n][0], other[n][0]) for n in one)
