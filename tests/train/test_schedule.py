"""The learning rate, step by step."""

from typing import Any

import pytest

from codling.core.errors import ConfigError
from codling.train.config import ScheduleConfig
from codling.train.schedule import rate_at


def rates(n_steps: int, **settings: Any) -> list[float]:
    config = ScheduleConfig(**settings)
    return [rate_at(step, n_steps, config) for step in range(n_steps)]


def test_warm_up_rises_in_equal_steps() -> None:
    got = rates(100, name="steps", warmup_steps=4)[:6]
    assert got == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_warm_up_takes_at_most_a_tenth_of_a_short_run() -> None:
    assert rates(20, name="steps", warmup_steps=2000)[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_deepseek_coders_three_stages_end_at_a_tenth() -> None:
    got = rates(1000, name="steps", warmup_steps=0, drops=(0.8, 0.9))
    assert [got[0], got[799], got[800], got[899]] == pytest.approx([1, 1, 10**-0.5, 10**-0.5])
    assert got[900] == got[999] == pytest.approx(0.1)


def test_the_cosine_ends_at_its_floor() -> None:
    got = rates(1000, name="cosine", warmup_steps=0, floor=0.1)
    assert [got[0], got[500], got[999]] == pytest.approx([1.0, 0.55, 0.1], abs=1e-4)


def test_wsd_holds_and_then_falls_in_a_line() -> None:
    got = rates(100, name="wsd", warmup_steps=0, decay_from=0.5)
    assert got[:51] == [1.0] * 51
    assert [got[75], got[99]] == pytest.approx([0.5, 0.02])


def test_drops_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="must rise"):
        ScheduleConfig(name="steps", drops=(0.9, 0.8))
