"""Adapters on disk: what we write and read, and what is refused, in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codling.checkpoint.adapter import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    load_adapter,
    merge,
    save_adapter,
)
from codling.core.errors import CheckpointError
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=64,
    hidden_size=8,
    intermediate_size=12,
    n_layers=2,
    n_heads=2,
    max_position=64,
    tie_embeddings=True,
)
Q0, Q1 = (f"model.layers.{i}.self_attn.q_proj" for i in range(2))


def make(config: ModelConfig = CONFIG) -> Transformer:
    return Transformer(config, torch.Generator().manual_seed(0)).eval()


def pair(rank: int = 2, n_in: int = 8, n_out: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(rank, n_in), torch.full((n_out, rank), 0.5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_adapter({Q0: pair(), Q1: pair()}, tmp_path, rank=2, alpha=4, base_name="some/base")
    return tmp_path


def changed(folder: Path, **settings: Any) -> Path:
    path = folder / ADAPTER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def test_what_is_written_is_the_least_that_peft_needs(saved: Path) -> None:
    assert json.loads((saved / ADAPTER_CONFIG).read_text()) == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "some/base",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "inference_mode": True,
    }
    names = sorted(load_file(saved / ADAPTER_WEIGHTS))
    assert names[0] == f"base_model.model.{Q0}.lora_A.weight"
    assert len(names) == 4


@pytest.mark.long
def test_merging_adds_scale_times_b_a(saved: Path) -> None:
    plain: Any = make()
    merged: Any = make()
    merge(merged, load_adapter(saved))
    # alpha / rank x (1 x 0.5 + 1 x 0.5)
    difference = merged.layers[0].self_attn.q_proj.weight - plain.layers[0].self_attn.q_proj.weight
    torch.testing.assert_close(difference, torch.full((8, 8), 2.0))
    assert torch.equal(
        merged.layers[0].self_attn.k_proj.weight, plain.layers[0].self_attn.k_proj.weight
    )


def test_half_precision_weights_are_rounded_once(saved: Path) -> None:
    exact: Any = make().to(torch.bfloat16)
    half: Any = make().to(torch.bfloat16)
    exact.float()
    merge(exact, load_adapter(saved))
    merge(half, load_adapter(saved))
    weight = exact.layers[1].self_attn.q_proj.weight
    assert torch.equal(half.layers[1].self_attn.q_proj.weight, weight.bfloat16())


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({}, [2.0, 2.0]),
        ({"use_rslora": True}, [4 / 2**0.5] * 2),
        ({"alpha_pattern": {"layers.1.self_attn.q_proj": 1}}, [2.0, 0.5]),
        ({"alpha_pattern": {r"layers\.0\..*q_proj": 6}}, [3.0, 2.0]),
        ({"r": 3, "rank_pattern": {"q_proj": 2}}, [2.0, 2.0]),
        ({"target_modules": [Q1, Q0]}, [2.0, 2.0]),
        ({"target_modules": r".*\.(q_proj|v_proj)"}, [2.0, 2.0]),
        ({"target_modules": "all-linear"}, [2.0, 2.0]),
        ({"a_key_of_the_future": 1, "lora_dropout": 0.1, "modules_to_save": None}, [2.0, 2.0]),
    ],
)
def test_settings_of_peft_are_read(
    saved: Path, settings: dict[str, Any], scales: list[float]
) -> None:
    found = load_adapter(changed(saved, **settings)).changes
    assert [found[q].scale for q in (Q0, Q1)] == pytest.approx(scales)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "asks for DoRA"),
        ({"modules_to_save": ["lm_head"]}, "whole copies of modules"),
        ({"peft_type": "IA3"}, "only LORA is supported"),
        ({"bias": "all"}, "only none is supported"),
        ({"fan_in_fan_out": True}, "transposed matrices"),
        ({"r": 4}, "rank 4, but its matrices have rank 2"),
        ({"r": "2"}, "r is '2', but must be a whole number"),
        ({"lora_alpha": [4]}, "lora_alpha is [4], but must be a number"),
        ({"target_modules": ["k_proj"]}, f"target_modules does not name {Q0}"),
        ({"target_modules": 7}, "must be names, one pattern, or all-linear"),
        ({"target_modules": "(a+)+b"}, "is too complex"),
        ({"target_modules": "(a"}, "is not a regular expression"),
        ({"alpha_pattern": {".*.*.*.*x": 4}}, "is too complex"),
        ({"rank_pattern": 3}, "rank_pattern is 3, but must be an object"),
    ],
)
def test_what_is_not_plain_lora_is_refused_in_one_line(
    saved: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        load_adapter(changed(saved, **settings))
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)


def rewritten(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], Any]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        change(tensors)
        save_file(tensors, folder / ADAPTER_WEIGHTS)

    return rewrite


FIRST = f"base_model.model.{Q0}.lora_A.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / ADAPTER_CONFIG).unlink(), "it is not an adapter"),
        (lambda p: (p / ADAPTER_CONFIG).write_text("{"), "not valid JSON"),
        (lambda p: (p / ADAPTER_WEIGHTS).unlink(), f"has no {ADAPTER_WEIGHTS}"),
        (lambda p: (p / ADAPTER_WEIGHTS).write_bytes(b"1234"), "is empty"),
        (rewritten(lambda t: t.pop(FIRST)), "has lora_B alone"),
        (rewritten(dict.clear), "holds no matrices"),
        (rewritten(lambda t: t.update({FIRST: torch.ones(3, 8)})), "cannot be multiplied"),
        (rewritten(lambda t: t.update({FIRST: torch.ones(2)})), "cannot be multiplied"),
        (rewritten(lambda t: t.update({FIRST: torch.full((2, 8), torch.nan)})), "NaN"),
        (
            rewritten(lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(2)})),
            "is not a matrix A or B",
        ),
    ],
)
def test_a_damaged_adapter_is_one_line(
    saved: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(saved)
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        load_adapter(saved)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(saved: Path) -> None:
    (saved / ADAPTER_WEIGHTS).rename(saved / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="only a pickle file"):
        load_adapter(saved)


@pytest.mark.parametrize(
    ("module", "shapes", "message"),
    [
        ("model.layers.7.mlp.up_proj", (8, 12), "which this model does not have"),
        ("lm_head", (8, 64), "which this model does not have"),
        (Q0, (16, 16), "has [8, 8] in this model"),
    ],
)
def test_an_adapter_of_another_model_is_one_line_and_changes_nothing(
    tmp_path: Path, module: str, shapes: tuple[int, int], message: str
) -> None:
    pairs = {Q1: pair(), module: pair(2, *shapes)}
    save_adapter(pairs, tmp_path, rank=2, alpha=4, base_name="some/base")
    model = make()
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        merge(model, load_adapter(tmp_path))
    assert "was made for another one (some/base)" in str(caught.value)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), make().parameters(), strict=True)
    )
