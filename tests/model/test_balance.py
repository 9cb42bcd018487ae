"""The balance loss, by hand."""

import pytest
import torch

from codling.model.balance import expert_balance_loss

EVEN = torch.full((1, 4, 4), 0.25)
"""One sequence of four tokens, four experts, no preference."""
SPREAD = torch.tensor([[[0, 1], [2, 3], [0, 1], [2, 3]]])
CROWDED = torch.tensor([[[0, 1]] * 4])


def test_perfect_balance_costs_alpha() -> None:
    # f = 4 / (2 x 4) x 2 = 1 for each expert, P = 1/4 each: the sum is 1.
    assert expert_balance_loss(EVEN, SPREAD, 0.003).item() == pytest.approx(0.003)


def test_crowding_costs_more_by_the_load_times_the_affinity() -> None:
    scores = torch.tensor([[[0.4, 0.4, 0.1, 0.1]] * 4])
    # f = 4 / (2 x 4) x 4 = 2 for experts 0 and 1: 2 x 0.4 + 2 x 0.4 = 1.6.
    assert expert_balance_loss(scores, CROWDED, 1.0).item() == pytest.approx(1.6)


def test_the_loss_is_per_sequence_and_averaged() -> None:
    scores = torch.cat([EVEN, torch.tensor([[[0.4, 0.4, 0.1, 0.1]] * 4])])
    experts = torch.cat([SPREAD, CROWDED])
    assert expert_balance_loss(scores, experts, 1.0).item() == pytest.approx((1.0 + 1.6) / 2)


def test_the_loss_passes_the_gradient_check_and_pushes_towards_idle_experts() -> None:
    scores = EVEN.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: expert_balance_loss(s, CROWDED, 1.0), (scores,))
    expert_balance_loss(scores, CROWDED, 1.0).backward()
    # Less affinity to the crowded experts 0 and 1 lowers the loss; the idle ones do not matter.
    assert (scores.grad[..., :2] > 0).all()
    assert (scores.grad[..., 2:] == 0).all()
