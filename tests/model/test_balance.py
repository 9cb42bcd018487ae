"""Balance losses and capacity, by hand and by plain loops."""

import pytest
import torch

from codling.model.balance import (
    Capacity,
    communication_balance_loss,
    device_balance_loss,
    expert_balance_loss,
    keep_within,
)

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


# Two sequences of two tokens, four experts, of which a device holds two; each token takes two.
SCORES = torch.tensor([[[0.5, 0.3, 0.1, 0.1]] * 2, [[0.4, 0.1, 0.3, 0.2]] * 2])
CHOSEN = torch.tensor([[[0, 1], [0, 1]], [[0, 2], [0, 2]]])


def test_the_device_loss_by_hand() -> None:
    # First: f = 2 2 0 0, so f' = 2 0, and P' = 0.8 0.2: 1.6. Second: f = 2 0 2 0, f' = 1 1: 1.
    assert device_balance_loss(SCORES, CHOSEN, 2, 0.5).item() == pytest.approx(0.5 * (1.6 + 1) / 2)


def test_the_communication_loss_by_hand() -> None:
    # Tokens may reach both devices: f'' = 2 / (2 x 2) x sent. First: sent 2 0, f'' = 1 0, which
    # meets P' = 0.8 0.2. Second: sent 2 2, f'' = 1 1, P' = 0.5 0.5.
    found = communication_balance_loss(SCORES, CHOSEN, 2, 2, 1.0)
    assert found.item() == pytest.approx((0.8 + 1.0) / 2)


def test_a_device_computes_what_has_most_affinity_up_to_its_capacity() -> None:
    # Four tokens, two experts on two devices, one each: a device's even share is two of four.
    affinity = torch.tensor([[0.9], [0.6], [0.8], [0.7]])
    experts = torch.tensor([[0], [0], [0], [1]])
    none = torch.zeros(4, dtype=torch.bool)
    kept = keep_within(Capacity(2, 1.0, none), affinity, experts, 2)
    assert kept.flatten().tolist() == [True, False, True, True]
    assert keep_within(Capacity(2, 1.5, none), affinity, experts, 2).all()


def test_exempt_tokens_come_first_and_stay_even_beyond_the_capacity() -> None:
    affinity = torch.tensor([[0.9], [0.1], [0.2], [0.3]])
    experts = torch.zeros(4, 1, dtype=torch.int64)
    exempt = torch.tensor([False, True, True, True])
    kept = keep_within(Capacity(2, 1.0, exempt), affinity, experts, 2)
    assert kept.flatten().tolist() == [False, True, True, True]


def plain_losses(scores: torch.Tensor, experts: torch.Tensor, n_devices: int, reach: int) -> list:
    """The three losses as the paper writes them, in loops."""
    B, T, N = scores.shape
    K, each = experts.shape[2], N // n_devices
    found = [0.0, 0.0, 0.0]
    for b in range(B):
        f = [N / (K * T) * sum(i in experts[b, t].tolist() for t in range(T)) for i in range(N)]
        p = [sum(float(scores[b, t, i]) for t in range(T)) / T for i in range(N)]
        found[0] += sum(x * y for x, y in zip(f, p, strict=True)) / B
        for d in range(n_devices):
            own = range(d * each, (d + 1) * each)
            p_d = sum(p[i] for i in own)
            found[1] += sum(f[i] for i in own) / each * p_d / B
            sent = sum(any(i in experts[b, t].tolist() for i in own) for t in range(T))
            found[2] += n_devices / (reach * T) * sent * p_d / B
    return found


def test_the_losses_are_those_of_plain_loops() -> None:
    scores = torch.randn(3, 10, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    experts = scores.topk(3, dim=-1).indices
    found = [
        expert_balance_loss(scores, experts, 1.0),
        device_balance_loss(scores, experts, 4, 1.0),
        communication_balance_loss(scores, experts, 4, 3, 1.0),
    ]
    wanted = plain_losses(scores, experts, 4, 3)
    assert [each.item() for each in found] == pytest.approx(wanted, rel=1e-5)


def test_what_is_kept_is_what_a_plain_loop_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 8, generator=generator).mul(2).softmax(-1)
    affinity, experts = scores.topk(3, dim=-1)
    exempt = torch.rand(40, generator=generator) < 0.1
    wanted = torch.zeros_like(experts, dtype=torch.bool)
    for device in range(4):
        here = [(t, k) for t in range(40) for k in range(3) if experts[t, k] // 2 == device]
        here.sort(key=lambda at: (not exempt[at[0]], -float(affinity[at])))
        for place, (t, k) in enumerate(here):
            wanted[t, k] = place < 30 or bool(exempt[t])
    assert (~wanted).sum() > 5
    assert torch.equal(keep_within(Capacity(4, 1.0, exempt), affinity, experts, 8), wanted)
