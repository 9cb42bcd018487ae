"""Flat weights, AdamW against torch's, Muon."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from codling.train.config import OptimizerConfig
from codling.train.optim.flat import FlatWeights, stack_of, view
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.optim.muon import orthogonalize


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(5, 4)
        self.up = nn.Linear(4, 6, bias=False)
        self.down = nn.Linear(6, 4, bias=False)
        self.norm = nn.LayerNorm(4)
        self.lm_head = nn.Linear(4, 5, bias=False)

    def loss(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.down(torch.tanh(self.up(self.embed_tokens(ids)))))
        return self.lm_head(hidden).square().mean()


def toy(dtype: torch.dtype = torch.float32) -> tuple[Toy, FlatWeights]:
    torch.manual_seed(0)
    model = Toy()
    return model, FlatWeights(model, dtype)


def backward(model: Toy, weights: FlatWeights) -> None:
    model.loss(torch.arange(5)).backward()
    weights.add_gradients(first=True)


def test_parameters_are_views_of_one_tensor_grouped_by_kind() -> None:
    model, weights = toy()
    kinds = {span.name: span.kind for span in weights.spans}
    assert kinds["embed_tokens.weight"] == kinds["lm_head.weight"] == "table"
    assert kinds["up.weight"] == "matrix"
    assert kinds["norm.weight"] == "vector"
    weights.master.fill_(7.0)
    weights.publish()
    assert model.up.weight.eq(7.0).all()


def test_a_sum_that_is_not_finite_is_not_carried_into_the_next_update() -> None:
    model, weights = toy()
    for span in weights.spans:
        view(weights.gradient, span).fill_(math.nan)
    model.embed_tokens(torch.arange(5)).sum().backward()  # nothing else has a gradient
    weights.add_gradients(first=True)
    assert weights.gradient.sum() == 5 * 4


def test_adamw_equals_the_one_of_torch() -> None:
    config = OptimizerConfig(
        name="adamw", learning_rate=0.01, eps=1e-8, weight_decay=0.1, clip_norm=0.05
    )
    model, weights = toy()
    torch.manual_seed(0)
    twin = Toy()
    matrices = [twin.up.weight, twin.down.weight]
    rest = [p for p in twin.parameters() if all(p is not m for m in matrices)]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": rest, "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(
        groups,
        lr=0.01,
        betas=(0.9, 0.95),
        weight_decay=0.1,
    )
    ours = FlatOptimizer(weights, config)
    for _ in range(5):
        backward(model, weights)
        norm = float(ours.step(1.0))
        theirs.zero_grad()
        twin.loss(torch.arange(5)).backward()
        assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(twin.parameters(), 0.05)))
        theirs.step()
    for mine, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.data, expected.data)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 8, 32), (3, 32, 8)):
        result = orthogonalize(torch.randn(shape, generator=generator))
        values = torch.linalg.svdvals(result.float())
        assert result.shape == shape
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_moves_a_matrix_by_the_rate_whatever_the_size_of_its_gradient() -> None:
    moves = []
    for factor in (1.0, 1e-3):
        model, weights = toy()
        before = model.up.weight.detach().clone()
        backward(model, weights)
        weights.gradient.mul_(factor)
        FlatOptimizer(weights, OptimizerConfig(muon_learning_rate=0.1, clip_norm=1e9)).step(0.5)
        moves.append(torch.linalg.matrix_norm(model.up.weight.detach() - before, ord=2))
    # rate x peak x sqrt(rows / columns)
    assert float(moves[0]) == pytest.approx(0.5 * 0.1 * math.sqrt(6 / 4), rel=0.4)
    assert float(moves[1]) == pytest.approx(float(moves[0]), rel=0.05)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    model, weights = toy()
    optimizer = FlatOptimizer(weights, OptimizerConfig())
    backward(model, weights)
    optimizer.step(1.0)
    before = [weights.master.clone(), *(t.clone() for t in optimizer.state().values())]
    backward(model, weights)
    weights.gradient[3] = math.nan
    assert optimizer.step(1.0).isnan()
    after = [weights.master, *optimizer.state().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_an_update_that_does_not_wait_for_the_norm_is_the_same(name: str) -> None:
    results = []
    for waits in (True, False):
        model, weights = toy()
        config = OptimizerConfig(name=name, clip_norm=0.01)  # type: ignore[arg-type]
        optimizer = FlatOptimizer(weights, config)
        optimizer.waits = waits
        for _ in range(3):
            backward(model, weights)
            optimizer.step(1.0)
        results.append(weights.master.clone())
    torch.testing.assert_close(results[0], results[1])


def test_where_nobody_waits_a_gradient_that_is_not_finite_counts_as_zero() -> None:
    results = []
    for broken in (math.nan, 0.0):
        model, weights = toy()
        optimizer = FlatOptimizer(weights, OptimizerConfig())
        optimizer.waits = False
        backward(model, weights)
        optimizer.step(1.0)
        weights.gradient.fill_(broken)
        assert optimizer.step(1.0).isfinite() == (broken == 0.0)
        results.append(weights.master.clone())
    assert torch.equal(results[0], results[1])


def test_matrices_of_one_shape_are_seen_as_one_stack() -> None:
    model = nn.ModuleList([nn.Linear(3, 5, bias=False) for _ in range(4)])
    weights = FlatWeights(model, torch.float32)
    stack = stack_of(weights.master, weights.spans)
    assert torch.equal(stack, torch.stack([p.data for p in model.parameters()]))
    stack[2].fill_(7.0)
    assert view(weights.master, weights.spans[2]).eq(7.0).all()
    assert int(weights.master.eq(7.0).sum()) == 15


def test_small_updates_add_up_in_the_master_copy_although_bf16_would_lose_them() -> None:
    model, weights = toy(torch.bfloat16)
    weights.master.fill_(1.0)
    weights.publish()
    for _ in range(100):
        weights.master.add_(1e-4)
        weights.publish()
    assert float(model.up.weight.detach()[0, 0]) == pytest.approx(1.01, abs=0.004)


def test_summed_gradients_are_averaged() -> None:
    norms = []
    for n_summed in (1, 3):
        model, weights = toy()
        optimizer = FlatOptimizer(weights, OptimizerConfig())
        for i in range(n_summed):
            model.loss(torch.arange(5)).backward()
            weights.add_gradients(first=i == 0)
        norms.append(float(optimizer.step(1.0, n_summed=n_summed)))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
