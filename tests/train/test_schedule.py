"""The learning rate, step by step."""

from typing import Any

import pytest
import torch

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


def test_the_schedules_of_transformers_are_repeated() -> None:
    transformers = pytest.importorskip("transformers")
    forms: dict[str, dict[str, Any]] = {
        "linear": {"name": "wsd"},
        "cosine": {"name": "cosine"},
        "constant_with_warmup": {"name": "wsd", "floor": 1.0},
    }
    for name, settings in forms.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        theirs = transformers.get_scheduler(name, optimizer, 3, 12)
        expected = []
        for _ in range(12):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            theirs.step()
        ours = rates(12, form="transformers", warmup_steps=3, **settings)
        assert ours == pytest.approx(expected)
        by_share = rates(12, form="transformers", warmup_steps=0, warmup_share=0.21, **settings)
        assert by_share == ours


def test_deepspeeds_warm_up_is_logarithmic_and_then_constant() -> None:
    """The rates that DeepSpeed 0.19.8 was seen to use at 2e-5 with ten steps of warm-up."""
    seen = [0, 0, 0.602, 0.954, 1.204, 1.398, 1.556, 1.69, 1.806, 1.908, 2, 2, 2]
    ours = rates(13, form="deepspeed", warmup_steps=10)
    assert [round(2 * rate, 3) for rate in ours] == seen
