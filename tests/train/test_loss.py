"""Chunked cross entropy against the plain one."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from codling.train.loss import (
    IGNORED,
    chunked_cross_entropy,
    loss_of_chunk,
    plain_cross_entropy,
)


def inputs(n_rows: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(n_rows, 6, generator=generator).requires_grad_()
    weight = torch.randn(17, 6, generator=generator).requires_grad_()
    return hidden, weight, torch.randint(0, 17, (n_rows,), generator=generator)


@pytest.mark.parametrize("chunk_rows", [1, 3, 10, 64])
def test_loss_and_gradients_equal_the_plain_ones(chunk_rows: int) -> None:
    hidden, weight, targets = inputs()
    targets[2:4] = IGNORED
    plain = plain_cross_entropy(hidden, weight, targets)
    expected = torch.autograd.grad(plain, (hidden, weight))
    loss = chunked_cross_entropy(hidden, weight, targets, chunk_rows=chunk_rows)
    got = torch.autograd.grad(loss * 1.0, (hidden, weight))
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(got, expected)


def test_equal_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    loss = chunked_cross_entropy(torch.zeros(5, 6), torch.ones(17, 6), torch.zeros(5).long())
    assert float(loss) == pytest.approx(math.log(17))


def test_nothing_to_learn_is_a_loss_of_zero_without_gradient() -> None:
    hidden, weight, targets = inputs()
    loss = chunked_cross_entropy(hidden, weight, torch.full_like(targets, IGNORED))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not hidden.grad.any()


def test_without_gradients_the_loss_is_the_same() -> None:
    hidden, weight, targets = inputs()
    targets[0] = IGNORED
    with torch.no_grad():
        loss = chunked_cross_entropy(hidden, weight, targets, chunk_rows=3)
        torch.testing.assert_close(loss, plain_cross_entropy(hidden, weight, targets))


def test_logits_of_all_rows_are_never_held_at_once() -> None:
    hidden, weight, targets = inputs(n_rows=100)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        chunked_cross_entropy(hidden, weight, targets, chunk_rows=10).backward()
    assert largest == 100 * 6  # the hidden states, not 100 * 17


def test_a_frozen_head_costs_no_gradient_and_changes_none_of_the_hidden_states() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(11, 4, generator=generator)
    targets = torch.randint(11, (6,), generator=generator)
    gradients = []
    for is_trained in (True, False):
        hidden = torch.ones(6, 4, requires_grad=True)
        head = weight.clone().requires_grad_(is_trained)
        chunked_cross_entropy(hidden, head, targets, chunk_rows=2).backward()
        assert (head.grad is not None) == is_trained
        gradients.append(hidden.grad)
    assert torch.equal(gradients[0], gradients[1])


def test_a_chunk_may_be_computed_by_another_program() -> None:
    hidden, weight, targets = inputs()
    sizes = []

    def counted(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(parts[0]))
        return loss_of_chunk(*parts)

    loss = chunked_cross_entropy(hidden, weight, targets, chunk_rows=4, chunk_loss=counted)
    assert sizes == [4, 4, 2]
    torch.testing.assert_close(loss, plain_cross_entropy(hidden, weight, targets))
