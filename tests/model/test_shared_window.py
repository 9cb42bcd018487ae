"""Attention over windows that processes share: each piece sees what it sees in the whole."""

import pytest
import torch
from torch import Tensor

from codling.model.balance import device_balance_loss, expert_balance_loss
from codling.model.cache import separate_documents
from codling.model.ops.attention import attend, attend_plain
from codling.model.shared_window import SharedWindow

DOCUMENTS = (torch.arange(16) >= torch.tensor([[5], [11]])).long()


def window(place: int, n: int, whole: Tensor, documents: Tensor | None = None) -> SharedWindow:
    """Of process `place` of `n`, whose windows have the keys or values `whole`."""
    piece = whole.shape[2] // (2 * n)
    starts = (place * piece, (2 * n - 1 - place) * piece)
    return SharedWindow(starts, piece, lambda _: whole, documents)


def test_a_process_has_an_early_and_a_late_piece() -> None:
    made = window(0, 2, torch.zeros(1, 1, 8, 1))
    assert made.positions(torch.device("cpu")).tolist() == [0, 1, 6, 7]
    assert made.own(torch.arange(8)[None]).tolist() == [[0, 1, 6, 7]]
    assert [window(1, 2, torch.zeros(1, 1, 8, 1)).end, made.end] == [6, 8]


@pytest.mark.parametrize("documents", [None, DOCUMENTS], ids=["one document", "two documents"])
@pytest.mark.parametrize("n", [2, 4])
def test_pieces_of_all_processes_are_the_whole(n: int, documents: Tensor | None) -> None:
    generator = torch.Generator().manual_seed(0)
    q_BHLD, k_BKLD, v_BKLD = (
        torch.randn(2, heads, 16, 8, generator=generator) for heads in (4, 2, 2)
    )
    span = None if documents is None else separate_documents(documents, torch.float32)
    expected = attend_plain(q_BHLD, k_BKLD, v_BKLD, span, 0.3)
    for place in range(n):
        made = window(place, n, k_BKLD, documents)
        own_L = made.positions(torch.device("cpu"))
        found = attend(q_BHLD[:, :, own_L], k_BKLD, v_BKLD, made, 0.3)
        torch.testing.assert_close(found, expected[:, :, own_L])


def test_balance_losses_of_the_parts_of_a_sequence_are_that_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    scores_BTN = torch.rand(2, 8, 4, generator=generator).softmax(-1)
    experts_BTK = scores_BTN.topk(2).indices
    halves = list(zip(scores_BTN.chunk(2, 1), experts_BTK.chunk(2, 1), strict=True))
    whole = expert_balance_loss(scores_BTN, experts_BTK, 0.1)
    by_device = device_balance_loss(scores_BTN, experts_BTK, 2, 0.1)
    seen: list[Tensor] = []

    def note(load: Tensor) -> Tensor:
        seen.append(load)
        return load

    for scores, experts in halves:  # what each process counts by itself, ...
        expert_balance_loss(scores, experts, 0.1, note)
    mean = (seen[0] + seen[1]) / 2  # ... and what all count
    parts = [expert_balance_loss(s, e, 0.1, lambda _: mean) for s, e in halves]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    parts = [device_balance_loss(s, e, 2, 0.1, lambda _: mean) for s, e in halves]
    torch.testing.assert_close(torch.stack(parts).mean(), by_device)
