"""Tokens that are drawn for many sequences at once are those that each draws alone."""

import math
from collections import Counter

import pytest
import torch

from codling.engine import sampler
from codling.engine.request import SamplingParams
from codling.engine.sampler import choose, draw_together
from codling.engine.sequence import Sequence


def sequences(heats: list[float]) -> list[Sequence]:
    return [
        Sequence([1], SamplingParams(temperature=heat, seed=seed))
        for seed, heat in enumerate(heats)
    ]


@pytest.mark.parametrize("at_once", [1, 30, 1 << 22])
def test_rows_draw_together_what_they_draw_alone(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_TOGETHER", at_once)
    logits = 3 * torch.randn(40, 9, generator=torch.Generator().manual_seed(0))
    heats = [0.3 + 0.05 * i for i in range(40)]
    alone = [choose(row, each) for row, each in zip(logits, sequences(heats), strict=True)]
    together = draw_together(logits, sequences(heats))
    assert [drawn.id for drawn in together] == alone
    expected = (logits.double() / torch.tensor(heats).double()[:, None]).log_softmax(1)
    for row, drawn in zip(expected, together, strict=True):
        assert drawn.logprob == pytest.approx(float(row[drawn.id]), abs=1e-6)


def test_tokens_are_as_frequent_as_their_log_probabilities_say() -> None:
    shares = [0.6, 0.3, 0.1, 0.0]
    logits = torch.tensor([[math.log(share) if share else -math.inf for share in shares]])
    drawn = draw_together(logits.expand(4000, -1), sequences([1.0] * 4000))
    counts = Counter(each.id for each in drawn)
    assert set(counts) == {0, 1, 2}
    for token, share in enumerate(shares[:3]):
        assert abs(counts[token] / 4000 - share) < 5 * math.sqrt(share * (1 - share) / 4000)
