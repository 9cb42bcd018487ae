import math

import numpy as np
import pytest
import torch

from codling.evaluate.heldout.score import bits_per_byte, held_out_windows
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.report.run_summary import sparkline
from codling.report.run_view import pick_examples

SHAPE = ModelConfig(
    vocab_size=16,
    hidden_size=8,
    intermediate_size=16,
    n_layers=1,
    n_heads=2,
    n_kv_heads=2,
    max_position=32,
)


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary() -> None:
    model = Transformer(SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    windows = [np.arange(9) % 16, np.arange(9) % 16]
    # 8 tokens a window are predicted at 4 bits each; every token stands for 2 bytes.
    found = bits_per_byte(model, windows, np.full(16, 2), batch=1)
    assert found == pytest.approx(4 / 2)


def test_special_tokens_cost_bits_but_count_no_bytes() -> None:
    model = Transformer(SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    lengths = np.full(16, 1)
    lengths[3] = 0
    assert bits_per_byte(model, [np.array([0, 3, 1])], lengths, batch=4) == pytest.approx(8)


def test_bits_do_not_depend_on_the_batch() -> None:
    model = Transformer(SHAPE, torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    windows = [rng.integers(0, 16, 9) for _ in range(5)]
    one, five = (bits_per_byte(model, windows, np.ones(16, int), batch=b) for b in (1, 5))
    assert one == pytest.approx(five, rel=1e-5)
    assert math.isfinite(one)


def test_windows_cover_the_stream_once_and_thin_out_evenly() -> None:
    stream = np.arange(101)
    windows = held_out_windows(stream, 10, max_tokens=1000)
    predicted = np.concatenate([w[1:] for w in windows])
    assert predicted.tolist() == list(range(1, 101))
    thinned = held_out_windows(stream, 10, max_tokens=30)
    assert [int(w[0]) for w in thinned] == [0, 30, 60]


def test_a_stream_shorter_than_a_window_is_one_window() -> None:
    assert [w.tolist() for w in held_out_windows(np.arange(5), 10, 100)] == [[0, 1, 2, 3, 4]]


def test_examples_take_every_language_in_turn() -> None:
    languages = ["c", "py", "py", "py", "c", "go"]
    rows = [{"language": name, "path": f"{i}.{name}"} for i, name in enumerate(languages)]
    chosen = pick_examples(rows, 4)
    assert [r["language"] for r in chosen] == ["py", "c", "go", "py"]
    assert pick_examples([], 3) == []


def test_a_sparkline_falls_where_the_loss_falls() -> None:
    assert sparkline([8.0, 4.0, 1.0]) == "█▄▁"
    assert len(sparkline([float(i) for i in range(1000)])) == 60
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
