"""Answers drawn from a copy in 8 bits: the copy follows what is trained, and says what it drew."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import ConfigError
from codling.model.config import ModelConfig, MoEConfig
from codling.model.transformer import Transformer
from codling.posttrain.config import GrpoConfig
from codling.posttrain.grpo_loop import draws_rounded
from codling.posttrain.lora import LoraLinear, add_lora
from codling.posttrain.rollout import Ask, Drawing, Sampler
from codling.posttrain.rounded_copy import RoundedCopy
from posttrain.tiny_base import LATENT, SHAPE


def seeded(n: int) -> torch.Generator:
    return torch.Generator().manual_seed(n)


def distance(copy: RoundedCopy, model: Transformer) -> float:
    """Of their scores, as a share of the largest."""
    ids = torch.randint(0, 60, (2, 9), generator=seeded(5))
    with torch.no_grad():
        ours, theirs = (each.logits(each(ids)) for each in (copy.model, model))
    return float((ours - theirs).abs().max() / theirs.abs().max())


EXPERTS = replace(
    SHAPE,
    tie_embeddings=False,
    moe=MoEConfig(n_routed_experts=4, n_experts_per_token=2, moe_intermediate_size=32),
)


@pytest.mark.parametrize("shape", [SHAPE, LATENT, EXPERTS], ids=["dense", "latent", "experts"])
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_the_copy_follows_what_is_trained(shape: ModelConfig, mode: str) -> None:
    model = Transformer(shape, seeded(0))
    if mode == "lora":
        add_lora(model, 4, 8.0, seeded(1))
    copy = RoundedCopy(model)
    assert distance(copy, model) < 0.1
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=seeded(2))
                parameter.add_(noise, alpha=0.05 if mode == "lora" else 0.2)
    before = distance(copy, model)
    copy.follow()
    assert distance(copy, model) < min(0.1, before / 2)


def test_a_merged_layer_computes_what_the_layer_and_its_adapter_do() -> None:
    layer = LoraLinear(torch.nn.Linear(6, 4), 2, 8.0, seeded(0))
    layer.lora_B.data.normal_(generator=seeded(1))
    x = torch.randn(3, 6, generator=seeded(2))
    torch.testing.assert_close(layer(x), x @ layer.merge().t() + layer.bias)


def test_the_log_probabilities_are_those_that_the_copy_drew_from(base_dir: Path) -> None:
    model, tokenizer = load_model(base_dir), open_tokenizer(base_dir)
    add_lora(model, 4, 8.0, seeded(0))
    sampler = Sampler(model, tokenizer, n_at_once=3, max_length=40, rounded=True)
    ids = tuple(tokenizer.encode("def add(a, b):"))
    asks = [Ask(prompt_ids=ids, stop=("e",), seed=i % 4) for i in range(8)]
    drawing = Drawing(max_tokens=8, temperature=0.7)
    sampler.follow(0)
    first = sampler.draw(asks, drawing)
    assert [r.token_ids for r in first[:4]] == [r.token_ids for r in first[4:]]
    assert sampler._copy is not None
    copy = sampler._copy.model
    for rollout in first:
        whole = torch.tensor([[*rollout.prompt_ids, *rollout.token_ids]])
        with torch.no_grad():
            scores = copy.logits(copy(whole[:, :-1]))[0].div(0.7).log_softmax(-1)
        plain = [float(scores[len(ids) - 1 + i, t]) for i, t in enumerate(rollout.token_ids)]
        assert list(rollout.logprobs) == pytest.approx(plain, abs=0.02)
    layer = next(each for each in model.modules() if isinstance(each, LoraLinear))
    layer.lora_B.data.add_(1.0)
    assert first == sampler.draw(asks, drawing)
    sampler.follow(1)
    assert first != sampler.draw(asks, drawing)
    sampler.close()


def test_which_runs_draw_from_a_copy() -> None:
    plain: dict[str, Any] = {"model": Path("m"), "device": "cpu"}
    assert draws_rounded(GrpoConfig(**plain))
    assert not draws_rounded(GrpoConfig(**plain, rollout_precision="model"))
    assert not draws_rounded(GrpoConfig(**plain, faithful=True))
    with pytest.raises(ConfigError, match="goes with importance_sampling_correction"):
        GrpoConfig(**plain, faithful=True, rollout_precision="int8")
