"""Balance losses and token dropping, by hand."""

import pytest
import torch

from codling.model.balance import (
    communication_balance_loss,
    device_balance_loss,
    expert_balance_loss,
    keep_by_affinity,
)

EVEN = torch.full((1, 4, 4), 0.25)
"""One sequence of four tokens, four experts, no preference."""
SPREAD = torch.tensor([[[0, 1], [2, 3], [0, 1], [2, 3]]])
CROWDED = torch.tensor([[[0, 1]] * 4])


def test_perfect_balance_costs_alpha() -> None:
    # f = 4 / (2 x 4) x 2 = 1 for each expert, P = 1/4 each: the sum is 1.
    assert expert_balance_loss(EVEN, SPREAD, 0.003).item() == pytest.approx(0.003)
    assert device_balance_loss(EVEN, SPREAD, 2, 0.05).item() == pytest.approx(0.05)


def test_crowding_costs_more_by_the_load_times_the_affinity() -> None:
    scores = torch.tensor([[[0.4, 0.4, 0.1, 0.1]] * 4])
    # f = 4 / (2 x 4) x 4 = 2 for experts 0 and 1: 2 x 0.4 + 2 x 0.4 = 1.6.
    assert expert_balance_loss(scores, CROWDED, 1.0).item() == pytest.approx(1.6)
    # Device 0 holds both: f' = 2, P' = 0.8; device 1: f' = 0.
    assert device_balance_loss(scores, CROWDED, 2, 1.0).item() == pytest.approx(1.6)


def test_communication_counts_a_token_once_per_device() -> None:
    # Every token goes to device 0 only: f'' = 2 / (1 x 4) x 4 = 2, P' = 0.5 each.
    assert communication_balance_loss(EVEN, CROWDED, 2, 1, 1.0).item() == pytest.approx(1.0)
    # Experts 0 and 2 lie on different devices: both receive all four tokens.
    apart = torch.tensor([[[0, 2]] * 4])
    assert communication_balance_loss(EVEN, apart, 2, 2, 1.0).item() == pytest.approx(1.0)
    assert communication_balance_loss(EVEN, apart, 2, 1, 1.0).item() == pytest.approx(2.0)


def test_losses_are_per_sequence_and_averaged() -> None:
    scores = torch.cat([EVEN, torch.tensor([[[0.4, 0.4, 0.1, 0.1]] * 4])])
    experts = torch.cat([SPREAD, CROWDED])
    assert expert_balance_loss(scores, experts, 1.0).item() == pytest.approx((1.0 + 1.6) / 2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda s: expert_balance_loss(s, CROWDED, 1.0),
        lambda s: device_balance_loss(s, CROWDED, 2, 1.0),
        lambda s: communication_balance_loss(s, CROWDED, 2, 1, 1.0),
    ],
    ids=["expert", "device", "communication"],
)
def test_losses_pass_the_gradient_check_and_push_towards_idle_experts(loss) -> None:
    scores = EVEN.double().requires_grad_()
    assert torch.autograd.gradcheck(loss, (scores,))
    loss(scores).backward()
    # Less affinity to the crowded experts 0 and 1 lowers the loss; the idle ones do not matter.
    assert (scores.grad[..., :2] > 0).all()
    assert (scores.grad[..., 2:] == 0).all()


def test_a_full_device_drops_its_lowest_affinities() -> None:
    scores = torch.tensor(
        [[0.5, 0.3, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.2, 0.6]]
    )
    experts = torch.tensor([[0], [0], [1], [3]])
    # Capacity 4 x 1 / 2 = 2. Device 0 got 0.5, 0.6, 0.7: the 0.5 goes.
    assert keep_by_affinity(scores, experts, 2).tolist() == [[False], [True], [True], [True]]
    # Token 0 protected: it counts first, so 0.6 goes.
    guarded = torch.tensor([True, False, False, False])
    kept = keep_by_affinity(scores, experts, 2, protected_T=guarded)
    assert kept.tolist() == [[True], [False], [True], [True]]
    assert keep_by_affinity(scores, experts, 2, capacity_factor=2.0).all()
