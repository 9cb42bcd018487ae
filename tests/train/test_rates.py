"""What the time of a step says, and what held-out losses say of each language."""

import math
from pathlib import Path

import pytest
import torch

from codling.core.files import read_json_lines
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.train.languages import HeldoutLanguages, find_languages
from codling.train.pretrain import pretrain
from codling.train.rates import StepRates, measure_flops
from codling.train.step import LossStep
from codling.train.summary import describe_step

SHAPE = ModelConfig(vocab_size=64, hidden_size=16, intermediate_size=16, n_layers=1, n_heads=1)


def rates() -> StepRates:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    return StepRates(model, torch.zeros((4, 8), dtype=torch.long), 2)


def test_a_step_says_its_rate_its_waiting_and_the_time_left() -> None:
    each = rates()
    assert each.tokens_per_micro_batch == 64
    each.of_step(64, 1.0, 0.0, 10)
    row = each.of_step(64, 3.0, 0.3, 9)
    assert row == {
        "tokens_per_second": 21.3,
        "seconds_waited": 0.3,
        "waiting_share": 0.1,
        "seconds_left": 18.0,
    }


def test_a_starved_loop_says_so_once_and_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    each = rates()
    for _ in range(30):
        row = each.of_step(64, 1.0, 0.05, 9)
    assert each.is_starved
    assert capsys.readouterr().err.count("training waits for data 5% of the time") == 1
    row |= {"loss": 2.0, "bits_per_byte": None, "grad_norm": 0.5}
    assert "WAITS FOR DATA 5%" in describe_step(row, is_starved=True)
    fed = rates()
    for _ in range(30):
        fed.of_step(64, 1.0, 0.01, 9)
    assert not fed.is_starved


def test_the_share_of_the_peak_is_of_three_passes_over_all_weights() -> None:
    each = rates()
    each._peak = 1e9
    found = each.of_step(1000, 1.0, 0.0, 0)["mfu"]
    n = Transformer(SHAPE).n_parameters()
    assert found == pytest.approx(3 * 2 * n * 1000 / 1e9, rel=0.35)
    assert measure_flops(torch.device("cpu"), torch.float32) > 1e8


def test_bits_per_byte_are_told_by_language() -> None:
    languages = HeldoutLanguages((("Go", "C"), ("Go",)), {"Go": 2.0, "C": 4.0})
    nat = math.log(2)
    assert languages.bits_per_byte([[2 * nat, 4 * nat], [4 * nat]]) == {"Go": 1.5, "C": 1.0}


def test_a_window_has_the_language_of_most_of_it(tokens_dir: Path) -> None:
    found = find_languages(tokens_dir, [[0, 10], [20]], 65)
    assert found is not None
    assert found.of_rows == (("Python", "Python"), ("Python",))
    assert 1 < found.bytes_per_token["Python"] < 8


def test_the_rows_of_a_batch_have_the_losses_of_the_batch() -> None:
    step = LossStep(Transformer(SHAPE, torch.Generator().manual_seed(0)), compiled=False)
    tokens = torch.randint(0, 64, (3, 9), generator=torch.Generator().manual_seed(1))
    rows = step.evaluate_rows(tokens[:, :-1], tokens[:, 1:])
    assert float(rows.mean()) == pytest.approx(
        step.evaluate(tokens[:, :-1], tokens[:, 1:]), rel=1e-6
    )


def test_metrics_tell_the_bits_of_each_language(pretrain_config) -> None:
    checkpoint = pretrain(pretrain_config())
    rows = list(read_json_lines(checkpoint.path / "metrics.jsonl"))
    (last,) = [row for row in rows if "heldout_loss" in row][-1:]
    assert list(last["language_bits"]) == ["Python"]
    assert rows[0]["n_steps"] == 8
    assert 0 <= checkpoint.counts["waiting_share"] <= 1
