"""Routing and experts: hand-checked choices, and the grouped product against the plain loop."""

import pytest
import torch

from codling.model.config import MoEConfig
from codling.model.moe import route
from codling.model.ops.experts import apply_experts, apply_experts_plain, apply_experts_sorted
from codling.model.ops.grouped import _operator, grouped_matmul, grouped_matmul_plain

SCORES = torch.tensor([[0.1, 0.3, 0.05, 0.25, 0.2, 0.1]])


def chosen(moe: MoEConfig) -> dict[int, float]:
    routing = route(SCORES, moe)
    return {
        int(e): round(float(w), 6)
        for e, w in zip(routing.experts_TK[0], routing.weights_TK[0], strict=True)
    }


def test_greedy_routing_takes_the_best_experts() -> None:
    moe = MoEConfig(n_routed_experts=6, n_experts_per_token=2, routed_scaling_factor=2.0)
    assert chosen(moe) == {1: 0.6, 3: 0.5}


def test_group_limited_routing_takes_the_best_experts_of_the_best_groups() -> None:
    # Groups {0,1,2} and {3,4,5}: the first holds the single best expert, so only it counts.
    moe = MoEConfig(
        n_routed_experts=6,
        n_experts_per_token=2,
        topk_method="group_limited_greedy",
        n_group=2,
        topk_group=1,
    )
    assert chosen(moe) == {1: 0.3, 0: 0.1}


def test_normalised_weights_sum_to_one_and_are_not_scaled() -> None:
    moe = MoEConfig(
        n_routed_experts=6, n_experts_per_token=2, routed_scaling_factor=2.0, norm_topk_prob=True
    )
    # 0.3 / 0.55 and 0.25 / 0.55.
    assert chosen(moe) == {1: 0.545455, 3: 0.454545}


@pytest.fixture
def work() -> list[torch.Tensor]:
    """50 tokens of width 16, of 6 experts of width 10 each token takes 2; expert 5 stays idle."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 16, generator=generator)
    scores = torch.randn(50, 6, generator=generator)
    scores[:, 5] = -100
    routing = route(scores.softmax(-1), MoEConfig(n_routed_experts=6, n_experts_per_token=2))
    gate_up = torch.randn(6, 20, 16, generator=generator)
    down = torch.randn(6, 16, 10, generator=generator)
    return [x, routing.experts_TK, routing.weights_TK, gate_up, down]


def test_sorted_experts_equal_the_loop(work) -> None:
    torch.testing.assert_close(apply_experts_sorted(*work), apply_experts_plain(*work))


def test_few_assignments_and_many_give_the_same_tokens_the_same(work) -> None:
    x, experts, weights, *matrices = work
    few = apply_experts(x[:1], experts[:1], weights[:1], *matrices, is_training=False)
    many = apply_experts(x, experts, weights, *matrices, is_training=False)
    torch.testing.assert_close(few[0], many[0])


def test_the_gradients_of_sorted_experts_equal_those_of_the_loop(work) -> None:
    gradients = []
    for run in (apply_experts_sorted, apply_experts_plain):
        leaves = [t if t.dtype == torch.int64 else t.clone().requires_grad_() for t in work]
        run(*leaves).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves if leaf.requires_grad])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


def test_grouped_matmul_multiplies_each_group_by_its_matrix() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    weight = torch.tensor([[[1.0, 2.0]], [[5.0, 5.0]], [[10.0, 20.0]]])
    ends = torch.tensor([2, 2, 3], dtype=torch.int32)
    for multiply in (grouped_matmul, grouped_matmul_plain):
        assert multiply(x, weight, ends).tolist() == [[1.0], [2.0], [30.0]]
    assert grouped_matmul(x[:0], weight, torch.zeros(3, dtype=torch.int32)).shape == (0, 1)


@pytest.mark.parametrize("width", [4, 5], ids=["aligned", "unaligned"])
def test_grouped_matmul_passes_the_gradient_check(width: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(7, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, width, dtype=torch.float64, requires_grad=True)
    ends = torch.tensor([3, 3, 7], dtype=torch.int32)
    for multiply in (grouped_matmul, _operator):
        assert torch.autograd.gradcheck(lambda a, b, m=multiply: m(a, b, ends), (x, weight))
