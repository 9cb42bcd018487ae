"""Windows of whole documents: nothing cut, no document seen by another, every answer alike."""

import numpy as np
import pytest
import torch

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.posttrain.windows import Windows, place_whole
from codling.tokens.dialogue_files import LabelledStream
from codling.train.loss import IGNORED
from codling.train.parallel.ranks import Ranks
from codling.train.step import LossStep
from posttrain.tiny_base import LATENT, SHAPE

FILLER = 1


def stream(*documents: tuple[list[int], list[int]]) -> LabelledStream:
    """Documents as their tokens and their marks."""
    lengths = np.array([len(ids) for ids, _ in documents])
    return LabelledStream(
        np.array([i for ids, _ in documents for i in ids], dtype="<u2"),
        np.array([m for _, marks in documents for m in marks], dtype=np.bool_),
        np.cumsum(lengths) - lengths,
        lengths,
    )


TWO = stream(([5, 6, 7, 8], [0, 0, 1, 1]), ([9, 10, 11], [0, 1, 0]))


def test_a_window_holds_whole_documents_and_only_counted_targets() -> None:
    windows = Windows(TWO, 6, FILLER, 0)
    assert len(windows) == 1
    inputs, targets, documents = windows.batch([0])
    assert inputs.tolist() == [[5, 6, 7, 9, 10, FILLER]]
    assert targets.tolist() == [[IGNORED, 7, 8, 10, IGNORED, IGNORED]]
    assert documents.tolist() == [[1, 1, 1, 2, 2, 0]]
    assert windows.filled == pytest.approx(5 / 6)
    assert windows.n_counted.tolist() == [3]


def test_the_longest_are_placed_first_where_they_leave_the_least_room() -> None:
    assert place_whole([2, 6, 3, 4], 8) == [[1, 0], [3, 2]]
    lengths = np.random.default_rng(0).integers(1, 65, size=400).tolist()
    placed = place_whole(lengths, 64)
    assert sorted(i for window in placed for i in window) == list(range(400))
    assert max(sum(lengths[i] for i in window) for window in placed) <= 64
    assert len(placed) <= 1.1 * sum(lengths) / 64


def test_documents_without_answers_take_no_room_and_long_ones_are_refused() -> None:
    silent = stream(([5, 6, 7], [0, 0, 0]), ([5, 6, 7], [0, 0, 1]))
    assert len(Windows(silent, 2, FILLER, 0)) == 1
    with pytest.raises(ConfigError, match="give --context 3"):
        Windows(TWO, 2, FILLER, 0)


def model_of(shape: ModelConfig) -> Transformer:
    return Transformer(shape, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shape", [SHAPE, LATENT], ids=["dense", "latent"])
def test_a_packed_document_is_computed_as_if_it_stood_alone(shape: ModelConfig) -> None:
    model = model_of(shape)
    inputs, _, documents = Windows(TWO, 6, FILLER, 0).batch([0])
    packed = model(inputs, documents_BL=documents)[0]
    for ids, place in (([5, 6, 7], slice(0, 3)), ([9, 10], slice(3, 5))):
        alone = model(torch.tensor([ids]))[0]
        torch.testing.assert_close(packed[place], alone, rtol=1e-4, atol=1e-5)


def test_targets_that_do_not_count_give_no_gradient() -> None:
    gradients = []
    for prompt in (6, 40):
        changed = stream(([5, prompt, 7, 8], [0, 0, 1, 1]))
        model = model_of(SHAPE)
        inputs, targets, documents = Windows(changed, 3, FILLER, 0).batch([0])
        inputs[0, 1] = 6  # only what is predicted differs
        loss = LossStep(model, compiled=False).loss(inputs, targets, documents)
        loss.backward()
        gradients.append((loss.item(), model.lm_head.weight.grad))
    assert gradients[0][0] == gradients[1][0]
    assert torch.equal(*(gradient for _, gradient in gradients))


def test_every_counted_token_of_an_update_weighs_the_same() -> None:
    rng = np.random.default_rng(1)
    documents = [
        (rng.integers(2, 60, size=9).tolist(), [0] * (8 - n) + [1] * (n + 1)) for n in range(8)
    ]
    windows = Windows(stream(*documents), 8, FILLER, 0)
    model = model_of(SHAPE)
    step = LossStep(model, compiled=False)
    total = torch.zeros(())
    for rank in range(2):
        for number in (2, 3):
            batch = windows.micro_batch(number, 2, 2, Ranks(rank, 2))
            assert batch[0].shape == (1, 8)
            total += step.loss(*batch).detach() / 4
    whole = windows.micro_batch(1, 4, 1, Ranks())
    assert whole[3] == 1
    torch.testing.assert_close(total, step.loss(*whole).detach(), rtol=1e-5, atol=1e-6)


def test_every_epoch_visits_all_windows_in_another_order() -> None:
    documents = [([i, i + 1, i + 2], [0, 1, 1]) for i in range(2, 14)]
    windows = Windows(stream(*documents), 2, FILLER, 3)
    firsts = [windows.micro_batch(n, 4, 1, Ranks())[0][:, 0].tolist() for n in range(6)]
    epochs = [[i for batch in part for i in batch] for part in (firsts[:3], firsts[3:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(2, 14))
    assert epochs[0] != epochs[1]


def test_without_packing_batches_are_of_about_one_length_and_as_long_as_their_longest() -> None:
    lengths = np.random.default_rng(1).integers(3, 65, size=101).tolist()
    documents = [([5] * n, [0] + [1] * (n - 1)) for n in lengths]
    windows = Windows(stream(*documents), 64, FILLER, 0, packing=False, group=4)
    rows: list[list[int]] = []
    for number in range(101):  # four epochs: a batch may hold rows of two
        inputs, targets, _, _ = windows.micro_batch(number, 4, 1, Ranks())
        rows.append((targets != IGNORED).sum(1).tolist())
        assert inputs.shape[1] == min(64, -(-max(rows[-1]) // 8) * 8)
    seen = sorted(n for row in rows for n in row)
    assert seen == sorted(n - 1 for n in lengths for _ in range(4))
    spread = np.mean([max(row) - min(row) for row in rows])
    mixed = Windows(stream(*documents), 64, FILLER, 0, packing=False)
    unsorted = [(mixed.micro_batch(i, 4, 1, Ranks())[1] != IGNORED).sum(1) for i in range(101)]
    assert spread < 0.25 * np.mean([int(n.max() - n.min()) for n in unsorted])
